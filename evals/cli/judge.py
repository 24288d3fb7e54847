"""`evals judge measure`, `show`, `correct`: what a judge is worth, and what its verdicts come to."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from evals import judge_card, judge_correct, judges, labels, run_log
from evals.cli import judge_tables
from evals.cli.common import BROKEN, DEFAULT_KEY, Command, Interrupted, api_key, console, forget_empty
from evals.cli.progress import RunProgress
from evals.cli.tables import failure_lines
from evals.client import Client
from evals.composition import harness, unused
from evals.durations import span
from evals.evidence import gather
from evals.judge_card import Card, JudgeOfCard
from evals.judge_correct import Arm
from evals.judge_measure import Measuring, judged_by, make_card, scale_of
from evals.judges import Named
from evals.labels import LabelSet
from evals.lines import Manifest
from evals.services import Bill, JudgeServices
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError

DEFAULT_URL = "http://127.0.0.1:8080/v1"
_FILE = click.Path(path_type=Path, dir_okay=False)
_REACH_TIMEOUT_S = 10.0
_ALPHA = 0.05


@click.group("judge")
def judge() -> None:
    """Measure a judge, show its card, correct what it said.

    \b
    Examples:
      evals judge measure suite.yaml labels.jsonl --out judge-card.yaml
      evals judge show judge-card.yaml
      evals judge correct judge-card.yaml runs/faq-2.jsonl --metric quality
    """


@judge.command("measure", cls=Command)
@click.argument("file", metavar="SUITE_OR_JUDGE", type=_FILE)
@click.argument("label_file", metavar="LABELS", type=_FILE)
@click.option("--out", type=_FILE, default=Path("judge-card.yaml"), show_default=True, help="Where the card goes.")
@click.option("--metric", help="The judge's metric, where the suite has several.")
@click.option("--split", help="Only the labelled samples of this split: best one that the rubric was not written on.")
@click.option("--threshold", type=Number(0, 1, True), default=0.5, show_default=True, help="What passes.")
@click.option("--ttl", default="90d", show_default=True, help="How long the card counts.")
@click.option("--log", type=_FILE, help="The log of verdicts, from which a stopped measurement goes on  [OUT.jsonl].")
@click.option("--fresh", is_flag=True, help="Judge everything again, into a new log beside an existing one.")
@click.option("--base-url", help=f"Where the judge answers  [the judge's base_url, else {DEFAULT_URL}].")
@click.option("--api-key-env", help=f"Variable that holds the key  [the judge's api_key_env, else {DEFAULT_KEY}].")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def measure(file: Path, label_file: Path, out: Path, metric: str | None, as_json: bool, **flags: Any) -> None:
    """Score a judge on answers that people have labelled, and write its card.

    SUITE_OR_JUDGE is a suite with a judge in it, or a file with `judge:` and `scorer:` alone. A failure of the judge
    counts as a wrong verdict; a judge that has no verdict on any of the first twenty answers ends the measurement, with
    no card. Exit code 0: every sample was judged; 3: some were not (the card counts them as wrong, and the same command
    asks for them again).

    \b
    Examples:
      evals judge measure suite.yaml labels.jsonl --split test --out judge-card.yaml
      evals judge measure judge.yaml labels.jsonl --ttl 30d --json
    """
    lifetime = _lifetime(flags["ttl"])
    named = judges.load(file, metric)
    loaded = labels.load(label_file, named.scorer.label_values(), split=flags["split"])
    judge_card.check_free(out)
    path = unused(flags["log"] or out.with_suffix(".jsonl"), flags["fresh"])
    if path.resolve() == out.resolve():
        raise InputError(
            f"{str(path)!r} is the log of verdicts, and cannot be the card: name another with --out or --log"
        )
    bill = _judge_all(named, loaded, path, flags["base_url"], flags["api_key_env"])
    card = _card_of(named, loaded, path, flags, lifetime)
    judge_card.save(card, out)
    if as_json:
        click.echo(msgspec.json.encode(card.values() | {"card_digest": card.digest(), "file": str(out)}))
    else:
        judge_tables.print_card(card, datetime.now(UTC), bill)
        console().print(f"card: {out} {card.digest()}\nlog: {path}", markup=False, soft_wrap=True)
    if card.labels.failures:
        for line in failure_lines(run_log.read(path).records):
            console(stderr=True).print(line, markup=False, soft_wrap=True)
        raise click.exceptions.Exit(BROKEN)


def _judge_all(named: Named, loaded: LabelSet, path: Path, url: str | None, variable: str | None) -> Bill:
    """Judge what the log does not have yet, and seal it. Raises InputError."""
    config = named.config
    url = url or config.base_url or DEFAULT_URL
    key = api_key(variable or config.api_key_env or DEFAULT_KEY)
    client = Client(url, key, connections=config.concurrency, clock=time.perf_counter)
    rng = random.Random(0)  # noqa: S311 - jitter, no secret
    services = JudgeServices(client, config, time.monotonic, asyncio.sleep, rng)
    try:
        with run_log.Writer(path, _manifest(named, loaded, url)) as writer:
            measuring = Measuring(named.metric, named.scorer, loaded, services, writer, config.concurrency)
            uvloop.run(_execute(measuring, client, lambda text: console(stderr=True).print(text, markup=False)))
            writer.seal()
    except InputError:
        forget_empty(path)
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on from {str(path)!r}") from None
    return services.bill


async def _execute(measuring: Measuring, client: Client, say: Callable[[str], None]) -> None:
    left, total = sum(1 for _ in measuring.todo()), len(measuring.labels.samples)
    if measuring.log.existing:
        say(f"resuming: {left} of {total} verdicts left (--fresh: a new log)")
    if not left:
        return
    async with client:
        await client.reach(_REACH_TIMEOUT_S)
        with RunProgress(left, time.monotonic) as progress:
            measuring.on_record = progress
            await measuring.execute()


def _manifest(named: Named, loaded: LabelSet, url: str) -> Manifest:
    """The first line of a measurement's log; its suite is the judge."""
    return Manifest(
        suite=f"judge-{named.metric}",
        suite_digest=named.digest,
        dataset=loaded.path.name,
        dataset_sha256=loaded.digest,
        samples=len(loaded.samples),
        epochs=1,
        model=named.model,
        params=named.config.identity(),
        system=None,
        scorers=[{"name": named.spec.name, "as": named.metric}],
        base_url=url,
        harness=harness(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        judges={named.metric: named.digest},
    )


def _card_of(named: Named, loaded: LabelSet, path: Path, flags: dict[str, Any], lifetime: timedelta) -> Card:
    log = run_log.read(path)
    releases, fingerprints = judged_by(log.records, path)
    about = JudgeOfCard(
        digest=named.digest,
        scorer=named.spec.name,
        model=named.model,
        votes=int((named.scorer.judging() or {}).get("votes", 1)),
        params=named.config.identity(),
        releases=releases,
        fingerprints=fingerprints,
    )
    return make_card(
        metric=named.metric,
        judge=about,
        labels=loaded,
        split=flags["split"],
        records=log.records,
        scale=scale_of(named.scorer, flags["threshold"]),
        # The day on which the measurement began: reading an old log again makes no verdict younger.
        now=datetime.fromisoformat(log.manifest.created),
        lifetime=lifetime,
        harness=harness(),
    )


@judge.command("show", cls=Command)
@click.argument("card", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def show(card: Path, as_json: bool) -> None:
    """Print a judge's card, and the digest that a gate pins.

    \b
    Examples:
      evals judge show judge-card.yaml
    """
    loaded = judge_card.load(card)
    if as_json:
        click.echo(msgspec.json.encode(loaded.values() | {"card_digest": loaded.digest()}))
        return
    judge_tables.print_card(loaded, datetime.now(UTC))
    click.echo(f"card: {card} {loaded.digest()}")


@judge.command("correct", cls=Command)
@click.argument("card", type=_FILE)
@click.argument("run", type=_FILE)
@click.option("--metric", required=True, help="The metric that the judge gave.")
@click.option("--labels", "label_file", type=_FILE, help="People's labels on the run's own answers (id and label).")
@click.option("--baseline", type=_FILE, help="Another run: also the difference.")
@click.option("--baseline-labels", type=_FILE, help="People's labels on the baseline's own answers.")
@click.option("--json", "as_json", is_flag=True, help="Print the estimates as JSON.")
def correct(
    card: Path,
    run: Path,
    metric: str,
    label_file: Path | None,
    baseline: Path | None,
    baseline_labels: Path | None,
    as_json: bool,
) -> None:
    """Print what a run's judge said, and what people would have said.

    Rogan-Gladen corrects with the card's error rates, PPI++ with labels on the run's own answers. A difference is
    corrected only with labels on the answers of both runs.

    \b
    Examples:
      evals judge correct judge-card.yaml runs/faq-2.jsonl --metric quality
      evals judge correct judge-card.yaml runs/faq-2.jsonl --metric quality --labels labels-2.jsonl
    """
    if baseline_labels is not None and baseline is None:
        raise click.UsageError("--baseline-labels belongs to --baseline")
    measured = judge_card.load(card)
    ours = _arm(measured, run, label_file, metric)
    lines = judge_correct.estimates(measured, ours, metric, alpha=_ALPHA)
    if baseline is not None:
        lines += judge_correct.differences(
            ours, _arm(measured, baseline, baseline_labels, metric), metric, alpha=_ALPHA
        )
    if measured.expired(datetime.now(UTC)):
        console(stderr=True).print(f"note: the card expired on {measured.expires:%Y-%m-%d}", markup=False)
    if as_json:
        click.echo(msgspec.json.encode(lines))
    else:
        console().print(judge_tables.estimate_table(lines, 1 - _ALPHA))


def _arm(card: Card, run: Path, label_file: Path | None, metric: str) -> Arm:
    evidence = gather(run_log.read(run))
    judge_correct.check(card, evidence, metric)
    known = labels.load(label_file, card.labels.label_values(), answers=False) if label_file else None
    return judge_correct.arm(evidence, known)


def _lifetime(text: str) -> timedelta:
    try:
        return span(text)
    except ValueError as error:
        raise InputError(f"--ttl: {error}") from error
