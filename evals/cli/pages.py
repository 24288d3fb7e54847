"""HTML pages for the commands that write them. The template engine is loaded with the first page."""

from datetime import UTC, datetime
from pathlib import Path

from evals import whole
from evals.decision import Decision
from evals.evidence import Evidence
from evals.gate_config import GateConfig
from evals.report import content, page, prompts
from gateway.contracts.errors import InputError


def of_gate(
    decision: Decision,
    ours: Evidence,
    theirs: Evidence | None,
    gate_file: Path | None,
    gate: GateConfig,
    data: Path | None = None,
) -> str:
    """The page of a decision; prompts come from the data set that is named, or the one of the gate file."""
    of_file = gate_file.parent / gate.dataset if gate_file and gate.dataset else None
    found = prompts.find(data, of_file, ours.log.manifest)
    return page.render(content.of_decision(decision, content.Material(ours, theirs, found, datetime.now(UTC))))


def of_runs(ours: Evidence, theirs: Evidence | None, data: Path | None) -> str:
    """The page of two runs, or of one, without a gate."""
    found = prompts.find(data, None, ours.log.manifest)
    return page.render(content.of_runs(content.Material(ours, theirs, found, datetime.now(UTC))))


_FIRST_BYTES = b"<!doctype html>"


def write(path: Path, text: str) -> None:
    """Write a page, over nothing or over another page. Raises InputError."""
    try:
        if not whole.may_write(path, _FIRST_BYTES):
            raise InputError(f"{str(path)!r} is there already, and is no page: name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write a page to {str(path)!r}: {error.strerror}") from error
