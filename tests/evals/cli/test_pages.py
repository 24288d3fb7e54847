from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.cli import pages
from evals.gate import decide
from gateway.contracts.errors import InputError


def test_the_prompts_come_from_the_data_set_of_the_gate_file(make_evidence, make_gate, tmp_path: Path) -> None:
    ours, theirs = make_evidence({"a": 1.0, "b": 0.0}), make_evidence({"a": 1.0, "b": 1.0}, release="faq@1")
    gate = make_gate(ours, {"metric": "exact", "test": "noninferior", "margin": 0.1}, dataset="nowhere.jsonl")
    decision = decide(gate, ours, theirs, now=datetime(2026, 11, 22, tzinfo=UTC), harness="t")
    text = pages.of_gate(decision, ours, theirs, tmp_path / "gate.yaml", gate)
    assert "the gate&#39;s data set cannot be used" in text
    assert "nowhere.jsonl" in text


def test_a_page_is_written_into_a_new_folder(tmp_path: Path, make_evidence) -> None:
    text = pages.of_runs(make_evidence({"a": 1.0}), None, None)
    pages.write(tmp_path / "new" / "page.html", text)
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == text
    with pytest.raises(InputError, match="cannot write a page"):
        pages.write(tmp_path / "new" / "page.html" / "below.html", text)


def test_a_page_is_written_over_nothing_but_a_page(tmp_path: Path, make_evidence) -> None:
    text = pages.of_runs(make_evidence({"a": 1.0}), None, None)
    log, page, empty = tmp_path / "run.jsonl", tmp_path / "page.html", tmp_path / "empty.html"
    log.write_text('{"kind":"manifest"}\n')
    page.write_text("<!DOCTYPE html><p>of yesterday")
    empty.touch()
    with pytest.raises(InputError, match="is there already, and is no page: name another file"):
        pages.write(log, text)
    assert log.read_text() == '{"kind":"manifest"}\n'
    for path in (page, empty):
        pages.write(path, text)
        assert path.read_text(encoding="utf-8") == text
