"""`evals show`: look into a run."""

from pathlib import Path
from typing import Any

import click
import msgspec

from evals import run_log
from evals.cli import samples
from evals.cli.common import Command, console
from evals.dataset import Dataset
from evals.evidence import Evidence, arm_as, gather
from evals.report import lookup, prompts
from evals.schema import Arm
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("show", cls=Command)
@click.argument("run", type=_FILE)
@click.argument("sample_id", metavar="SAMPLE")
@click.option("--baseline", type=_FILE, help="Another run, to stand beside this one.")
@click.option("--dataset", type=_FILE, help="The data set, which has the prompt and the reference.")
@click.option("--json", "as_json", is_flag=True, help="Print all that was recorded as JSON.")
def show(run: Path, sample_id: str, baseline: Path | None, dataset: Path | None, as_json: bool) -> None:
    """Print one sample: prompt and reference, every answer with its scores and their reasons, side by side.

    A run of two arms is shown with both. An unfinished run is shown as far as it came.

    \b
    Examples:
      evals show runs/faq-2.jsonl plan.free.price.h01 --dataset questions.jsonl
      evals show runs/faq-2.jsonl plan.free.price.h01 --baseline runs/faq-1.jsonl
      evals show runs/faq-2.jsonl plan.free.price.h01 --json
    """
    runs = _runs(run, baseline)
    found = prompts.find(dataset, None, runs["candidate"].log.manifest)
    view = lookup.one(sample_id, runs, found.data)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_values(sample_id, runs, found.data)), indent=2))
        return
    screen = console()
    for part in samples.shown(view, runs, found.why):
        screen.print(part)


def _runs(run: Path, baseline: Path | None) -> dict[Arm, Evidence]:
    log = run_log.read(run, torn_tail=True)
    ours = gather(log)
    if baseline is not None:
        other = run_log.read(baseline, torn_tail=True)
        if other.manifest.dataset_sha256 != log.manifest.dataset_sha256:
            raise InputError("the runs used different data sets: a sample of one is not the sample of the other")
        return {"baseline": gather(other, arm_as(other, "baseline")), "candidate": ours}
    if log.manifest.baseline is not None:
        return {"baseline": gather(log, "baseline"), "candidate": ours}
    return {"candidate": ours}


def _values(sample_id: str, runs: dict[Arm, Evidence], data: Dataset | None) -> dict[str, Any]:
    """Every record of the sample, repeated ones too, as they stand in the logs."""
    asked = [sample for sample in data.samples if sample.id == sample_id] if data else []
    records: dict[str, Any] = {
        role: [
            msgspec.structs.replace(r, prev="")
            for r in evidence.log.records
            if r.id == sample_id and r.arm == evidence.arm
        ]
        for role, evidence in runs.items()
    }
    return {"id": sample_id, "sample": asked[0] if asked else None, **records}
