"""One sample to its answer: turn by turn, each turn from the cache or by as many attempts as it takes.

    for each turn: cached? -> else until it is final: wait for a place and for money -> send -> wait, or be done

Every request of a run goes through here, so that pace, cap and deadline hold for all of them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from evals.cache import NoCache
from evals.client import Result
from evals.pacing import Pace
from evals.retrying import LONGEST_WAIT_S, Retries
from evals.schema import Answer, Arm, Failure, Sample
from evals.spending import Spend, amount

Messages = list[dict[str, Any]]
_encoder = msgspec.json.Encoder()


class Completes(Protocol):
    """What a run needs of a client."""

    async def complete(self, body: bytes, timeout_s: float) -> Result:
        """One attempt. Never raises for what a server does."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is the same for all samples of a run.

    `model` is the candidate; with a `baseline` every sample is asked of both. `deadline_s` counts from the start of the
    run; None: no deadline. `concurrency` is the most that is under way at a time.
    """

    model: str
    params: Mapping[str, Any]
    system: str | None = None
    epochs: int = 1
    concurrency: int = 32
    max_retries: int = 4
    timeout_s: float = 60.0
    deadline_s: float | None = None
    limit: int | None = None
    baseline: str | None = None

    def arms(self) -> tuple[Arm, ...]:
        """The arms of the run."""
        return ("candidate",) if self.baseline is None else ("candidate", "baseline")

    def asked(self, arm: Arm) -> str:
        """The model that an arm asks for."""
        return self.baseline if arm == "baseline" and self.baseline is not None else self.model

    def messages(self, sample: Sample) -> Messages:
        """The first turn: what a sample asks, after the system message of the suite."""
        text = sample.input
        messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
        if self.system is not None and messages[0].get("role") not in ("system", "developer"):
            messages = [{"role": "system", "content": self.system}, *messages]
        return messages

    def body(
        self, messages: Messages, epoch: int = 0, arm: Arm = "candidate", tools: Sequence[dict[str, Any]] = ()
    ) -> bytes:
        """The JSON to send. A seed is moved by the epoch: repeats of one seed would be the same answer again."""
        body = {"model": self.asked(arm), "messages": messages, **self.params}
        if tools:
            body["tools"] = tools
        if epoch and isinstance(body.get("seed"), int):
            body["seed"] += epoch
        return _encoder.encode(body)


@dataclass(slots=True)
class Asker:
    """Asks. `ends_at` is the deadline on `clock`; `clock` and `sleep` are in seconds."""

    request: Request
    client: Completes
    pace: Pace
    spend: Spend
    retries: Retries
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    cache: NoCache
    ends_at: float = float("inf")

    async def ask(self, sample: Sample, epoch: int, arm: Arm) -> tuple[Result, int]:
        """The final result, and attempts as a `Record` counts them. The first turn that fails ends a conversation."""
        messages = self.request.messages(sample)
        result, attempts = await self._turn(messages, sample, epoch, arm)
        if not sample.follow_ups:
            return result, attempts
        turns: list[Answer] = []
        for follow_up in sample.follow_ups:
            if result.failure is not None or result.answer is None:
                break
            turns.append(result.answer)
            messages = [*messages, _said(result.answer), {"role": "user", "content": follow_up}]
            result, tried = await self._turn(messages, sample, epoch, arm)
            attempts += max(0, tried - 1)
        return msgspec.structs.replace(result, answer=joined(turns, result.answer)), attempts

    async def _turn(self, messages: Messages, sample: Sample, epoch: int, arm: Arm) -> tuple[Result, int]:
        body, attempts = self.request.body(messages, epoch, arm, sample.tools), 0
        kept = self.cache.get(arm, epoch, body)
        if kept is not None:
            return Result(answer=kept), 0
        last: Result | None = None
        while (result := await self._attempt(body)) is not None:
            if result.failure is None or result.failure is self.spend.refusal:
                break
            attempts += 1
            last, wait = result, self.retries.wait(result, attempts)
            if wait is None:
                return result, attempts
            if wait >= self.ends_at - self.clock():
                return _too_late(last), attempts
            await self.sleep(wait)
        if result is None:
            return _too_late(last), attempts
        if result.failure is None:
            self.cache.put(arm, epoch, body, result)
            return result, attempts + 1
        return result, attempts

    async def _attempt(self, body: bytes) -> Result | None:
        """One request, or the failure `over_budget`; None when the deadline comes first."""
        pace, spend = self.pace, self.spend
        place = await pace.enter(self.ends_at)
        if place is None:
            return None
        result: Result | None = None
        try:
            if spend.cap is not None and (refusal := await spend.reserve()) is not None:
                return Result(failure=refusal)
            try:
                left = self.ends_at - self.clock()
                if left > 0:
                    result = await self.client.complete(body, min(self.request.timeout_s, left))
            finally:
                spend.settle(result)
        finally:
            if result is None:
                pace.leave(place)
            elif result.failure is None:
                pace.leave(place, well=True)
            else:
                patience = result.retry_after or 0.0
                closed = patience if patience <= LONGEST_WAIT_S else 0.0
                pace.leave(place, overloaded=_overloaded(result), retry_after=closed)
        return result


def _too_late(last: Result | None) -> Result:
    """The result when the deadline has come: before the first attempt, or after the last."""
    message = "the run's deadline passed before this sample was sent"
    if last is not None:
        message = (
            f"the run's deadline passed between attempts; the last: {last.failure.message if last.failure else ''}"
        )
    return Result(failure=Failure("deadline", message))


def _overloaded(result: Result) -> bool:
    """Whether a failure tells of too many requests: 429, 503, a timeout. A refusal's message begins with its status."""
    failure = result.failure
    if failure is None or not result.retryable:
        return False
    return failure.kind in ("limited", "timeout") or failure.message.startswith("503")


def _said(answer: Answer) -> dict[str, Any]:
    """An answer as the assistant's turn. Nobody runs its tool calls here, so that they stand there as text."""
    text = answer.text
    if not text.strip():
        text = "\n".join(
            _encoder.encode({"name": c.name, "arguments": c.arguments}).decode() for c in answer.tool_calls
        )
    return {"role": "assistant", "content": text}


def joined(turns: Sequence[Answer], last: Answer | None) -> Answer | None:
    """A conversation as one answer: the last turn, with the texts before it and the sums of all.

    A sum with an unknown part is unknown; a last turn that was refused has no part in it. Turns of two releases name
    none, so that the run shows as mixed. With one turn from the cache the conversation is: its latency and cost say
    nothing.
    """
    if not turns:
        return last
    ends = last if last is not None else Answer()
    refused = ends.cost is None and ends.finish_reason is None
    whole = list(turns) if refused else [*turns, ends]
    cached = any(turn.cached for turn in whole)
    costs = [amount(turn.cost) for turn in whole]
    known = [cost for cost in costs if cost is not None]
    return msgspec.structs.replace(
        ends,
        turns=[turn.text for turn in turns],
        cached=cached,
        input_tokens=_sum([turn.input_tokens for turn in whole]),
        output_tokens=_sum([turn.output_tokens for turn in whole]),
        cached_tokens=_sum([turn.cached_tokens for turn in whole]),
        latency_s=0.0 if cached else round(sum(turn.latency_s for turn in whole), 6),
        cost=f"{sum(known, Decimal(0)):f}" if len(known) == len(whole) and not cached else None,
        release=_same([turn.release for turn in whole]),
        release_digest=_same([turn.release_digest for turn in whole]),
    )


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _same(names: list[str | None]) -> str | None:
    return names[0] if len(set(names)) == 1 else None
