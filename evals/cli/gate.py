"""`evals gate`: from two logs to a signed verdict."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from evals import judge_floor, run_log
from evals.cli import pages, tables
from evals.cli.common import GateCommand, console
from evals.composition import harness
from evals.decision import Decision
from evals.evidence import Evidence, arm_as, gather
from evals.gate import EXIT_CODES, decide
from evals.gate_config import GateConfig, MetricConfig, load_gate
from evals.report import junit, markdown
from gateway.contracts import attestation, release
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError
from gateway.contracts.verdict import ADMITTED

_FILE = click.Path(path_type=Path, dir_okay=False)
_UNSAFE = re.compile(r"[^A-Za-z0-9@._-]+")


def both(run: Path | None, candidate: Path | None, baseline: Path | None) -> tuple[Evidence, Evidence | None]:
    """The evidence of candidate and baseline, from one log or two. Raises InputError, and click.UsageError."""
    if run is not None and (candidate or baseline):
        raise click.UsageError("--run holds both arms: give it alone, or --candidate and --baseline")
    first = run or candidate
    if first is None:
        raise click.UsageError("Missing option '--candidate', or '--run' for a log with both arms")
    log = run_log.read(first)
    if run is not None and log.manifest.baseline is None:
        raise InputError(f"{str(run)!r} has one arm: give it as --candidate, or run with `evals run --baseline MODEL`")
    if baseline is None:
        return gather(log), gather(log, "baseline") if log.manifest.baseline is not None else None
    other = run_log.read(baseline)
    return gather(log), gather(other, arm_as(other, "baseline"))


def quick_gate(
    candidate: Evidence, metrics: tuple[str, ...], margin: float | None, at_least: float | None
) -> GateConfig:
    """A gate made of flags, for the suite and data set of the candidate. It has no plan. Raises InputError."""
    manifest = candidate.log.manifest
    names = dict.fromkeys(metrics or manifest.metrics())
    tests: list[MetricConfig] = []
    for name in names:
        if margin is not None:
            tests.append(MetricConfig(metric=name, test="noninferior", margin=margin))
        if at_least is not None:
            tests.append(MetricConfig(metric=name, test="absolute", at_least=at_least))
    if not tests:
        raise InputError("nothing to test: give a gate file, or --margin, or --at-least")
    return GateConfig(gate="flags", suite=manifest.suite, dataset_sha256=manifest.dataset_sha256, metrics=tuple(tests))


def write_reports(decision: Decision, folder: Path, key: Path | None, page: str | None = None) -> list[Path]:
    """Write every document of a decision; returns their paths. Raises InputError."""
    stem = _UNSAFE.sub("_", decision.release or decision.gate)
    written: list[tuple[Path, bytes]] = []
    if decision.verdict is not None:
        statement = msgspec.json.format(msgspec.json.encode(decision.verdict.statement()), indent=2)
        written.append((folder / f"{stem}.verdict.json", statement + b"\n"))
        if key is not None:
            signed = attestation.sign(decision.verdict, attestation.load_private(key))
            written.append((folder / f"{stem}.dsse.json", signed + b"\n"))
    written.append((folder / f"{stem}.md", markdown.render(decision).encode()))
    written.append((folder / f"{stem}.junit.xml", junit.render(decision).encode()))
    if page is not None:
        written.append((folder / f"{stem}.html", page.encode()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in written:
            path.write_bytes(content)
    except OSError as error:
        raise InputError(f"--out: cannot write to {str(folder)!r}: {error.strerror}") from error
    return [path for path, _ in written]


@click.command("gate", cls=GateCommand)
@click.argument("gate_file", metavar="[GATE]", required=False, type=_FILE)
@click.option("--run", type=_FILE, help="Log of a run of both, candidate and baseline.")
@click.option("--candidate", type=_FILE, help="Log of the release that wants to be served.")
@click.option("--baseline", type=_FILE, help="Log of the release that is served now  [that of --candidate's log].")
@click.option("--release", "manifest", type=_FILE, help="The candidate's manifest; its digest must be the run's.")
@click.option("--sign-with", type=_FILE, help="Private key (PEM) that signs the verdict.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("verdicts"), show_default=True)
@click.option("--metric", multiple=True, help="Without a gate file: a metric, may be repeated  [all].")
@click.option("--margin", type=Number(0, 1, True, True), help="Without a gate file: not worse by more.")
@click.option("--at-least", type=Number(0, 1, True), help="Without a gate file: the least mean score.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def gate(
    gate_file: Path | None,
    run: Path | None,
    candidate: Path | None,
    baseline: Path | None,
    manifest: Path | None,
    sign_with: Path | None,
    out: Path,
    metric: tuple[str, ...],
    margin: float | None,
    at_least: float | None,
    as_json: bool,
) -> None:
    """Decide whether a release may be served.

    Writes RELEASE.verdict.json, RELEASE.html, RELEASE.md, RELEASE.junit.xml and, with --sign-with, RELEASE.dsse.json.
    Exit codes: 0 pass or waived, 1 fail, 2 inconclusive, 3 invalid or anything that kept the gate from deciding, or
    from telling it: an interrupt and a closed pipe too.

    \b
    Examples:
      evals gate gate.yaml --baseline runs/faq-1.jsonl --candidate runs/faq-2.jsonl --sign-with gate.pem
      evals gate gate.yaml --run runs/faq-2-beside-1.jsonl
      evals gate --margin 0.05 --metric exact --baseline a.jsonl --candidate b.jsonl
    """
    if gate_file is not None and (metric or margin is not None or at_least is not None):
        raise click.UsageError("--metric, --margin and --at-least are for a gate without a file")
    ours, theirs = both(run, candidate, baseline)
    config = load_gate(gate_file) if gate_file else quick_gate(ours, metric, margin, at_least)
    wanted = release.load(manifest) if manifest else None
    cards = judge_floor.load_cards(config, gate_file.parent) if gate_file else {}
    decision = decide(config, ours, theirs, now=datetime.now(UTC), harness=harness(), manifest=wanted, cards=cards)
    files = write_reports(decision, out, sign_with, pages.of_gate(decision, ours, theirs, gate_file, config))
    if as_json:
        click.echo(msgspec.json.encode(as_values(decision, files)))
    else:
        _print(decision, files)
    raise click.exceptions.Exit(EXIT_CODES[decision.answer])


def as_values(decision: Decision, files: list[Path]) -> dict[str, Any]:
    """A decision as JSON values."""
    return {
        "verdict": decision.answer,
        "reason": decision.reason,
        "release": decision.release,
        "release_digest": decision.release_digest,
        "baseline": decision.baseline,
        "problems": decision.problems,
        "notes": decision.notes,
        "waivers": [waiver.model_dump(mode="json") for waiver in decision.waivers],
        "expires": decision.verdict.predicate.expires.isoformat() if decision.verdict else None,
        "metrics": [result.model_dump(mode="json") for result in decision.metrics],
        "flips": {label: msgspec.to_builtins(flips) for label, flips in decision.flips.items()},
        "slices": [msgspec.to_builtins(row) for row in decision.slices],
        "files": [str(path) for path in files],
    }


def _print(decision: Decision, files: list[Path]) -> None:
    screen = console()
    if decision.metrics:
        screen.print(tables.decision_table(decision))
        for line in tables.reason_lines(decision):
            screen.print(line, soft_wrap=True)
    for problem in decision.problems:
        screen.print(f"problem: {problem}", markup=False, soft_wrap=True)
    for note in decision.notes:
        screen.print(f"note: {note}", markup=False, soft_wrap=True)
    about = f"{decision.release or 'no release'} {decision.release_digest or ''}".rstrip()
    until = f", until {decision.verdict.predicate.expires:%Y-%m-%d %H:%M} UTC" if decision.verdict else ""
    screen.print(f"{tables.answer(decision.answer)}", end=": ")
    screen.print(about + (until if decision.answer in ADMITTED else ""), markup=False, soft_wrap=True)
    screen.print("wrote " + ", ".join(str(path) for path in files), markup=False, soft_wrap=True)
