"""A gate inside a test: the decision of two logs, or a readable account of why they do not pass."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from evals import judge_floor
from evals.cli.gate import both, write_reports
from evals.composition import harness
from evals.decision import Decision
from evals.gate import decide
from evals.gate_config import load_gate
from evals.report import markdown
from gateway.contracts import release
from gateway.contracts.errors import InputError
from gateway.contracts.verdict import ADMITTED

_WORDS = {
    "fail": "the candidate is proven worse than the gate allows",
    "inconclusive": "there is not enough evidence to say that the candidate is good enough",
    "invalid": "the evidence cannot carry a verdict",
}


@dataclass(frozen=True, slots=True)
class Runs:
    """The files of a gate: `candidate` with or without a `baseline`, or one `run` of both; `release` is a manifest."""

    gate: Path
    candidate: Path | None = None
    baseline: Path | None = None
    run: Path | None = None
    release: Path | None = None


def decided(runs: Runs, *, now: datetime, reports: Path | None = None) -> Decision:
    """What the gate says, as `evals gate` would. Raises InputError.

    Its documents go into the folder `reports`, each gate's into one of its own: in a suite of tests several gates may
    be about one release, by whose name the documents are called.
    """
    if (runs.run is None) == (runs.candidate is None) or (runs.run is not None and runs.baseline is not None):
        raise InputError(
            "expected candidate=LOG, with or without baseline=LOG, or run=LOG alone for a log of both arms"
        )
    candidate, baseline = both(runs.run, runs.candidate, runs.baseline)
    config = load_gate(runs.gate)
    manifest = release.load(runs.release) if runs.release is not None else None
    cards = judge_floor.load_cards(config, runs.gate.parent)
    decision = decide(config, candidate, baseline, now=now, harness=harness(), manifest=manifest, cards=cards)
    if reports is not None:
        write_reports(decision, reports / config.gate, None)
    return decision


def admitted(decision: Decision) -> bool:
    """Whether the answer lets a release through: `pass`, or `waived`."""
    return decision.answer in ADMITTED


def account(decision: Decision) -> str:
    """Why a decision stops a release: a line for people in a hurry, then the Markdown of a pull request."""
    words = _WORDS.get(decision.answer, "the gate does not let it through")
    return f"gate {decision.gate!r} says {decision.answer}: {words}\n\n{markdown.render(decision)}"
