"""How many requests are under way at a time: as many as the system takes, and no more than was asked for.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it (RFC 5681): the limit starts low and
doubles in each round until the first sign of overload. Overload halves it, once for all the requests that were under
way together: they tell of one and the same moment. Then it grows by a fixed step a round, and creeps where it was when
the overload came, as CUBIC does (RFC 9438): each overload costs a wait. A Retry-After closes the gate for everybody:
one request that was told to wait speaks for the rest.

Nothing here is random, and the clock is an argument: the same answers at the same times give the same limits.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

START = 8
"""Requests under way at a time in the first round."""
ROUNDS = 16
"""After an overload the limit climbs from nothing to the most in about so many rounds; creeping, by one in so many."""
NEAR = 0.15
"""How near the last overload, as a part of its limit, the limit creeps."""


async def side_by_side(workers: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """So many workers, until all are done. What the first one raises ends the others, and is raised as it is.

    A task group wraps it: an expected error (a full disk) would be a traceback, for who catches errors knows no groups.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


class Pace:
    """A gate that lets `limit` requests through at a time, `most` at most. `clock` and `sleep` are in seconds."""

    def __init__(self, most: int, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]) -> None:
        self.most = most
        self._limit = float(min(START, most))
        self._step = max(1.0, most / ROUNDS)
        self._starting = True
        self._overload_at = float("inf")
        self._round = 0
        self._opens_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock, self._sleep = clock, sleep
        self.under_way = 0

    @property
    def limit(self) -> int:
        """How many requests may be under way now; at least 1."""
        return int(self._limit)

    async def enter(self, until: float) -> int | None:
        """Wait for a place. Gives a ticket for `leave`, or None when there is none before `until`, on the clock."""
        while True:
            now = self._clock()
            closed = self._opens_at - now
            if now >= until or closed >= until - now:
                self._wake()  # whoever was woken for nothing hands its place on
                return None
            if closed > 0:
                await self._sleep(closed)
            elif self.under_way < self.limit:
                self.under_way += 1
                return self._round
            else:
                place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(place)
                await place

    def leave(self, ticket: int, *, overloaded: bool = False, well: bool = False, retry_after: float = 0.0) -> None:
        """Give a place back, and say how it went: `well`, `overloaded`, or neither (it says nothing of the load)."""
        used = 2 * self.under_way > self.limit  # a limit that nobody comes near says nothing (RFC 7661)
        self.under_way -= 1
        if overloaded:
            if ticket == self._round:
                self._round += 1
                self._starting = False
                self._overload_at = self._limit
                self._limit = max(1.0, self._limit / 2)
        elif well and used:
            self._limit = min(float(self.most), self._limit + self._growth())
        if retry_after > 0:
            self._opens_at = max(self._opens_at, self._clock() + retry_after)
        self._wake()

    def _growth(self) -> float:
        """What one more answer that went well adds; in a round there are as many as the limit."""
        if self._starting:
            return 1.0
        near = abs(self._limit - self._overload_at) <= NEAR * self._overload_at
        return (1.0 / ROUNDS if near else self._step) / self._limit

    def _wake(self) -> None:
        free = self.limit - self.under_way
        while free > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
