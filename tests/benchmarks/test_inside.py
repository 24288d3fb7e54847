"""What a request costs inside: every figure is there, and a whole request is more than any of its steps."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import inside


def test_every_part_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = asyncio.run(inside.measure(tmp_path, 256))
    assert set(figures) == {"steps", "whole", "drain"}
    assert all(value > 0 for part in ("steps", "drain") for value in figures[part].values())
    assert figures["whole"]["whole"] > max(figures["steps"].values())
