"""`evals compare`: two runs, or the two arms of one, sample by sample."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from evals import compare, resampling, run_log
from evals.cli import pages, tables
from evals.cli.common import Command, console
from evals.compare import Measure
from evals.cross_check import CrossCheck, cross_checks
from evals.evidence import Evidence, arm_as, gather
from evals.resampling import Resampled
from evals.summary import compare_all, difference, noises_between
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
_MOST_IDS = 10


@click.command("compare", cls=Command)
@click.argument("runs", nargs=-1, required=True, type=_FILE, metavar="BASELINE CANDIDATE | RUN")
@click.option("--slices", is_flag=True, help="Also by tag.")
@click.option(
    "--resamples", type=click.IntRange(min=100), help="Also a cluster bootstrap of so many, as a cross-check."
)
@click.option("--classical", is_flag=True, help="Also the standard tests (McNemar, t, Holm), as a cross-check.")
@click.option("--margin", type=Number(0, 1, min_open=True), help="With --classical: non-inferiority, equivalence.")
@click.option("--html", type=_FILE, help="Also write a page with everything, sample by sample.")
@click.option("--dataset", type=_FILE, help="For the page: the data set, which has the prompts.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def compare_runs(
    runs: tuple[Path, ...],
    slices: bool,
    resamples: int | None,
    classical: bool,
    margin: float | None,
    html: Path | None,
    dataset: Path | None,
    as_json: bool,
) -> None:
    """Compare two runs, or the two arms of one, sample by sample. Decides nothing: that is what a gate is for.

    The columns sd and design effect are what a gate's planned_sd and planned_design_effect can be taken from.

    \b
    Examples:
      evals compare runs/faq-1.jsonl runs/faq-2.jsonl --slices
      evals compare runs/faq-2-beside-1.jsonl --html faq-2.html --dataset questions.jsonl
      evals compare runs/faq-1.jsonl runs/faq-2.jsonl --resamples 10000
      evals compare runs/faq-1.jsonl runs/faq-2.jsonl --classical --margin 0.03
    """
    if margin is not None and not classical:
        raise click.UsageError("--margin is for the standard tests: give --classical too")
    theirs, ours = _arms(runs)
    metrics = _shared(theirs, ours)
    if html is not None:
        pages.write(html, pages.of_runs(ours, theirs, dataset))
    elif dataset is not None:
        raise click.UsageError("--dataset is for the page: give --html FILE too")
    checks = cross_checks(ours, theirs, metrics, margin=margin) if classical else ()
    drawn = _drawn(ours, theirs, metrics, resamples) if resamples else {}
    tagged = compare.slices(ours, theirs, metrics) if slices else ()
    if as_json:
        asked: dict[str, Any] = {"classical": [check.as_values() for check in checks]} if classical else {}
        asked |= {"resampled": drawn} if resamples else {}
        asked |= {"slices": tagged} if slices else {}
        problems = {"baseline": theirs.problems, "candidate": ours.problems}
        click.echo(msgspec.json.encode(difference(ours, theirs) | asked | {"problems": problems}))
        return
    _print(ours, theirs, checks, drawn)
    screen = console()
    if slices:
        screen.print(tables.slice_table(tagged, "difference"))
    for role, run in (("baseline", theirs), ("candidate", ours)):
        for problem in run.problems:
            screen.print(f"note: {role}: {problem}", markup=False, soft_wrap=True)
    if html is not None:
        screen.print(f"wrote {html}", markup=False, soft_wrap=True)


def _drawn(ours: Evidence, theirs: Evidence, metrics: Iterable[str], resamples: int) -> dict[str, Resampled]:
    """The bootstrap of each metric's difference."""
    rng, span = resampling.generator, (-1.0, 1.0)
    return {
        name: resampling.bootstrap(compare.differences(ours, theirs, name), rng=rng(0), resamples=resamples, span=span)
        for name in metrics
    }


def _print(ours: Evidence, theirs: Evidence, checks: Iterable[CrossCheck], resampled: Mapping[str, Resampled]) -> None:
    found, screen = compare_all(ours, theirs), console()
    screen.print(tables.pair_table(found))
    for check in checks:
        screen.print(tables.checked_line(check), markup=False, soft_wrap=True)
    for name, drawn in resampled.items():
        screen.print(tables.resampled_line(name, drawn), markup=False, soft_wrap=True)
    for line in _flipped(found):
        screen.print(line, markup=False, soft_wrap=True)
    for name, split in noises_between(ours, theirs).items():
        screen.print(tables.noise_line(f"the difference of {name}", split), markup=False, soft_wrap=True)


def _flipped(found: Mapping[str, Measure]) -> Iterator[str]:
    for name, measure in found.items():
        for word, ids in (("fell", measure.flips.regressed), ("rose", measure.flips.improved)):
            if ids:
                more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
                yield f"{name} {word}: {', '.join(ids[:_MOST_IDS])}{more}"


def _arms(runs: tuple[Path, ...]) -> tuple[Evidence, Evidence]:
    """Baseline and candidate. Raises click.UsageError and InputError."""
    logs = [run_log.read(path) for path in runs[:2]]
    if len(runs) == 1:
        if logs[0].manifest.baseline is None:
            raise InputError(
                f"{str(runs[0])!r} has one arm: name a second run, or run with `evals run --baseline MODEL`"
            )
        return gather(logs[0], "baseline"), gather(logs[0])
    if len(runs) > 2:
        raise click.UsageError(f"expected two runs, or one with two arms, found {len(runs)}")
    return gather(logs[0], arm_as(logs[0], "baseline")), gather(logs[1])


def _shared(theirs: Evidence, ours: Evidence) -> list[str]:
    """The metrics of both. Raises InputError when the two cannot be compared."""
    first, second = theirs.log.manifest, ours.log.manifest
    if first.dataset_sha256 != second.dataset_sha256:
        raise InputError("the runs used different data sets: run both on the same one")
    metrics = [name for name in second.metrics() if name in first.metrics()]
    if not metrics:
        raise InputError(f"the runs share no metric: {first.metrics()} and {second.metrics()}")
    return metrics
