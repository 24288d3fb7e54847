"""The composition root: builds every part and passes it to the parts that need it. No globals, no look-ups."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from gateway.budgeting import WATCH_S, Budgeting
from gateway.client import Client, Receive, Send
from gateway.config import Deployment
from gateway.contracts.errors import InputError
from gateway.control_plane import counting, loops
from gateway.control_plane.api import Pages, build_api
from gateway.control_plane.current import Current
from gateway.control_plane.leading import Leading
from gateway.control_plane.probes import readiness
from gateway.control_plane.state import State
from gateway.control_plane.watching import replicas_of, watching
from gateway.data_plane import DataPlane
from gateway.forwarding import Forwarding
from gateway.gauges import WORKERS_FOLDER
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.limits import Admission
from gateway.server.limits import Leaving
from gateway.settings.ledger import LedgerConfig
from gateway.sharing import running, sharing_of
from gateway.stores import spool as spools
from gateway.stores.budget_books import book_of
from gateway.stores.bundle import Stores
from gateway.telemetry import Telemetry
from gateway.tracing import FLUSH_S, Tracing, tracing_of


@dataclass(frozen=True)
class Application:
    """The ASGI application: the data plane for its endpoints, FastAPI for everything else."""

    data_plane: DataPlane
    current: Current
    api: FastAPI

    @property
    def state(self) -> State:
        """What serves now."""
        return self.current.state

    @property
    def leaving(self) -> Leaving:
        """Whether it is to end."""
        return self.current.leaving

    def direct(self, client: Client) -> Coroutine[Any, Any, None] | None:
        """For the gateway's own server: the data plane's work for a client; None: FastAPI has it.

        Decided on the path as it was written: no header takes part in it, and no other spelling counts.
        """
        return self.data_plane.serve(client) if client.path in ENDPOINTS else None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Under any server of ASGI: decide as `direct` does."""
        if scope["type"] == "http" and scope["path"] in ENDPOINTS and b"%" not in scope.get("raw_path", b""):
            await self.data_plane(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def build(
    deployment: Deployment,
    stores: Stores,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    new_id: Callable[[], str] | None = None,
    drain_s: float = loops.DRAIN_S,
    closes: bool = True,
) -> Application:
    """Build the application: recover what a dead gateway left, open this one's spool. Connections open on demand.

    `drain_s`: seconds between two drains of settled rows into the database, and two looks at queues; `closes`: whether,
    of the processes of one machine, it closes past hours and lets old rows go. Over PostgreSQL one of all does.
    """
    telemetry, new_id = Telemetry(), new_id or _request_ids(clock).__next__
    current = Current(deployment, stores, telemetry, clock, monotonic)
    spool = _spool(stores, deployment.config.ledger)
    tracing = tracing_of(deployment.config.tracing, lambda: current.addresses, monotonic, telemetry.traces)
    drain = _drain(current, spool, stores, telemetry)
    budgeting = _budgeting(deployment, stores, telemetry, clock, monotonic, drain)
    sharing = sharing_of(deployment.config.redis, telemetry, monotonic)
    data_plane = DataPlane(
        serving=lambda: current.state.serving,
        spool=spool,
        telemetry=telemetry,
        admission=Admission() if sharing is None else sharing.admission,
        sharing=sharing,
        budgeting=budgeting,
        forwarding=Forwarding(telemetry, monotonic, current.still),
        clock=clock,
        monotonic=monotonic,
        new_id=new_id,
        tracing=tracing,
    )
    count = _counting(current, stores, telemetry, clock)
    leading = Leading(stores, telemetry, clock, current, chosen=closes)
    work: list[loops.Loop] = [
        partial(loops.every, drain_s, lambda: loops.rounds(drain, spool)),
        partial(loops.every, drain_s, current.tick),
        partial(loops.every, counting.LOOK_S, count),
        partial(loops.every, WATCH_S, lambda: budgeting.watch(current.state.serving.budgets)),
        *leading.work(),
        *watching(current, spool, telemetry, clock, monotonic, new_id),
    ]

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await budgeting.prepare(current.state.serving.budgets)
        try:
            async with _at_work(work, tracing), running(sharing):
                yield
        finally:
            leading.close()
            await budgeting.close()
            await loops.last(drain, lambda: count(counting.LAST_S))
            spool.close()
            current.close()

    return Application(data_plane, current, build_api(_pages(current, stores, telemetry, clock), lifespan))


@asynccontextmanager
async def _at_work(work: Sequence[loops.Loop], tracing: Tracing | None) -> AsyncIterator[None]:
    flushing: list[loops.Loop] = [] if tracing is None else [partial(loops.every, FLUSH_S, tracing.flush)]
    tasks = [asyncio.create_task(loop()) for loop in (*work, *flushing)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tracing is not None:
            await tracing.flush()


def _drain(
    current: Current, spool: spools.Spool, stores: Stores, telemetry: Telemetry
) -> Callable[[], Awaitable[None]]:
    """One drain at a time: what one has taken the other must not say is stored."""
    draining = asyncio.Lock()

    async def drain() -> None:
        async with draining:
            await loops.drain(spool, stores.ledger, telemetry, current.replicas)

    return drain


def _spool(stores: Stores, config: LedgerConfig) -> spools.Spool:
    """A new one, once what dead gateways left is in the ledger."""
    folder = stores.spool_folder
    spools.recover(folder, stores.ledger.insert)
    try:
        return spools.Spool(folder, owner=f"{time.time_ns()}-{os.getpid()}", when_full=config.when_full)
    except OSError as error:
        raise InputError(f"the spool {str(folder)!r} cannot be written: {error.strerror}") from error


def _pages(current: Current, stores: Stores, telemetry: Telemetry, clock: Callable[[], float]) -> Pages:
    """What is answered beside the data plane."""
    return Pages(
        snapshot=lambda: current.state.snapshot,
        telemetry=telemetry,
        clock=clock,
        ready=lambda: readiness(current.state.serving.pools.values(), current.health.timeout, current.leaving),
        digest=lambda: current.digest,
        costs=stores.costs,
    )


def _budgeting(
    deployment: Deployment,
    stores: Stores,
    telemetry: Telemetry,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    drained: Callable[[], Awaitable[None]],
) -> Budgeting:
    """The counters of budgets: in Redis, in the folder that the workers of one gateway share, or in this process."""
    redis, folder = deployment.config.redis, os.environ.get(WORKERS_FOLDER)
    book = book_of(redis, None if folder is None else Path(folder), monotonic, clock)
    return Budgeting(book, stores.spend, telemetry, clock, drained, "refuse" if redis is None else redis.when_away)


def _request_ids(clock: Callable[[], float]) -> Iterator[str]:
    """Unguessable ids, their 64 random bits drawn by the thousand.

    Milliseconds come first, so that an index of them grows at its end.
    """
    while True:
        drawn = secrets.token_hex(8 * 1024)
        for start in range(0, len(drawn), 16):
            yield f"tg-{int(clock() * 1000):012x}{drawn[start : start + 16]}"


def _counting(
    current: Current, stores: Stores, telemetry: Telemetry, clock: Callable[[], float]
) -> Callable[..., Coroutine[Any, Any, None]]:
    """One round of what engines count, as the configuration of the moment says."""
    counts = counting.Counting(
        replicas=lambda: replicas_of(current),
        counters=stores.counters,
        settings=current.health,
        longest_s=current.deployment.config.timeouts.total,
        telemetry=telemetry,
        clock=clock,
    )

    async def count(apart_s: float = counting.APART_S) -> None:
        if current.health.probes:
            longest_s = current.deployment.config.timeouts.total
            await replace(counts, settings=current.health, longest_s=longest_s).round(apart_s)

    return count
