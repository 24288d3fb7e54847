"""The book of budgets of several gateways: Redis, or what speaks as it does (`pip install 'tollgate[redis]'`).

A counter is a hash (`s` spent, `c` corrected, `r` reserved, `u` their sum, `t` when it was loaded) and a sorted set of
its leases by their end, each with its amount. Scripts look at all counters of a request and take of all or of none. The
clock is Redis' own.

One task sends everything over one connection, in the order in which it was said and many at once. Settlements go in
numbered batches: one that may have been heard is said again under its number, and counts once. While Redis is away that
task alone asks whether it is back, and requests are told at once.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from gateway.policy.budgets import TAKEN, Charge, Claim, Outcome, Short, Standing
from gateway.settings.budgets import RedisConfig
from gateway.stores.budget_book import BookAway, OnSpent
from gateway.stores.budget_scripts import CORRECT, LOAD, RESERVE, SETTLE
from gateway.stores.redis_scripts import Command, RedisScripts

AT_ONCE = 128
"""Requests, and settlements, that go out together."""
LATE = 100_000
"""Settlements that may wait while Redis is away. More are let go: their leases end, and the ledger has their cost."""
BATCHES_S = 86_400
"""How long Redis knows the number of a gateway's last batch."""

log = logging.getLogger("tollgate")


class _Ask(msgspec.Struct, eq=False):
    lease: str
    claims: Sequence[Claim]
    milliseconds: int
    answer: asyncio.Future[Outcome]


class _Batch(msgspec.Struct, eq=False):
    number: int
    entries: list[tuple[str, Charge]]


class RedisBook:
    """One gateway's side of the book. Raises InputError when the package is not installed."""

    def __init__(self, config: RedisConfig, on_spent: OnSpent) -> None:
        self._redis = RedisScripts(config, "budgets", (RESERVE, SETTLE, LOAD, CORRECT))
        self._errors, self._client = self._redis.errors, self._redis.client
        self._prefix, self._on_spent, self._timeout = config.prefix, on_spent, config.timeout
        self._batches = f"{{{config.prefix}}}:batches:{secrets.token_hex(8)}"
        self._number = 0
        self._asks: deque[_Ask] = deque()
        self._late: deque[tuple[str, Charge]] = deque()
        self._sent: _Batch | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._closing = False

    def _keys(self, counter: str) -> list[str]:
        """All on one node of a cluster: what is in braces decides where a key lies."""
        name = f"{{{self._prefix}}}:budget:{counter}"
        return [name, f"{name}:leases"]

    async def reserve(self, lease: str, claims: Sequence[Claim], seconds: float) -> Outcome:
        """Take the claims: all, or none."""
        loop = asyncio.get_running_loop()
        if self._away:
            raise BookAway("Redis, which counts the budgets, is away")
        answer: asyncio.Future[Outcome] = loop.create_future()
        ask = _Ask(lease, claims, int(seconds * 1000), answer)
        self._asks.append(ask)
        self._awake()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None and answer.result().taken:
                self._release(ask)  # it was told at the moment in which nobody waited any more
            raise

    def settle(self, lease: str, charges: Sequence[Charge]) -> None:
        """Say later what it did cost."""
        self._late.extend((lease, charge) for charge in charges)
        if len(self._late) > LATE:
            log.error("%d settlements of budgets were let go: Redis is away for too long", len(self._late) - LATE)
            while len(self._late) > LATE:
                self._late.popleft()
        self._awake()

    def _awake(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        self._wake.set()

    async def _run(self) -> None:
        while not self._closing:
            await self._wake.wait()
            try:
                if self._away:
                    await self._redis.ping()
                await self._send()
            except self._errors as error:
                if not self._away:
                    log.error("Redis, which counts the budgets, is away: %s", _said(error))
                self._away = True
                self._refuse_all()
                await asyncio.sleep(self._redis.pause_s)
                continue
            if self._away:
                log.warning("Redis is back: budgets are counted again")
            self._away = False

    async def _send(self) -> None:
        """One round trip: what is settled, and who asks."""
        if self._sent is None and self._late:
            self._number += 1
            entries = [self._late.popleft() for _ in range(min(AT_ONCE, len(self._late)))]
            self._sent = _Batch(self._number, entries)
        asks = [self._asks.popleft() for _ in range(min(AT_ONCE, len(self._asks)))]
        batch = self._sent
        commands = [] if batch is None else [self._settlement(batch)]
        try:
            replies = await self._redis.run([*commands, *map(self._reservation, asks)])
        except self._errors as error:
            for ask in asks:
                self._unheard(ask, error)
            raise
        if batch is not None:
            self._sent = None
            self._tell(batch, replies.pop(0))
        for ask, reply in zip(asks, replies, strict=True):
            self._answer(ask, _outcome(reply))
        if not (self._asks or self._late):
            self._wake.clear()

    def _settlement(self, batch: _Batch) -> Command:
        keys: list[str] = [self._batches]
        arguments: list[str | int] = [batch.number, BATCHES_S]
        for lease, charge in batch.entries:
            keys += self._keys(charge.counter)
            arguments += (f"{lease}|{charge.held}", f"-{charge.held}", charge.cost)
        return SETTLE, keys, arguments

    def _reservation(self, ask: _Ask) -> Command:
        keys: list[str] = []
        arguments: list[str | int] = [ask.lease, ask.milliseconds]
        for claim in ask.claims:
            keys += self._keys(claim.counter)
            arguments += (claim.amount, -claim.amount, claim.limit, -claim.limit, int(claim.hard))
        return RESERVE, keys, arguments

    def _tell(self, batch: _Batch, told: Sequence[Sequence[bytes | None]]) -> None:
        for (_, charge), (spent, corrected) in zip(batch.entries, told, strict=False):
            if charge.cost and spent is not None and corrected is not None:
                after = int(spent) + int(corrected)
                self._on_spent(charge.counter, after - charge.cost, after)

    def _answer(self, ask: _Ask, outcome: Outcome) -> None:
        if not ask.answer.done():
            ask.answer.set_result(outcome)
        elif outcome.taken:  # nobody waits for it any more
            self._release(ask)

    def _release(self, ask: _Ask) -> None:
        self.settle(ask.lease, [Charge(claim.counter, claim.amount, 0) for claim in ask.claims])

    def _unheard(self, ask: _Ask, error: Exception) -> None:
        """Redis may have taken it all the same: it is given back, whether it was or not."""
        self._release(ask)
        if not ask.answer.done():
            ask.answer.set_exception(BookAway(f"Redis, which counts the budgets, is away: {error}"))

    def _refuse_all(self) -> None:
        while self._asks:
            ask = self._asks.popleft()
            if not ask.answer.done():
                ask.answer.set_exception(BookAway("Redis, which counts the budgets, is away"))

    async def load(self, counter: str, spent: int, at: float, keep_until: float) -> None:
        """Begin a counter."""
        until = "" if keep_until == float("inf") else str(int(keep_until))
        await self._call(LOAD, counter, spent, repr(at), until)

    async def correct(self, counter: str, corrected: int) -> None:
        """What the ledger adds."""
        row = await self._call(CORRECT, counter, corrected)
        if row:
            spent, before = int(row[0]), int(row[1])
            self._on_spent(counter, spent + before, spent + corrected)

    async def _call(self, script: str, counter: str, *arguments: int | str) -> Any:
        try:
            (reply,) = await self._redis.run([(script, self._keys(counter)[:1], list(arguments))])
            return reply
        except self._errors as error:
            raise BookAway(f"Redis, which counts the budgets, is away: {error}") from error

    async def standings(self, counters: Sequence[str]) -> list[tuple[Standing, float] | None]:
        """How counters stand. Leases that have run out are given back with the next reservation."""
        if not counters:
            return []
        try:
            rows = await self._redis.asked(lambda: self._read(counters))
        except self._errors as error:
            raise BookAway(f"Redis, which counts the budgets, is away: {error}") from error
        return [None if row[3] is None else (Standing(*map(int, row[:3])), float(row[3])) for row in rows]

    async def _read(self, counters: Sequence[str]) -> list[Any]:
        async with asyncio.timeout(2 * self._timeout), self._client.pipeline(transaction=False) as pipe:
            for counter in counters:
                pipe.hmget(self._keys(counter)[0], "s", "r", "c", "t")
            rows: list[Any] = await pipe.execute()
            return rows

    async def close(self) -> None:
        """Say what is settled, if Redis listens, and let go."""
        self._closing = True
        self._wake.set()
        if self._task is not None:  # not cancelled: a client that is cut in the middle of an answer may miss that
            await asyncio.wait([self._task])
        self._refuse_all()
        with suppress(*self._errors):
            while self._late or self._sent is not None:
                await self._send()
        with suppress(*self._errors):
            await self._redis.close()


def _said(error: Exception) -> str:
    return str(error) or "it does not answer in time"


def _outcome(reply: Sequence[Any]) -> Outcome:
    what, rows = reply[0], reply[1]
    if what == b"unknown":
        return Outcome(False, unknown=tuple(int(each) for each in rows))
    if not rows:
        return TAKEN
    short = tuple(Short(int(at), int(spent) + int(corrected), int(held)) for at, spent, corrected, held in rows)
    return Outcome(what == b"taken", short)
