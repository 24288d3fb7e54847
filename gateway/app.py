"""The composition root: builds every part and passes it to the parts that need it. No globals, no look-ups."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from gateway.asgi import Receive, Send
from gateway.config import Deployment, GatewayConfig, Timeouts
from gateway.control_plane import loops
from gateway.control_plane.api import Pages, build_api
from gateway.control_plane.probes import Probes, readiness
from gateway.control_plane.registration import Engines, Registration
from gateway.control_plane.state import State
from gateway.data_plane import DataPlane
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.routing import POLICIES
from gateway.providers import ProviderConfig
from gateway.serving import ReplicaPool
from gateway.stores import spool as spools
from gateway.stores.bundle import Stores
from gateway.telemetry import Telemetry
from gateway.upstreams.litellm import Provider
from gateway.upstreams.vllm import replicas_of

Work = tuple[float, Callable[[], Awaitable[None]]]
"""Seconds between two rounds, and one round."""


@dataclass(frozen=True)
class Application:
    """The ASGI application: the data plane for its endpoints, FastAPI for everything else."""

    data_plane: DataPlane
    state: State
    api: FastAPI

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Decide on the raw path alone: no header takes part in it."""
        if scope["type"] == "http" and scope["path"] in ENDPOINTS:
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
) -> Application:
    """Build the application: recover what a dead gateway left, open this one's spool. Connections open on demand."""
    config = deployment.config
    pools = {name: _pool(name, config) for name in config.pools}
    state = State(deployment, stores.keys, stores.releases, clock, pools)
    telemetry = Telemetry()
    if new_id is None:
        new_id = _request_ids(clock).__next__
    replicas = [replica for pool in pools.values() for replica in pool.replicas]
    spools.recover(stores.spool_folder, stores.ledger.insert)
    spool = spools.Spool(stores.spool_folder, owner=f"{time.time_ns()}-{os.getpid()}")
    data_plane = DataPlane(
        serving=lambda: state.serving,
        spool=spool,
        telemetry=telemetry,
        clock=clock,
        monotonic=monotonic,
        new_id=new_id,
    )
    watching: list[Work] = []
    if config.health.probes:
        watching = _watching(deployment, state, spool, telemetry, clock, monotonic, new_id)

    async def drain() -> None:
        await loops.drain(spool, stores.ledger, telemetry, replicas)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        work = [(loops.REFRESH_S, lambda: loops.refresh(state)), (loops.DRAIN_S, drain), *watching]
        tasks = [asyncio.create_task(loops.every(seconds, each)) for seconds, each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await loops.attempt(drain)
            spool.close()
            for replica in replicas:
                replica.close()

    pages = Pages(
        lambda: state.snapshot,
        telemetry,
        clock,
        ready=lambda: readiness(state.serving.pools.values(), config.health.timeout),
    )
    return Application(data_plane, state, build_api(pages, running))


def _request_ids(clock: Callable[[], float]) -> Iterator[str]:
    """Unguessable ids, their 64 random bits drawn by the thousand.

    Milliseconds come first, so that an index of them grows at its end.
    """
    while True:
        drawn = secrets.token_hex(8 * 1024)
        for start in range(0, len(drawn), 16):
            yield f"tg-{int(clock() * 1000):012x}{drawn[start : start + 16]}"


def _pool(name: str, config: GatewayConfig) -> ReplicaPool:
    pool = config.pools[name]
    if pool.provider is not None:
        return ReplicaPool(name, [_provider(name, pool.provider, config.timeouts)], POLICIES[pool.policy], None)
    replicas = replicas_of(name, pool, connect_s=config.timeouts.connect, health=config.health)
    return ReplicaPool(name, replicas, POLICIES[pool.policy], pool.served_model, engines=replicas)


def _provider(name: str, provider: ProviderConfig, timeouts: Timeouts) -> Provider:
    return Provider(
        name,
        provider.model,
        api_key=None if provider.api_key is None else provider.api_key.read(),
        base_url=provider.base_url,
        connect_s=timeouts.connect,
        total_s=timeouts.total,
    )


def _watching(
    deployment: Deployment,
    state: State,
    spool: spools.Spool,
    telemetry: Telemetry,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    new_id: Callable[[], str],
) -> list[Work]:
    """What asks the engines how and what they are."""
    health = deployment.config.health
    probes = Probes(
        replicas=lambda: [replica for pool in state.serving.pools.values() for replica in pool.engines],
        settings=health,
        telemetry=telemetry,
        monotonic=monotonic,
        random=random.Random(),  # noqa: S311 (jitter)
    )
    registration = Registration(
        engines=lambda: [_engines(pool, deployment) for pool in state.serving.pools.values()],
        prices=lambda: deployment.prices,
        settings=health,
        spool=spool,
        telemetry=telemetry,
        clock=clock,
        monotonic=monotonic,
        new_id=new_id,
    )
    return [(health.period, probes.round), (loops.REFRESH_S, registration.round)]


def _engines(pool: ReplicaPool, deployment: Deployment) -> Engines:
    releases = [release for release in deployment.releases.values() if release.pool == pool.name]
    return Engines(pool.name, pool.engines, releases, pool.served_model)
