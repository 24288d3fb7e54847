"""`evals report`: a page about a gate's decision, about two runs, or about one."""

from datetime import UTC, datetime
from pathlib import Path

import click

from evals import judge_floor
from evals.cli import pages
from evals.cli.common import Command, console
from evals.cli.gate import both
from evals.composition import harness
from evals.evidence import Evidence
from evals.gate import decide
from evals.gate_config import load_gate
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("report", cls=Command)
@click.argument("gate_file", metavar="[GATE]", required=False, type=_FILE)
@click.option("--run", type=_FILE, help="Log of a run, of one arm or of both.")
@click.option("--candidate", type=_FILE, help="Log of the release that wants to be served.")
@click.option("--baseline", type=_FILE, help="Log of the release that is served now.")
@click.option("--dataset", type=_FILE, help="The data set, which has the prompts  [that of the gate file].")
@click.option("--out", type=_FILE, default=Path("report.html"), show_default=True, help="The page.")
def report(
    gate_file: Path | None,
    run: Path | None,
    candidate: Path | None,
    baseline: Path | None,
    dataset: Path | None,
    out: Path,
) -> None:
    """Write one HTML page that needs no network: figures, what changed sample by sample, what it all rests on.

    With a gate file it decides as `evals gate` does, and says so; the page is no verdict, and nothing is signed.
    Without one it is a comparison of two runs, or the picture of one.

    \b
    Examples:
      evals report gate.yaml --baseline runs/faq-1.jsonl --candidate runs/faq-2.jsonl --out faq-2.html
      evals report --run runs/faq-2-beside-1.jsonl --dataset questions.jsonl
    """
    ours, theirs = _runs(run, candidate, baseline)
    if gate_file is None:
        text, said = pages.of_runs(ours, theirs, dataset), "no gate was given: the page decides nothing"
    else:
        gate = load_gate(gate_file)
        cards = judge_floor.load_cards(gate, gate_file.parent)
        decision = decide(gate, ours, theirs, now=datetime.now(UTC), harness=harness(), cards=cards)
        text = pages.of_gate(decision, ours, theirs, gate_file, gate, dataset)
        said = f"{decision.answer}: {decision.release or 'no release'} {decision.release_digest or ''}".rstrip()
    pages.write(out, text)
    screen = console()
    screen.print(said, markup=False, soft_wrap=True)
    screen.print(f"wrote {out} ({len(text.encode()) / 1e6:.1f} MB)", markup=False, soft_wrap=True)


def _runs(run: Path | None, candidate: Path | None, baseline: Path | None) -> tuple[Evidence, Evidence | None]:
    """The evidence; a `--run` of one arm will do. Raises InputError and click.UsageError."""
    if run is None or candidate or baseline:
        ours, theirs = both(run, candidate, baseline)
    else:
        ours, theirs = both(None, run, None)
    if theirs is not None and theirs.log.manifest.dataset_sha256 != ours.log.manifest.dataset_sha256:
        raise InputError("the runs used different data sets, and no sample can be put beside its like: run both on one")
    return ours, theirs
