"""`evals import`: results of lm-eval, Inspect AI and promptfoo as a run log."""

import math
from pathlib import Path
from typing import Any

import click
import msgspec

from evals import dataset, run_log
from evals.cli.common import Command, console
from evals.composition import harness
from evals.exchange import imports, inspect_log, lm_eval, promptfoo
from evals.exchange.imported import Choice, Imported, Reads
from evals.exchange.imports import Settled, Terms
from gateway.contracts import release
from gateway.contracts.errors import InputError

_FILE = click.Path(path_type=Path, dir_okay=False)
TOOLS: dict[str, Reads] = {"lm-eval": lm_eval.read, "inspect": inspect_log.read, "promptfoo": promptfoo.read}


class _Scale(click.ParamType[tuple[str, float, float]]):
    name = "scale"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float, float]:
        metric, _, ends = value.rpartition("=")
        try:
            worst, best = (float(end) for end in ends.split(":"))
        except ValueError:
            worst = best = 0.0
        if worst == best or not (math.isfinite(worst) and math.isfinite(best)):
            self.fail(f"expected [METRIC=]WORST:BEST, such as points=0:100, found {value!r}", param, ctx)
        return metric, worst, best


@click.command("import", cls=Command)
@click.argument("tool", type=click.Choice(list(TOOLS)))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=_FILE, required=True, help="The log to write.")
@click.option("--force", is_flag=True, help="Write over a log that is there.")
@click.option(
    "--dataset", "data", type=_FILE, help="Write the samples here; where it is there, hold the results to it."
)
@click.option("--metric", multiple=True, help="A metric to take, may be repeated  [all].")
@click.option("--scale", type=_Scale(), multiple=True, help="[METRIC=]WORST:BEST of scores outside [0, 1]; may repeat.")
@click.option("--tag", multiple=True, help="A key of what the tool keeps beside a sample: a tag KEY=VALUE for slices.")
@click.option("--cluster", help="Such a key whose samples are not independent, a document's for example.")
@click.option("--task", multiple=True, help="lm-eval: a task, may be repeated  [all].")
@click.option("--column", type=click.IntRange(min=1), help="promptfoo: which pair of provider and prompt, from 1.")
@click.option("--suite", help="A name for the suite  [the tool's name of the task].")
@click.option("--model", help="A name for the model  [the tool's].")
@click.option("--release", "manifest", type=_FILE, help="Manifest of the release that you say was asked.")
@click.option("--accept-limit", is_flag=True, help="What the tool's --limit left is the whole data set.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_results(
    tool: str,
    path: Path,
    out: Path,
    force: bool,
    data: Path | None,
    suite: str | None,
    model: str | None,
    manifest: Path | None,
    accept_limit: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Turn results of another tool into a run log, which gate, compare, show and report read.

    Errors, skipped samples and scores that are NaN or missing become failures; none leaves the denominator. The gate
    decides on such a log, but writes no verdict, for nothing proves which release was asked; with --release it does,
    and the verdict says that the results were imported.

    \b
    Examples:
      evals import lm-eval out/my-model --out runs/b.jsonl --metric exact_match,strict-match
      evals import inspect logs/2026-11-22_faq.eval --out runs/b.jsonl --dataset faq.jsonl --tag topic
      evals import promptfoo results.json --column 2 --out runs/b.jsonl --scale points=0:100
    """
    run_log.check_free(out, force=force)
    scales = {metric: (worst, best) for metric, worst, best in flags["scale"]}
    choice = Choice(flags["metric"], flags["task"], flags["column"], scales, flags["tag"], flags["cluster"])
    imported = _read(tool, path, choice)
    known = dataset.load(data) if data is not None and data.exists() else None
    claimed = release.load(manifest) if manifest is not None else None
    if data is not None and known is None:
        imports.save_dataset(data, imported)
    settled = imports.write(
        imported,
        out,
        choice,
        Terms(suite, model, claimed, accept_limit, known, data.name if data else None),
        harness=harness(),
    )
    if as_json:
        click.echo(msgspec.json.encode(settled))
    else:
        _print(settled, out)


def _read(tool: str, path: Path, choice: Choice) -> Imported:
    """Another tool's results. Raises InputError, also for a file that has not the form in which that tool writes."""
    try:
        return TOOLS[tool](path, choice)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A reader takes the parts of a file by their names, and any of them may be missing or of another kind.
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"{str(path)!r} has not the form that {tool} writes ({told}): is the file whole?") from error


def _print(settled: Settled, out: Path) -> None:
    screen = console()

    def say(text: str) -> None:
        screen.print(text, markup=False, soft_wrap=True)

    say(f"{settled.tool} {settled.version}: {settled.suite}, model {settled.model}")
    epochs = f", {settled.epochs} epochs" if settled.epochs > 1 else ""
    say(f"samples: {settled.samples}{epochs}; metrics: {', '.join(settled.metrics)}")
    say("results: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(settled.outcomes.items())))
    if settled.failures:
        say("failures: " + ", ".join(f"{count} {kind}" for kind, count in sorted(settled.failures.items())))
    for name, reason in settled.left_out.items():
        say(f"left out: {name}: {reason}")
    if settled.partial:
        say("note: the tool ran a part of its data set, which no gate passes; --accept-limit takes it as the whole")
    if settled.release is None:
        say("note: no release is named: a gate decides, and writes no verdict (--release names one)")
    say(f"data set: {settled.dataset_sha256}")
    say(f"log: {out}")
