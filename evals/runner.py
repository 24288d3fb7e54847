"""One run, top to bottom: send every sample, score every answer, write one record each.

    for each sample and epoch that the log does not have yet:
        call (again, while the failure may pass and retries are left) -> score -> record

A failure is data, not an exception: see `schema` for the closed set of outcomes. What is retried is decided by the
class of the error (no connection, timeouts, 429, 5xx), with exponential backoff, full jitter and the server's
Retry-After; any other 4xx never is. Answers of the system, good or bad, are never asked for again: a second roll of the
dice would raise the score. Only samples whose evidence is missing (`harness_error`) are, when a run resumes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from evals.client import Result
from evals.dataset import Dataset
from evals.lines import Record
from evals.schema import Failure, Sample, Score, Unjudged, outcome_of
from evals.scorers.base import NoServices, Scorer, Services

BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
LONGEST_WAIT_S = 120.0
"""A server that asks for more patience than this (a budget that resets tomorrow) gets no further attempt."""

_SCORER_ERRORS = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Completes(Protocol):
    """What the runner needs of a client."""

    async def complete(self, body: bytes, timeout_s: float) -> Result:
        """One attempt. Never raises for what a server does."""
        ...


class Writes(Protocol):
    """What the runner needs of a log."""

    existing: tuple[Record, ...]

    def write(self, record: Record) -> None:
        """Append one record."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is the same for all samples of a run. `deadline_s` counts from the start of the run; None: no deadline."""

    model: str
    params: Mapping[str, Any]
    system: str | None = None
    epochs: int = 1
    concurrency: int = 32
    max_retries: int = 4
    timeout_s: float = 60.0
    deadline_s: float | None = None
    limit: int | None = None

    def body(self, sample: Sample, epoch: int) -> bytes:
        """The JSON to send. A seed is moved by the epoch: repeats of one seed would be the same answer again."""
        text = sample.input
        messages: list[dict[str, Any]] = [{"role": "user", "content": text}] if isinstance(text, str) else list(text)
        if self.system is not None and messages[0].get("role") not in ("system", "developer"):
            messages.insert(0, {"role": "system", "content": self.system})
        body = {"model": self.model, "messages": messages, **self.params}
        if epoch and isinstance(body.get("seed"), int):
            body["seed"] += epoch
        return msgspec.json.encode(body)


@dataclass(slots=True)
class Run:
    """A run and everything it may touch. `clock` and `sleep` are in seconds, `rng` jitters the backoff."""

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
    _ends_at: float = float("inf")

    async def execute(self) -> None:
        """Work until every sample has a record. Raises only for defects, never for what a server does."""
        if self.request.deadline_s is not None:
            self._ends_at = self.clock() + self.request.deadline_s
        todo = self.todo()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.request.concurrency):
                group.create_task(self._work(todo))

    def todo(self) -> Iterator[tuple[Sample, int]]:
        """The samples and epochs that have no record yet, or only one of missing evidence."""
        done = {(r.id, r.epoch) for r in self.log.existing if r.outcome != "harness_error"}
        samples = self.dataset.samples[: self.request.limit]
        return ((s, e) for e in range(self.request.epochs) for s in samples if (s.id, e) not in done)

    async def _work(self, todo: Iterator[tuple[Sample, int]]) -> None:
        for sample, epoch in todo:
            result, attempts = await self._call(sample, epoch)
            scores, failure = await self._judge(sample, result)
            record = Record(
                id=sample.id,
                digest=self.dataset.digests[sample.id],
                outcome=outcome_of(failure.kind) if failure else "scored",
                epoch=epoch,
                cluster=sample.cluster,
                tags=sample.tags,
                scores=scores,
                failure=failure,
                answer=result.answer,
                attempts=attempts,
            )
            self.log.write(record)
            self.on_record(record)

    async def _call(self, sample: Sample, epoch: int) -> tuple[Result, int]:
        """The final result and the number of attempts made (0 when the deadline had passed before the first)."""
        body, attempts = self.request.body(sample, epoch), 0
        result = Result(failure=Failure("deadline", "the run's deadline passed before this sample was sent"))
        while (left := self._ends_at - self.clock()) > 0:
            attempts += 1
            result = await self.client.complete(body, min(self.request.timeout_s, left))
            wait = self._wait(result, attempts)
            if wait is None:
                return result, attempts
            if wait >= self._ends_at - self.clock():
                break
            await self.sleep(wait)
        if attempts:
            last = result.failure.message if result.failure else ""
            result = Result(
                failure=Failure("deadline", f"the run's deadline passed between attempts; the last: {last}")
            )
        return result, attempts

    def _wait(self, result: Result, attempts: int) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        if not result.retryable or attempts > self.request.max_retries:
            return None
        longest = min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** (attempts - 1))
        wait = max(self.rng.uniform(0.0, longest), result.retry_after or 0.0)
        return wait if wait <= LONGEST_WAIT_S else None

    async def _judge(self, sample: Sample, result: Result) -> tuple[dict[str, Score], Failure | None]:
        if result.failure is not None or result.answer is None:
            return {}, result.failure or Failure("unreachable", "the client gave neither answer nor failure")
        scores: dict[str, Score] = {}
        for metric, scorer in self.scorers.items():
            try:
                scores[metric] = _within_bounds(await scorer.score(sample, result.answer, self.services))
            except Unjudged as error:
                return {}, Failure(error.kind, f"{metric}: {error}")
            except _SCORER_ERRORS as error:
                return {}, Failure("scorer_crashed", f"{metric}: {type(error).__name__}: {error}")
        return scores, None


def _within_bounds(score: Score) -> Score:
    if not 0.0 <= score.value <= 1.0:  # not even NaN is
        raise ValueError(f"expected a score in [0, 1], found {score.value!r}")
    return score


def total(dataset: Dataset, request: Request) -> int:
    """How many records a complete run of this request has."""
    return len(dataset.samples[: request.limit]) * request.epochs
