"""`evals pass-at-k`: the chance that one of several answers passes."""

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from evals import passk, run_log
from evals.cli import tables
from evals.cli.common import Command, console
from evals.evidence import gather
from gateway.contracts.commands import Number


@click.command("pass-at-k", cls=Command)
@click.argument("run", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-k", "sizes", type=click.IntRange(min=1), multiple=True, help="How many answers, may be repeated  [1].")
@click.option("--metric", multiple=True, help="A metric of the run, may be repeated  [all].")
@click.option("--threshold", type=Number(0, 1, min_open=True), default=1.0, show_default=True, help="Passed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pass_at_k(run: Path, sizes: tuple[int, ...], metric: tuple[str, ...], threshold: float, as_json: bool) -> None:
    """Estimate pass@k of a run with several epochs: the chance that at least one of k answers passes.

    An epoch passes when its score is at least --threshold. The estimator is the unbiased one of Chen et al. 2021;
    missing evidence counts as failed in the mean and the lower bound. Decides nothing: that is what a gate is for.

    \b
    Examples:
      evals pass-at-k runs/code-2.jsonl -k 1 -k 10 --metric tests
    """
    evidence = gather(run_log.read(run))
    names = metric or tuple(evidence.log.manifest.metrics())
    found = [passk.measure(evidence, name, k, threshold=threshold) for name in names for k in sizes or (1,)]
    if as_json:
        click.echo(msgspec.json.encode({"threshold": threshold, "problems": evidence.problems, "pass_at_k": found}))
        return
    made = tables.table("metric", ">k", ">pass@k", ">95% interval", ">epochs", ">n", ">missing")
    for row in found:
        made.add_row(
            escape(row.metric),
            str(row.k),
            f"{row.estimate:.4f}",
            escape(f"[{row.lower:.4f}, {row.upper:.4f}]"),
            str(row.epochs),
            str(row.samples),
            str(row.missing),
        )
    screen = console()
    screen.print(made)
    for problem in evidence.problems:
        screen.print(f"note: {problem}", markup=False, soft_wrap=True)
