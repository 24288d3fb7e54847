"""Background loops: fresh state, and settled rows on their way to the database."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.contracts.errors import InputError, LedgerFull
from gateway.contracts.troubles import told
from gateway.control_plane.state import State
from gateway.logs import DEFECTS
from gateway.stores import retention
from gateway.stores.ledger import Ledger
from gateway.stores.spool import Spool, decode
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

LOOK_S = 0.25
"""Between two looks at what is served: a revoked key, a promotion and a new verdict count after this, and after what a
look takes, twice where the one that ran had just missed it."""
REGISTER_S = 0.5
DRAIN_S = 0.2
MANY_ROWS = 500
REST_S = 0.8
"""After a drain of many rows. Each has costs that do not depend on how many: the transaction and its commit, and some
requests that wait meanwhile. A busy gateway drains once a second, and fewer than one request in a hundred meets it."""
CLOSE_S = 60.0
"""Between two looks for hours whose books are to be closed."""
FOLD_S = 86_400.0
"""Old rows go once a day."""
LAST_S = 5.0
"""How long a process that ends waits for the database."""

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Begins what goes on until it is cancelled."""

log = logging.getLogger("tollgate")


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` again and again, with a pause between. A failure is logged once, until it works again."""
    failing = False
    while True:
        failing = not await attempt(work, quiet=failing)
        await asyncio.sleep(seconds)


async def paced(seconds: Callable[[], float], work: Callable[[], Awaitable[None]]) -> None:
    """As `every`, but a round begins every so many `seconds()`, though those before it may still wait for somebody."""
    under_way, failing = set[asyncio.Task[bool]](), False
    try:
        while True:
            under_way.add(asyncio.create_task(attempt(work, quiet=failing)))
            await asyncio.sleep(seconds())
            if over := {task for task in under_way if task.done()}:
                under_way -= over
                failing = not all(task.result() for task in over)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def attempt(work: Callable[[], Awaitable[None]], *, quiet: bool = False) -> bool:
    """Run `work` once. False when a database or a file was away, or when the gateway has a defect.

    A defect is told with its place, and the loop goes on: ended without a word it would take with it what it works for,
    such as every row that waits for the database.
    """
    try:
        await work()
    except (SQLAlchemyError, InputError, LedgerFull, OSError) as error:
        if not quiet:
            log.error("background work failed and is tried again; nothing is lost: %s", told(error))
        return False
    except DEFECTS:
        if not quiet:
            log.exception("a defect of the gateway ended a round of background work, which is tried again")
        return False
    return True


async def last(*works: Callable[[], Awaitable[None]]) -> None:
    """Run one after the other once more at the end, for `LAST_S` at most: what they do not get done others do later."""
    try:
        async with asyncio.timeout(LAST_S):
            for work in works:
                await attempt(work)
    except TimeoutError:
        log.warning("the database was not waited for any longer than %g s; nothing is lost", LAST_S)


async def refresh(state: State) -> None:
    """Look at what is served, in a thread."""
    await asyncio.to_thread(state.refresh)


async def look(state: State, telemetry: Telemetry) -> None:
    """One round of the state's loop, counted once it is through: requests are decided by what it found."""
    await refresh(state)
    telemetry.looks.inc()


async def drain(spool: Spool, ledger: Ledger, telemetry: Telemetry, replicas: Sequence[Upstream]) -> None:
    """Store what was settled. Rows that the database does not take stay in the spool."""
    telemetry.open.set(spool.open_count)
    in_flight = Counter[str]()
    for replica in replicas:
        # One that a reload replaced still ends its requests under the name of its successor.
        in_flight[replica.name] += replica.in_flight
        telemetry.in_flight.labels(replica.name).set(in_flight[replica.name])
        telemetry.breaker.labels(replica.name).set(not replica.breaker.closed)
    telemetry.ledger_lag.set(spool.lag)
    telemetry.unspooled.inc(spool.unspooled)
    spool.unspooled = 0
    if not telemetry.hand_over() and not spool.lag:
        return
    stored = False
    try:
        await asyncio.to_thread(_store, ledger, spool.take(), telemetry)
        stored = True
    finally:
        if stored:
            spool.stored()
        else:
            spool.keep()


async def rounds(drain: Callable[[], Awaitable[None]], spool: Spool) -> None:
    """One round of the ledger's loop, and its rest."""
    rows = spool.lag
    await drain()
    if rows >= MANY_ROWS:
        await asyncio.sleep(REST_S)


def _store(ledger: Ledger, lines: Iterator[bytes], telemetry: Telemetry) -> None:
    telemetry.count()
    ledger.insert(map(decode, lines))


async def fold(database: Engine, retention_days: int | None, now: float) -> None:
    """One round of the retention's loop, one transaction after the other: whoever ends it waits for one at most.

    Without a retention nothing is folded, and what engines counted every minute is thinned out all the same.
    """
    if retention_days is not None:
        steps, done = retention.steps(database, int(now // retention.HOUR_S) - 24 * retention_days), None
        while (step := await asyncio.to_thread(next, steps, None)) is not None:
            done = step
        if done is not None and (done.hours or done.rows):
            text = "retention: %d sums of hours are in sums of months now, %d old rows are gone"
            log.info(text, done.hours, done.rows)
    thinning = retention.thin(database, now)
    while await asyncio.to_thread(next, thinning, None) is not None:  # noqa: ASYNC110 (nothing is waited for)
        await asyncio.sleep(0)
