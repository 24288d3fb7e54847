"""Asking again: what is retried, how long is waited, and when it ends. One policy for the system and for its judges.

What is retried is decided by the class of the error (no connection, timeouts, 429, 5xx), with exponential backoff, full
jitter and the server's Retry-After; any other 4xx never is. Answers, good or bad, are never asked for again: a second
roll of the dice would raise the score.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from evals.client import Result
from evals.schema import Failure

BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
LONGEST_WAIT_S = 120.0
"""A server that asks for more patience than this (a budget that resets tomorrow) gets no further attempt."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is repeated, at most. `rng` jitters the backoff."""

    max_retries: int
    rng: random.Random

    def wait(self, result: Result, attempts: int) -> float | None:
        """Seconds until the next attempt after so many; None when there is none."""
        if not result.retryable or attempts > self.max_retries:
            return None
        longest = min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** (attempts - 1))
        seconds = max(self.rng.uniform(0.0, longest), result.retry_after or 0.0)
        return seconds if seconds <= LONGEST_WAIT_S else None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call may take: retries, seconds for each attempt, and the time by `clock` when everything ends."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    rng: random.Random
    max_retries: int
    timeout_s: float
    ends_at: float = float("inf")

    async def ask(self, send: Callable[[float], Awaitable[Result]], what: str = "sample") -> tuple[Result, int]:
        """The final result and the number of attempts made (0 when the time was over before the first).

        `send` is one attempt, given its seconds; `what` is sent, for the message.
        """
        attempts, retries = 0, Retries(self.max_retries, self.rng)
        result = Result(failure=Failure("deadline", f"the run's deadline passed before this {what} was sent"))
        while (left := self.ends_at - self.clock()) > 0:
            attempts += 1
            result = await send(min(self.timeout_s, left))
            seconds = retries.wait(result, attempts)
            if seconds is None:
                return result, attempts
            if seconds >= self.ends_at - self.clock():
                break
            await self.sleep(seconds)
        if attempts:
            last = result.failure.message if result.failure else ""
            result = Result(
                failure=Failure("deadline", f"the run's deadline passed between attempts; the last: {last}")
            )
        return result, attempts
