"""`evals run`: one suite against one model, or against two side by side, into one log."""

import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from evals import compare, judge_floor, run_log
from evals.cli import tables
from evals.cli.common import BROKEN, DEFAULT_KEY, Command, Interrupted, api_key, console, forget_empty
from evals.cli.progress import RunProgress, told_by
from evals.composition import Plan, Target, execute, log_path, request_of, suite_from
from evals.config import SuiteConfig
from evals.dataset import Dataset
from evals.estimate import Estimate, Quote, estimate, quote
from evals.evidence import Evidence, gather
from evals.gate_config import load_gate
from evals.preflight import Intent, refusals
from evals.runner import Run
from evals.summary import compare_all, measure_all, noises, noises_between, projection, retried, summary
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError
from gateway.contracts.prices import load as load_prices

_PASSES = frozenset({"unreachable", "timeout", "limited", "deadline", "retrieval_failed", "judge_failed"})
"""Failures that may be over by the next run, with nothing changed."""
_FILE = click.Path(path_type=Path, dir_okay=False)


class _Money(click.ParamType[Decimal]):
    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            found = Decimal(value)
        except InvalidOperation:
            found = Decimal(0)
        if not found.is_finite() or found <= 0:
            self.fail(f"expected an amount above 0, such as 2.50, found {value!r}", param, ctx)
        return found


@click.command("run", cls=Command)
@click.argument("suite", required=False, type=_FILE)
@click.option("--base-url", default="http://127.0.0.1:8080/v1", show_default=True, help="Where the gateway listens.")
@click.option("--model", required=True, help="The model, or one release of it by its pinned name (faq@2).")
@click.option("--baseline", help="Ask this one too, sample by sample beside --model; the log then holds both arms.")
@click.option("--api-key-env", default=DEFAULT_KEY, show_default=True, help="Variable that holds the virtual key.")
@click.option("--out", type=_FILE, help="The log  [runs/SUITE-MODEL.jsonl].")
@click.option("--fresh", is_flag=True, help="Start over in a new file beside an existing log.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many samples; a gate refuses such a run.")
@click.option("--deadline", type=Number(min=0, min_open=True), help="Seconds for the whole run.")
@click.option("--max-cost", type=_Money(), help="Stop before answers and judges cost more, in the gateway's currency.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder of answers to take and keep.")
@click.option("--prices", type=_FILE, help="Price file of the gateway: say what the run will cost, before it begins.")
@click.option("--gate", type=_FILE, help="Send nothing unless this gate could say something about the run.")
@click.option("--dry-run", is_flag=True, help="Print how much would be sent, and send nothing.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--dataset", type=click.Path(dir_okay=False), help="Without a suite file: the data set (JSON Lines).")
@click.option("--scorer", multiple=True, help="Without a suite file: a scorer, may be repeated  [exact].")
@click.option("--temperature", type=Number(min=0), default=0.0, show_default=True, help="Without a suite file.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Without a suite file.")
@click.option("--epochs", type=click.IntRange(min=1), help="Ask every sample so many times.")
@click.option("--concurrency", type=click.IntRange(min=1), help="The most requests under way at a time.")
def run_suite(
    suite: Path | None,
    base_url: str,
    model: str,
    baseline: str | None,
    api_key_env: str,
    out: Path | None,
    fresh: bool,
    limit: int | None,
    deadline: float | None,
    max_cost: Decimal | None,
    cache: Path | None,
    prices: Path | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Send a suite's samples to a model, score the answers, keep everything in a log.

    A run that stopped goes on where it was when it is started again with the same --out. With --gate nothing is sent
    for a run on which the gate could not decide: other data, too little power, a judge without a fresh card. Exit code
    0: complete; 3: evidence is missing, the run is refused, or a closed pipe; 130: stopped by an interrupt.

    \b
    Examples:
      evals run suite.yaml --base-url http://127.0.0.1:8080/v1 --model faq@2
      evals run suite.yaml --model faq@2 --baseline faq@1 --gate gate.yaml --max-cost 2.50 --out runs/faq.jsonl
      evals run --dataset questions.jsonl --scorer exact --model my-model
    """
    if (suite is None) == (flags["dataset"] is None):
        raise click.UsageError("give either a suite file or --dataset FILE")
    if baseline == model:
        raise click.UsageError("--baseline is --model: run it twice into two logs to see the noise of one release")
    config, data = suite_from(suite, flags)
    _check_gate(flags["gate"], config, data, Intent(baseline is not None, limit, cache is not None))
    key = None if dry_run else api_key(api_key_env)
    target = Target(base_url, model, key, limit, deadline, baseline, max_cost, cache)
    expected = estimate(data, request := request_of(config, target))
    costs = None if prices is None else quote(expected, request, load_prices(prices), time.time())
    if dry_run:
        _print_estimate(expected, costs, as_json, retrieves=config.retrieval is not None)
        return
    path = log_path(out, config.suite, model, fresh)
    say = partial(console(stderr=True).print, markup=False)
    if costs is not None:
        say(_quoted(costs))
    plan = Plan(config, data, (suite or Path(flags["dataset"])).parent, target, datetime.now(UTC))

    def progress(run: Run, left: int) -> RunProgress:
        return RunProgress(left, time.monotonic, told_by(run), quiet=quiet)

    try:
        uvloop.run(execute(plan, path, say, progress))
    except InputError:
        forget_empty(path)
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on from {str(path)!r}") from None
    _report(run_log.read(path), as_json)


def _check_gate(path: Path | None, suite: SuiteConfig, data: Dataset, intent: Intent) -> None:
    """Raise InputError, with everything that is wrong, for a run that the gate (if any) could not decide on."""
    if path is None:
        return
    config = load_gate(path)
    cards = judge_floor.load_cards(config, path.parent)
    if found := refusals(config, suite, data, intent, cards, datetime.now(UTC)):
        listed = "".join(f"\n  - {reason}" for reason in found)
        raise InputError(f"nothing was sent: the gate {config.gate!r} could not decide on this run:{listed}")


def _report(log: run_log.Log, as_json: bool) -> None:
    """Print a finished log. Raises Exit(3) when evidence is missing in any arm."""
    ours = gather(log)
    theirs = gather(log, "baseline") if log.manifest.baseline is not None else None
    if as_json:
        click.echo(msgspec.json.encode(summary(ours, theirs)))
    else:
        _print(ours, theirs)
    if any(unit.missing for run in (ours, theirs) if run is not None for unit in run.units.values()):
        raise click.exceptions.Exit(BROKEN)


def _print(ours: Evidence, theirs: Evidence | None) -> None:
    screen = console()
    for run in (ours, theirs):
        if run is not None:
            if theirs is not None:
                screen.print(f"{run.arm}: {run.log.manifest.asked(run.arm)}", markup=False)
            _print_arm(run)
    if theirs is not None:
        screen.print(tables.pair_table(compare_all(ours, theirs)))
        for name, split in noises_between(ours, theirs).items():
            screen.print(tables.noise_line(f"the difference of {name}", split), markup=False)
    screen.print(f"log: {ours.log.path}", markup=False, soft_wrap=True)


def _print_arm(evidence: Evidence) -> None:
    screen = console()
    screen.print(tables.run_table(measure_all(evidence)))
    for line in tables.account_lines(compare.account(evidence)):
        screen.print(line, markup=False, soft_wrap=True)
    for line in tables.failure_lines(record for unit in evidence.units.values() for record in unit.records):
        screen.print(line, markup=False, soft_wrap=True)
    if (whole := projection(evidence)) is not None:
        screen.print(f"the whole suite would cost {tables.projected(whole)}", markup=False)
    for name, split in noises(evidence).items():
        screen.print(tables.noise_line(name, split), markup=False)
    for name, groups in retried(evidence).items():
        screen.print(tables.retried_line(name, groups), markup=False)
    if evidence.release:
        screen.print(f"release: {evidence.release} {evidence.release_digest}", markup=False, soft_wrap=True)
    for problem in evidence.problems:
        screen.print(f"note: {problem}", markup=False, soft_wrap=True)
    if missing := [unit for unit in evidence.units.values() if unit.missing]:
        kinds = {record.failure.kind for unit in missing for record in unit.records if record.failure}
        again = kinds & _PASSES or any(len(unit.records) < unit.epochs for unit in missing)
        what = (
            "the same command asks for those samples again" if again else "the same command again would not change that"
        )
        screen.print(f"evidence is missing: {what}", markup=False)


def _quoted(costs: Quote) -> str:
    """The quote as a line. Its currency and version are a price file's: text as it is."""
    most = "no more is known without max_tokens" if costs.most is None else f"{costs.most:f} with the longest answers"
    return f"cost: about {costs.input:f} {costs.currency} for input, {most} (list prices {costs.version!r}, no judges)"


def _print_estimate(found: Estimate, costs: Quote | None, as_json: bool, *, retrieves: bool) -> None:
    if as_json:
        priced = {} if costs is None else {"cost": costs}
        click.echo(msgspec.json.encode({**msgspec.to_builtins(found), **priced}))
        return
    arms = " of each of two models" if found.arms > 1 else ""
    most = "as many as the model likes (no max_tokens)"
    if found.most_output_tokens is not None:
        most = f"{found.most_output_tokens:,} at most"
    click.echo(f"samples: {found.samples}, {found.epochs} times{arms}")
    click.echo(f"requests: {found.requests:,}")
    click.echo(f"input tokens: about {found.input_tokens:,}; output tokens: {most}")
    if retrieves:
        click.echo("passages that the retriever adds to each question are not counted here")
    if costs is not None:
        click.echo(_quoted(costs))
    click.echo("nothing was sent; --limit runs a part of it and projects the cost of the whole")
