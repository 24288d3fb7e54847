"""A gate inside a test: what it decides, and how it tells."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.assertions import Runs, account, admitted, decided
from evals.decision import Decision
from gateway.contracts.errors import InputError
from tests.evals.logs_of import write_gate, write_log

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A log with 90 of 100 right, and a gate that asks for half."""
    digest = write_log(tmp_path / "a.jsonl", [1.0] * 90 + [0.0] * 10)
    write_gate(tmp_path / "gate.yaml", digest, at_least=0.5)
    return Runs(tmp_path / "gate.yaml", candidate=tmp_path / "a.jsonl")


def test_a_gate_decides_as_on_the_command_line(runs: Runs, tmp_path: Path) -> None:
    decision = decided(runs, now=NOW, reports=tmp_path / "out")
    assert (decision.answer, admitted(decision)) == ("pass", True)
    assert sorted(path.name for path in (tmp_path / "out" / "g").iterdir()) == [
        "faq@2.junit.xml",
        "faq@2.md",
        "faq@2.verdict.json",
    ]


@pytest.mark.parametrize(
    ("at_least", "answer", "words"),
    [(0.99, "fail", "proven worse than the gate allows"), (0.88, "inconclusive", "there is not enough evidence")],
)
def test_the_account_says_why(runs: Runs, at_least: float, answer: str, words: str) -> None:
    digest = runs.gate.read_text().split("'")[1]
    write_gate(runs.gate, digest, at_least=at_least)
    decision = decided(runs, now=NOW)
    told = account(decision)
    assert (decision.answer, admitted(decision)) == (answer, False)
    assert told.startswith(f"gate 'g' says {answer}: ")
    assert words in told
    assert "| exact |" in told


def test_an_invalid_run_says_that_its_evidence_does_not_carry(runs: Runs) -> None:
    write_gate(runs.gate, "sha256:" + "0" * 64, at_least=0.5)
    told = account(decided(runs, now=NOW))
    assert "says invalid: the evidence cannot carry a verdict" in told
    assert "the gate is for sha256:000" in told


def test_a_waived_gate_is_let_through() -> None:
    assert admitted(Decision("g", "waived", "somebody answers for it", ()))
    assert "does not let it through" in account(Decision("g", "waived", "x", ()))


def test_files_that_do_not_go_together_are_refused(runs: Runs) -> None:
    for given in (
        Runs(runs.gate),
        Runs(runs.gate, runs.candidate, run=runs.candidate),
        Runs(runs.gate, baseline=runs.gate),
    ):
        with pytest.raises(InputError, match="expected candidate=LOG, with or without baseline=LOG, or run=LOG"):
            decided(given, now=NOW)
