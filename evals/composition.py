"""Where the parts of a run meet: suite, data set, client, services, scorers, log. Everything but the command line.

    suite_from -> execute: equipment -> manifest_of -> run_log.Writer -> runner

The manifest comes after the equipment, for an index and an embedding model are part of what a score depends on.
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from evals import dataset, judges, provenance, run_log, scorers
from evals.asking import Request
from evals.cache import Cache, Identity, identity
from evals.client import Client
from evals.config import ScorerSpec, SuiteConfig, load_suite
from evals.equipment import Equipment, Outside, equipped
from evals.lines import Manifest, Record
from evals.runner import Run, total
from evals.schema import Answer, Arm
from evals.services import Bill
from evals.spending import Spend, amount
from gateway.contracts import canonical
from gateway.contracts.errors import InputError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_REACH_TIMEOUT_S = 10.0
JITTER_SEED = 0
_HELLO = [{"role": "user", "content": "hello"}]


Watch = Callable[[Run, int], AbstractContextManager[Callable[[Record], None]]]
"""Given a run and how many records are to come: what hears of each of them, for as long as the run lasts."""


def harness() -> str:
    """Name and version of this harness, for manifests and verdicts."""
    return f"tollgate-evals {metadata.version('tollgate')}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests, how many, and what they may cost (in the currency of the gateway's prices).

    `cache` is a folder of answers, None for none.
    """

    base_url: str
    model: str
    api_key: str | None = None
    limit: int | None = None
    deadline_s: float | None = None
    baseline: str | None = None
    max_cost: Decimal | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A suite with its data, the folder from which its paths count, and where it is run."""

    suite: SuiteConfig
    data: dataset.Dataset
    folder: Path
    target: Target
    created: datetime


def suite_from(suite: Path | None, flags: dict[str, Any]) -> tuple[SuiteConfig, dataset.Dataset]:
    """The suite of a file, or one made of flags, with its data set, or the split of it. Raises InputError."""
    if suite is not None:
        config = load_suite(suite, scorers.build)
        data = dataset.load_split(suite.parent / config.dataset, config.split)
    else:
        path = Path(flags["dataset"])
        data = dataset.load(path)
        params = {"temperature": flags["temperature"], "max_tokens": flags["max_tokens"]}
        specs = tuple(ScorerSpec(name=name) for name in dict.fromkeys(flags["scorer"] or ("exact",)))
        config = SuiteConfig(
            suite=_safe(path.stem),
            dataset=str(path),
            params={key: value for key, value in params.items() if value is not None},
            scorers=specs,
        )
        _check_scorers(specs)
    if config.dataset_sha256 not in (None, data.digest):
        raise InputError(f"{str(data.path)!r} is {data.digest}, and the suite says {config.dataset_sha256}: other data")
    if lacking := scorers.unfit(scorers.build_all(config.scorers), data.samples):
        raise InputError(f"{str(data.path)!r}: {'; '.join(lacking)}: nothing was sent")
    changed = {key: flags[key] for key in ("concurrency", "epochs") if flags[key] is not None}
    return SuiteConfig.model_validate(config.model_dump(by_alias=True, exclude_none=True) | changed), data


def _check_scorers(specs: tuple[ScorerSpec, ...]) -> None:
    for spec in specs:
        try:
            scorers.build(spec)
        except ValueError as error:
            raise InputError(f"--scorer: {error}; options need a suite file") from error


def _safe(text: str) -> str:
    return _UNSAFE.sub("-", text).strip("-._")[:64] or "suite"


def manifest_of(plan: Plan, equipment: Mapping[str, Any] | None = None) -> Manifest:
    """The first line of the run's log; `equipment` is `Equipment.identity`.

    Takes a moment: it asks git for the revision of the data set's folder. Raises InputError for a judge that is none.
    """
    suite, data, target = plan.suite, plan.data, plan.target
    tree = provenance.revision(data.path.resolve().parent)
    seed = suite.params.get("seed")
    return Manifest(
        suite=suite.suite,
        suite_digest=suite.digest(data.digest, equipment),
        dataset=data.path.name,
        dataset_sha256=data.digest,
        samples=len(data.samples),
        epochs=suite.epochs,
        model=target.model,
        params=suite.params,
        system=suite.system,
        scorers=suite.scorer_dicts(),
        limit=target.limit if target.limit is not None and target.limit < len(data.samples) else None,
        base_url=target.base_url,
        harness=harness(),
        created=plan.created.isoformat(timespec="seconds"),
        baseline=target.baseline,
        split=suite.split,
        scorer_digests=scorer_digests(suite),
        judges=judges.digests(suite),
        packages=provenance.packages(),
        seeds={"jitter": JITTER_SEED} | ({"sampling": seed} if isinstance(seed, int) else {}),
        concurrency=suite.concurrency,
        platform=provenance.machine(),
        git_revision=tree.commit,
        git_dirty=tree.dirty,
    )


def scorer_digests(suite: SuiteConfig) -> dict[str, str]:
    """sha256 by metric over a scorer's name, its options with their defaults, and what else it depends on."""
    return {
        spec.metric: canonical.digest([spec.name, scorer.model_dump(mode="json"), scorer.identity()])
        for spec, scorer in zip(suite.scorers, scorers.build_all(suite.scorers).values(), strict=True)
    }


def request_of(suite: SuiteConfig, target: Target) -> Request:
    """What is the same for all samples."""
    return Request(
        model=target.model,
        params=suite.params,
        system=suite.system,
        epochs=suite.epochs,
        concurrency=suite.concurrency,
        max_retries=suite.max_retries,
        timeout_s=suite.timeout_s,
        deadline_s=target.deadline_s,
        limit=target.limit,
        baseline=target.baseline,
    )


def log_path(out: Path | None, suite: str, model: str, fresh: bool) -> Path:
    """Where the log goes; with `fresh`, a name that is still free. Nothing is ever overwritten."""
    return unused(out or Path("runs") / f"{suite}-{_safe(model)}.jsonl", fresh)


def unused(path: Path, fresh: bool) -> Path:
    """The path; with `fresh`, where it is taken, the next name beside it that is not."""
    number, free = 2, path
    while fresh and free.exists():
        free, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return free


def outside_of(target: Target, say: Callable[[str], None]) -> Outside:
    """What a run has around it: the real clock, the environment, and its deadline, which counts from now."""
    clock = time.monotonic
    rng = random.Random(JITTER_SEED)  # noqa: S311 - jitter, no secret
    ends_at = clock() + target.deadline_s if target.deadline_s is not None else float("inf")
    return Outside(target.base_url, target.api_key, os.environ, clock, asyncio.sleep, rng, say, ends_at)


async def execute(plan: Plan, path: Path, say: Callable[[str], None], progress: Watch) -> None:
    """Run what the log does not have yet, then seal it. Raises InputError for what is missing, or another run's log."""
    outside = outside_of(plan.target, say)
    async with equipped(plan.suite, plan.folder, outside) as equipment:
        with run_log.Writer(path, manifest_of(plan, equipment.identity)) as writer:
            await _run(plan, equipment, writer, outside, progress)
            writer.seal()


async def _run(plan: Plan, equipment: Equipment, writer: run_log.Writer, outside: Outside, progress: Watch) -> None:
    suite, target, say = plan.suite, plan.target, outside.say
    request, spend = request_of(suite, target), spend_of(target.max_cost, writer.existing)
    client = Client(target.base_url, target.api_key, connections=suite.concurrency, clock=time.perf_counter)
    run = Run(
        plan.data,
        request,
        scorers.build_all(suite.scorers),
        client,
        writer,
        outside.clock,
        outside.sleep,
        outside.rng,
        services=equipment.services,
        prepare=equipment.prepare if suite.retrieval or any(each.contexts for each in plan.data.samples) else None,
        spend=spend,
    )
    left = sum(1 for _ in run.todo())
    if writer.existing:
        say(f"resuming {str(writer.path)!r}: {left} of {total(plan.data, request)} results left (--fresh: a new file)")
    if not left:
        return
    bill = equipment.bill
    if bill is not None:
        bill.paid = spend.paid
    async with client:
        await client.reach(_REACH_TIMEOUT_S)
        if target.cache is not None:
            run.use(Cache(target.cache, await _who_answers(client, request), say))
        with progress(run, left) as run.on_record:
            await run.execute()
    if spend.refusal is not None:
        say(f"stopped: {spend.refusal.message}")
    if bill is not None:
        say(judged(bill))


def judged(bill: Bill) -> str:
    """What judges did and cost, in a line."""
    tokens = f"{bill.input_tokens} tokens in, {bill.output_tokens} out"
    return f"judges: {bill.calls} questions, {bill.failed} failed; {tokens}; cost: {bill.money()}"


def spend_of(cap: Decimal | None, existing: Iterable[Record]) -> Spend:
    """A cap holds for the whole log: what earlier attempts at this run cost is spent.

    An answer that was judged again stands in the log twice, and was paid for once.
    """
    answers: dict[tuple[str, int, Arm], list[Answer]] = {}
    for record in existing:
        paid = answers.setdefault((record.id, record.epoch, record.arm), [])
        if record.answer is not None and record.answer not in paid:
            paid.append(record.answer)
    costs = [amount(answer.cost) for paid in answers.values() for answer in paid]
    known = [cost for cost in costs if cost is not None]
    return Spend(cap, already=sum(known, Decimal(0)), largest=max(known, default=None))


async def _who_answers(client: Client, request: Request) -> dict[Arm, Identity | None]:
    """Ask each arm one token, to see the release and the engine behind it."""
    found: dict[Arm, Identity | None] = {}
    for arm in request.arms():
        first = msgspec.json.encode({"model": request.asked(arm), "messages": _HELLO, "max_tokens": 1})
        found[arm] = identity((await client.complete(first, request.timeout_s)).answer)
    return found
