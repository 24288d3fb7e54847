"""`evals plan`: what a gate can show, before anything is spent."""

from pathlib import Path

import click

from evals import dataset
from evals.cli import tables
from evals.cli.common import Command, console
from evals.compare import shape
from evals.gate_config import load_gate
from evals.planning import plan, underpowered
from evals.report import markdown
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("plan", cls=Command)
@click.argument("gate_file", metavar="GATE", type=_FILE)
@click.option("--dataset", "data", type=_FILE, help="The data set, when the gate file names none.")
def plan_gate(gate_file: Path, data: Path | None) -> None:
    """Show what a gate can show: its power, and how many samples its margins need.

    Exit code 3 when the gate is refused for lack of power.

    \b
    Examples:
      evals plan gate.yaml
      evals plan gate.yaml --dataset heldout.jsonl
    """
    config = load_gate(gate_file)
    if data is None and config.dataset is None:
        raise InputError(f"{str(gate_file)!r} names no data set: add `dataset: FILE`, or give --dataset")
    loaded = dataset.load_split(data or gate_file.parent / str(config.dataset), config.split)
    if loaded.digest != config.dataset_sha256:
        raise InputError(f"{str(loaded.path)!r} is {loaded.digest}, and the gate is for {config.dataset_sha256}")
    made = tables.table("metric", ">margin", ">n", ">clusters", ">largest", ">power", ">detectable", ">n needed")
    refused: list[str] = []
    for metric in config.metrics:
        keys = [f"cluster {s.cluster}" if s.cluster else f"sample {s.id}" for s in loaded.tagged(metric.tag)]
        planned = plan(config, metric, shape(keys))
        if planned is None:
            continue
        figures = (planned.samples, planned.clusters, planned.largest)
        made.add_row(
            metric.label.replace("[", r"\["),
            f"{metric.margin:g}",
            *map(str, figures),
            markdown.number(planned.power, 3),
            markdown.number(planned.detectable, 4),
            str(planned.samples_needed or "-"),
        )
        if planned.power < config.design.power:
            refused.append(f"{metric.label}: {underpowered(config, planned)}")
    screen = console()
    screen.print(made if made.row_count else "no metric of this gate has a margin: nothing to plan")
    if refused:
        raise InputError("the gate is refused: " + "; ".join(refused))
