"""`evals data lint`, `show`, `compare`: look at data sets and runs."""

from collections import Counter
from pathlib import Path

import click
import msgspec

from evals import compare, dataset, run_log
from evals.cli import tables
from evals.cli.common import Command, console
from evals.evidence import gather
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_MOST_IDS = 10


@click.group("data")
def data() -> None:
    """Look at data sets.

    \b
    Example:
      evals data lint questions.jsonl
    """


@data.command("lint", cls=Command)
@click.argument("file", type=_FILE)
def lint(file: Path) -> None:
    """Check a data set: broken lines, duplicate ids; then counts and the digest that a gate names.

    \b
    Examples:
      evals data lint heldout.jsonl
    """
    loaded = dataset.load(file)
    clusters = Counter(sample.cluster for sample in loaded.samples if sample.cluster is not None)
    alone = sum(sample.cluster is None for sample in loaded.samples)
    tags = Counter(tag for sample in loaded.samples for tag in sample.tags)
    unreferenced = sum(not sample.references() for sample in loaded.samples)
    click.echo(f"samples: {len(loaded.samples)}")
    click.echo(f"clusters: {len(clusters) + alone}, the largest of {max([*clusters.values(), 1])}")
    click.echo("tags: " + (", ".join(f"{tag} {count}" for tag, count in sorted(tags.items())) or "none"))
    if unreferenced:
        click.echo(f"without a reference: {unreferenced}")
    click.echo(f"digest: {loaded.digest}")


@click.command("show", cls=Command)
@click.argument("run", type=_FILE)
@click.argument("sample_id")
def show(run: Path, sample_id: str) -> None:
    """Print everything that a run recorded about one sample.

    \b
    Examples:
      evals show runs/faq-2.jsonl plan.free.price.h01
    """
    log = run_log.read(run, torn_tail=True)
    found = [record for record in log.records if record.id == sample_id]
    if not found:
        raise InputError(f"{str(run)!r} has no sample {sample_id!r}: its ids are those of {log.manifest.dataset!r}")
    for record in found:
        shown = msgspec.structs.replace(record, prev="")
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2))


@click.command("compare", cls=Command)
@click.argument("baseline", type=_FILE)
@click.argument("candidate", type=_FILE)
@click.option("--slices", is_flag=True, help="Also by tag.")
def compare_runs(baseline: Path, candidate: Path, slices: bool) -> None:
    """Compare two runs, sample by sample. Decides nothing: that is what a gate is for.

    The columns sd and design effect are what a gate's planned_sd and planned_design_effect can be taken from.

    \b
    Examples:
      evals compare runs/faq-1.jsonl runs/faq-2.jsonl --slices
    """
    theirs, ours = gather(run_log.read(baseline)), gather(run_log.read(candidate))
    first, second = theirs.log.manifest, ours.log.manifest
    if first.dataset_sha256 != second.dataset_sha256:
        raise InputError("the runs used different data sets: run both on the same one")
    metrics = [name for name in second.metrics() if name in first.metrics()]
    if not metrics:
        raise InputError(f"the runs share no metric: {first.metrics()} and {second.metrics()}")
    measured = {name: compare.paired(ours, theirs, name, alpha=0.025) for name in metrics}
    found = {name: measure for name, measure in measured.items() if measure is not None}
    screen = console()
    screen.print(tables.pair_table(found))
    for name, measure in found.items():
        for word, ids in (("fell", measure.flips.regressed), ("rose", measure.flips.improved)):
            if ids:
                more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
                screen.print(f"{name} {word}: {', '.join(ids[:_MOST_IDS])}{more}", markup=False)
    if slices:
        screen.print(tables.slice_table(compare.slices(ours, theirs, metrics), "difference"))
    for role, run in (("baseline", theirs), ("candidate", ours)):
        for problem in run.problems:
            screen.print(f"note: {role}: {problem}", markup=False)
