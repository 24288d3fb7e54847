"""`evals plan`: what a gate can show, before anything is spent."""

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from evals import dataset, gate_plan, pilot, resampling, run_log
from evals.cli import tables
from evals.cli.common import Command, console
from evals.evidence import Evidence, arm_as, gather
from evals.gate_config import GateConfig, load_gate
from evals.gate_plan import Condition, GatePlan
from evals.planning import Joint
from evals.report.markdown import number
from gateway.contracts import documents
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_SEED = 0


@click.command("plan", cls=Command)
@click.argument("gate_file", metavar="GATE", type=_FILE)
@click.option("--dataset", "data", type=_FILE, help="The data set, when the gate file names none.")
@click.option("--pilot", "pilot_run", type=_FILE, help="A run to measure the noise on; the gate may then lack a plan.")
@click.option("--pilot-baseline", type=_FILE, help="The run to compare the pilot with  [its own baseline arm].")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan_gate(
    gate_file: Path, data: Path | None, pilot_run: Path | None, pilot_baseline: Path | None, as_json: bool
) -> None:
    """Show what a gate can show: the power of each metric, what it can detect, what it needs, and the joint chance.

    Power is the chance that a release which is exactly as good as its baseline (or as good as expected) passes the
    metric. All metrics have to pass, so a good release's chance is the joint one. With --pilot the noise is measured
    on a run, and printed as lines for the gate. Exit code 3 when the gate is refused.

    \b
    Examples:
      evals plan gate.yaml
      evals plan gate.yaml --dataset heldout.jsonl --json
      evals plan gate.yaml --pilot runs/faq-2-beside-1.jsonl
      evals plan gate.yaml --pilot runs/faq-2.jsonl --pilot-baseline runs/faq-1.jsonl
    """
    if pilot_baseline is not None and pilot_run is None:
        raise click.UsageError("--pilot-baseline is compared with a pilot: give --pilot too")
    config = load_gate(gate_file) if pilot_run is None else documents.load(gate_file, GateConfig)
    if data is None and config.dataset is None:
        raise InputError(f"{str(gate_file)!r} names no data set: add `dataset: FILE`, or give --dataset")
    loaded = dataset.load_split(data or gate_file.parent / str(config.dataset), config.split)
    if loaded.digest != config.dataset_sha256:
        raise InputError(f"{str(loaded.path)!r} is {loaded.digest}, and the gate is for {config.dataset_sha256}")
    measured = None if pilot_run is None else pilot.measure(config, *_arms(pilot_run, pilot_baseline))
    found = gate_plan.of_dataset(config, loaded, measured.noises if measured else None)
    if measured is not None:
        found = found.correlated(pilot.chance(found.chances, measured, resampling.generator(_SEED)))
    if as_json:
        click.echo(msgspec.json.encode(as_values(config, found, measured)))
    else:
        _print(config, found, measured)
    if found.refused:
        raise InputError("the gate is refused: " + "; ".join(found.refused))


def _arms(run: Path, beside: Path | None) -> tuple[Evidence, Evidence | None]:
    log = run_log.read(run)
    if beside is not None:
        other = run_log.read(beside)
        return gather(log), gather(other, arm_as(other, "baseline"))
    return gather(log), gather(log, "baseline") if log.manifest.baseline is not None else None


def as_values(config: GateConfig, found: GatePlan, measured: pilot.Pilot | None) -> dict[str, object]:
    """A plan as JSON values. `joint` and `pilot` are null where there is none."""
    return {
        "gate": config.gate,
        "digest": config.digest(),
        "alpha": config.design.alpha,
        "power": config.design.power,
        "refused": found.refused,
        "conditions": msgspec.to_builtins(found.conditions),
        "joint": msgspec.to_builtins(found.joint),
        "pilot": None if measured is None else {"metrics": measured.lines, "notes": measured.notes},
    }


def _print(config: GateConfig, found: GatePlan, measured: pilot.Pilot | None) -> None:
    made = tables.table("metric", "asks for", ">n", ">clusters", ">largest", ">power", ">detectable", ">n needed", "")
    for each in found.conditions:
        made.add_row(
            escape(each.metric),
            each.asks,
            *map(str, (each.samples, each.clusters, each.largest)),
            number(each.power, 3),
            number(each.detectable, 4),
            str(each.samples_needed or "-"),
            _word(each),
        )
    screen = console()
    screen.print(made)
    for each in found.conditions:
        if each.note:
            screen.print(f"note: {each.metric} ({each.test}): {each.note}", markup=False, soft_wrap=True)
        if each.failures is not None:
            screen.print(_counted(config, each), markup=False, soft_wrap=True)
    if found.joint is not None:
        screen.print(
            _joint(found.joint, sum(each.tier != "advisory" for each in found.conditions)), markup=False, soft_wrap=True
        )
    if measured is None:
        return
    for note in measured.notes:
        screen.print(f"note: pilot: {note}", markup=False, soft_wrap=True)
    if measured.lines:
        screen.print("the pilot's noise, for the gate's metrics:", markup=False)
        for line in measured.lines:
            screen.print(f"  {line}", markup=False, soft_wrap=True)


def _word(condition: Condition) -> str:
    if condition.refused:
        return "[red]refused[/]"
    return "[yellow]blind[/]" if condition.power is None else "[green]planned[/]"


def _counted(config: GateConfig, each: Condition) -> str:
    """What a count of failures shows, in a line."""
    found = each.failures
    if found is None:
        return ""
    return (
        f"{each.metric}: {found.allowed} failures of {found.samples} show a failure rate below {found.bound:.4f} "
        f"(confidence {1 - config.design.alpha:g}); a release passes with probability {config.design.power:g} only if "
        f"its true rate is at most {found.tolerated:.5f}"
    )


def _joint(found: Joint, conditions: int) -> str:
    """The joint chance, in a line."""
    plural = "" if found.of == 1 else "s"
    about = (
        "all conditions" if found.of == conditions > 1 else f"the {found.of} planned condition{plural} of {conditions}"
    )
    start = f"a release that is as good as planned passes {about} with probability"
    if found.of == 1:
        return f"{start} {found.most:.3f}"
    correlated = "" if found.correlated is None else f"{found.correlated:.3f} with the pilot's correlations, "
    return (
        f"{start} {correlated}{found.independent:.3f} if they were independent; at least {found.least:.3f}, at most "
        f"{found.most:.3f}"
    )
