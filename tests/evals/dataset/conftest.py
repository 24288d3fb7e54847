"""Samples and data sets for tests, in memory and on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals import dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write({"id": ..., "input": ...}, ..., name="d.jsonl")` writes JSON Lines and returns the path."""

    def made(*rows: dict[str, Any], name: str = "d.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return made


@pytest.fixture
def data(write: Callable[..., Path]) -> Callable[..., dataset.Dataset]:
    """The same, loaded."""
    return lambda *rows, **more: dataset.load(write(*rows, **more))
