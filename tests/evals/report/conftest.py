"""Runs with texts, reasons, costs and failures, for everything that a report shows."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals import dataset
from evals.report.content import Material
from evals.report.prompts import Found

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def questions(tmp_path: Path) -> Callable[..., dataset.Dataset]:
    """`questions(["a", "b"], input="...", reference="...")`: a data set of these ids, whatever their digests."""

    def make(ids: list[str], **fields: Any) -> dataset.Dataset:
        path = tmp_path / "questions.jsonl"
        lines = [{"id": each, "input": f"question {each}", "reference": f"reference {each}"} | fields for each in ids]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return dataset.load(path)

    return make


@pytest.fixture
def material(make_evidence) -> Callable[..., Material]:
    """`material(candidate_scores, baseline_scores)`: faq@2 beside faq@1, without prompts."""

    def make(candidate: dict[str, Any], baseline: dict[str, Any] | None = None, **about: Any) -> Material:
        ours = make_evidence(candidate, **about)
        theirs = None if baseline is None else make_evidence(baseline, release="faq@1", **about)
        return Material(ours, theirs, Found(None, "no data set was given"), NOW)

    return make
