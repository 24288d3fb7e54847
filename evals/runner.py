"""One run, top to bottom: send every sample, score every answer, write one record each.

    for each sample, epoch and arm that the log does not have yet:
        prepare -> ask (turn by turn, again while a failure may pass and retries are left) -> score -> record

A failure is data, not an exception: see `schema` for the closed set of outcomes. Answers of the system, good or bad,
are never asked for again: a second roll of the dice would raise the score. Only samples whose evidence is missing
(`harness_error`) are, when a run resumes; where there is an answer and a scorer could not judge it, the same answer is
judged again, and scores that are known stay as they are.

The two arms of a sample are asked one right after the other, in an order that changes from sample to sample: an engine
that drifts, warms up or is busy does so for both.
"""

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from evals.asking import Asker, Completes, Request
from evals.cache import NoCache
from evals.client import Result
from evals.dataset import Dataset
from evals.lines import Record
from evals.pacing import Pace, side_by_side
from evals.retrying import Retries
from evals.schema import Answer, Arm, Failure, Passage, Sample, Score, Unjudged, outcome_of
from evals.scorers.base import NoServices, Scorer, Services
from evals.spending import Forecast, Spend, amount
from gateway.contracts.errors import InputError

Job = tuple[Sample, int, Arm]
Prepare = Callable[[Sample], Awaitable[tuple[Sample, list[Passage] | None]]]
"""A sample as it is asked, and the passages put into it. Raises Unjudged where they cannot be had."""

HOPELESS = 10
"""So many samples that found nobody who serves them, and no answer at all: then it is not the samples."""
UNANIMOUS = 20
"""So many answers that nobody could judge, and none that anybody could: then it is the judge, and its tokens cost."""
_JUDGED_AGAIN = (
    "with the same judge, the same command judges those answers again; with one that had to change, take --fresh"
)
_NOBODY = frozenset({"unreachable", "timeout", "not_found"})
UNJUDGED = frozenset({"judge_failed", "not_measured", "scorer_crashed"})
"""Failures after which there is an answer all the same."""
_SCORER_ERRORS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Writes(Protocol):
    """What the runner needs of a log."""

    existing: tuple[Record, ...]

    def write(self, record: Record) -> None:
        """Append one record."""
        ...


@dataclass(slots=True)
class Doubts:
    """How many answers in a row got no verdict, as long as none had one. `judged`: one has, so it is not the judge."""

    judged: bool = False
    _count: int = 0
    _last: str = ""

    @property
    def enough(self) -> bool:
        """Whether to ask for no more."""
        return self._count >= UNANIMOUS

    def add(self, failure: Failure | None) -> None:
        """One more answer was judged, or could not be."""
        if failure is None:
            self.judged, self._count = True, 0
        elif not self.judged:
            self._count, self._last = self._count + 1, failure.message

    def check(self, advice: str = _JUDGED_AGAIN) -> None:
        """Raise InputError, with what to do, when there are enough."""
        if self.enough:
            raise InputError(f"the first {self._count} answers got no verdict; the last: {self._last}: {advice}")


@dataclass(slots=True)
class Run:
    """A run and everything it may touch. `clock` and `sleep` are in seconds, `rng` jitters the backoff.

    `forecast` counts the results of the log so far, and what they cost.
    """

    dataset: Dataset
    request: Request
    scorers: Mapping[str, Scorer]
    client: Completes
    log: Writes
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    rng: random.Random
    on_record: Callable[[Record], None] = field(default=lambda record: None)
    services: Services = field(default_factory=NoServices)
    prepare: Prepare | None = None
    spend: Spend = field(default_factory=lambda: Spend(None))
    forecast: Forecast = field(default_factory=Forecast)
    pace: Pace = field(init=False)
    _asker: Asker = field(init=False)
    _answered: int = 0
    _hopeless: int = 0
    _doubts: Doubts = field(default_factory=Doubts)
    _last: str = ""
    _unjudged: dict[tuple[str, int, Arm], Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pace = Pace(self.request.concurrency, clock=self.clock, sleep=self.sleep)
        retries = Retries(self.request.max_retries, self.rng)
        for record in self.log.existing:
            if record.outcome != "harness_error":
                self._count(record)
                self._answered += record.outcome == "scored"
                self._doubts.judged |= record.outcome == "scored"
            elif record.answer is not None and record.failure is not None and record.failure.kind in UNJUDGED:
                self._unjudged[record.id, record.epoch, record.arm] = record
        self._asker = Asker(
            self.request, self.client, self.pace, self.spend, retries, self.clock, self.sleep, NoCache()
        )

    def use(self, cache: NoCache) -> None:
        """Take answers from a cache and keep them there. Before `execute`."""
        self._asker.cache = cache

    async def execute(self) -> None:
        """Work until every sample has a record.

        Raises InputError when nobody serves the model at all (the engine is down, not wrong), when the judge has no
        verdict on any answer, and when the disk takes no more. Nothing else that a server does is a reason.
        """
        if self.request.deadline_s is not None:
            self._asker.ends_at = self.clock() + self.request.deadline_s
        todo = self.todo()
        await side_by_side(self.request.concurrency, lambda: self._work(todo))
        if self._hopeless >= HOPELESS:
            raise InputError(
                f"the first {self._hopeless} samples found nobody who serves them; the last: {self._last}: start what "
                "is down, or name a model and an address that are there, then run again with --fresh"
            )
        self._doubts.check()

    def todo(self) -> Iterator[Job]:
        """What has no record yet, or only one of missing evidence; the arms of a sample side by side."""
        done = {(r.id, r.epoch, r.arm) for r in self.log.existing if r.outcome != "harness_error"}
        samples, arms = self.dataset.samples[: self.request.limit], self.request.arms()
        turned = arms[::-1]
        return (
            (sample, epoch, arm)
            for epoch in range(self.request.epochs)
            for position, sample in enumerate(samples)
            for arm in (arms if (position + epoch) % 2 else turned)
            if (sample.id, epoch, arm) not in done
        )

    async def _work(self, todo: Iterator[Job]) -> None:
        for sample, epoch, arm in todo:
            if self._hopeless >= HOPELESS or self._doubts.enough:
                return
            before = self._unjudged.get((sample.id, epoch, arm))
            if before is None:
                result, attempts = await self._ask(sample, epoch, arm)
            else:
                result, attempts = Result(answer=before.answer), before.attempts
            scores, failure = await self._judge(sample, result, {} if before is None else before.scores)
            record = Record(
                id=sample.id,
                digest=self.dataset.digests[sample.id],
                outcome=outcome_of(failure.kind) if failure else "scored",
                epoch=epoch,
                arm=arm,
                cluster=sample.cluster,
                tags=sample.tags,
                scores=scores,
                failure=failure,
                answer=result.answer,
                attempts=attempts,
            )
            self._count(record)
            self._hope(result, failure)
            self.log.write(record)
            self.on_record(record)

    def _hope(self, result: Result, judged: Failure | None) -> None:
        if judged is None or judged.kind == "judge_failed":
            self._doubts.add(judged)
        failure = result.failure
        if failure is None or not (failure.kind in _NOBODY or failure.message.startswith("503")):
            self._answered, self._hopeless = self._answered + 1, 0
        elif not self._answered:
            self._hopeless, self._last = self._hopeless + 1, failure.message

    def _count(self, record: Record) -> None:
        self.forecast.add(amount(record.answer.cost) if record.answer else None)

    async def _ask(self, sample: Sample, epoch: int, arm: Arm) -> tuple[Result, int]:
        if self.prepare is None:
            return await self._asker.ask(sample, epoch, arm)
        try:
            asked, passages = await self.prepare(sample)
        except Unjudged as error:
            return Result(failure=Failure(error.kind, str(error))), 0
        result, attempts = await self._asker.ask(asked, epoch, arm)
        if result.answer is not None and passages is not None:
            result = msgspec.structs.replace(result, answer=msgspec.structs.replace(result.answer, passages=passages))
        return result, attempts

    async def _judge(
        self, sample: Sample, result: Result, known: Mapping[str, Score]
    ) -> tuple[dict[str, Score], Failure | None]:
        """Every score that can be had, and the first reason why one cannot."""
        if result.failure is not None or result.answer is None:
            return {}, result.failure or Failure("unreachable", "the client gave neither answer nor failure")
        return await judged(sample, result.answer, self.scorers, self.services, known)


async def judged(
    sample: Sample, answer: Answer, scorers: Mapping[str, Scorer], services: Services, known: Mapping[str, Score]
) -> tuple[dict[str, Score], Failure | None]:
    """Every score of an answer that can be had, those that are `known` as they are; the first reason why one cannot."""
    scores, failure = dict(known), None
    for metric, scorer in scorers.items():
        if metric in known:
            continue
        try:
            scores[metric] = _within_bounds(await scorer.score(sample, answer, services))
        except Unjudged as error:
            failure = failure or Failure(error.kind, f"{metric}: {error}")
        except _SCORER_ERRORS as error:
            failure = failure or Failure("scorer_crashed", f"{metric}: {type(error).__name__}: {error}")
    return scores, failure


def _within_bounds(score: Score) -> Score:
    if not 0.0 <= score.value <= 1.0:  # not even NaN is
        raise ValueError(f"expected a score in [0, 1], found {score.value!r}")
    return score


def total(dataset: Dataset, request: Request) -> int:
    """How many records a complete run of this request has."""
    return len(dataset.samples[: request.limit]) * request.epochs * len(request.arms())
