from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evals.gate import decide
from evals.verdict_rests import Files, dated, differences
from gateway.contracts.errors import InputError
from gateway.contracts.verdict import Verdict

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def verdict(make_evidence, make_gate) -> Verdict:
    run = make_evidence({f"s{i}": 1.0 for i in range(50)})
    found = decide(
        make_gate(run, {"metric": "exact", "test": "absolute", "at_least": 0.5}), run, None, now=NOW, harness="t"
    )
    assert found.verdict is not None
    return found.verdict


def test_a_verdict_counts_from_its_day_until_it_expires(verdict: Verdict) -> None:
    assert dated(verdict.predicate, NOW) == ()
    assert dated(verdict.predicate, NOW - timedelta(minutes=4)) == ()
    assert "in the future" in dated(verdict.predicate, NOW - timedelta(hours=1))[0]
    assert "it expired at 2026-12-06 12:00 UTC" in dated(verdict.predicate, NOW + timedelta(days=14))[0]


def test_what_nobody_asked_about_is_not_held_against_it(verdict: Verdict) -> None:
    assert differences(verdict, Files()) == ()


def test_a_baseline_that_was_not_used(verdict: Verdict, make_log, tmp_path: Path) -> None:
    log = make_log(tmp_path / "a.jsonl", {"s": 1.0})
    assert "it rests on no baseline's log" in differences(verdict, Files(baseline=log))[0]
    assert "it rests on the candidate's log" in differences(verdict, Files(candidate=log))[0]
    assert len(differences(verdict, Files(run=log))) == 1


def test_a_file_that_cannot_be_read_is_an_error(verdict: Verdict, tmp_path: Path) -> None:
    for files in (Files(candidate=tmp_path / "no"), Files(gate_file=tmp_path / "no"), Files(release=tmp_path / "no")):
        with pytest.raises(InputError, match="no"):
            differences(verdict, files)
