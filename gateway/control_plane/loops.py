"""Background loops: fresh state, and settled rows on their way to the database."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from gateway.contracts.errors import InputError
from gateway.control_plane.state import State
from gateway.stores.ledger import Ledger
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

REFRESH_S = 0.5
"""A revoked key, a promotion and a new verdict count within this time."""
DRAIN_S = 0.2

log = logging.getLogger("tollgate")


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` again and again, with a pause between. A failure is logged once, until it works again."""
    failing = False
    while True:
        failing = not await attempt(work, quiet=failing)
        await asyncio.sleep(seconds)


async def attempt(work: Callable[[], Awaitable[None]], *, quiet: bool = False) -> bool:
    """Run `work` once. False when a database or a file was away."""
    try:
        await work()
    except (SQLAlchemyError, InputError, OSError) as error:
        if not quiet:
            log.error("background work failed and is tried again; nothing is lost: %s", error)
        return False
    return True


async def refresh(state: State) -> None:
    """One round of the state's loop."""
    await asyncio.to_thread(state.refresh)


async def drain(spool: Spool, ledger: Ledger, telemetry: Telemetry, replicas: Sequence[Upstream]) -> None:
    """One round of the ledger's loop. Rows that the database does not take stay in the spool."""
    telemetry.count()
    telemetry.open.set(spool.open_count)
    in_flight = Counter[str]()
    for replica in replicas:
        # One that a reload replaced still ends its requests under the name of its successor.
        in_flight[replica.name] += replica.in_flight
        telemetry.in_flight.labels(replica.name).set(in_flight[replica.name])
        telemetry.breaker.labels(replica.name).set(not replica.breaker.closed)
    telemetry.ledger_lag.set(spool.lag)
    rows = spool.take()
    if not rows:
        return
    stored = False
    try:
        await asyncio.to_thread(ledger.insert, rows)
        stored = True
    finally:
        if stored:
            spool.stored()
        else:
            spool.keep()
