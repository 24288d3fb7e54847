"""The loops that look at what is served, at this process and its engines, as the configuration of each moment says."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from gateway.config import Deployment, Release
from gateway.control_plane import loops, process
from gateway.control_plane.current import Current
from gateway.control_plane.probes import Probes
from gateway.control_plane.registration import Engines, Registration
from gateway.control_plane.scrapes import Scrapes
from gateway.serving import ReplicaPool
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica


def watching(
    current: Current,
    spool: Spool,
    telemetry: Telemetry,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    new_id: Callable[[], str],
) -> list[loops.Loop]:
    """What looks, to be run until the gateway ends."""
    probes = Probes(
        replicas=lambda: replicas_of(current),
        settings=current.health,
        telemetry=telemetry,
        monotonic=monotonic,
        random=random.Random(),  # noqa: S311 (jitter)
    )
    scrapes = Scrapes(
        pools=lambda: list(current.state.serving.pools.values()),
        settings=current.health,
        telemetry=telemetry,
        monotonic=monotonic,
        random=random.Random(),  # noqa: S311 (jitter)
    )
    registration = Registration(
        engines=lambda: _engines(current.state.serving.pools.values(), current.deployment),
        prices=lambda: current.deployment.prices,
        settings=current.health,
        spool=spool,
        telemetry=telemetry,
        clock=clock,
        monotonic=monotonic,
        new_id=new_id,
    )

    async def probe() -> None:
        if current.health.probes:
            await replace(probes, settings=current.health).round()

    async def scrape() -> None:
        if current.health.probes and current.health.scrape:
            await replace(scrapes, settings=current.health).round()

    async def register() -> None:
        if current.health.probes:
            await replace(registration, settings=current.health).round()

    return [
        partial(loops.every, loops.LOOK_S, lambda: loops.look(current.state, telemetry)),
        partial(loops.every, process.LOOK_S, process.Process(spool, telemetry, clock, monotonic).look),
        partial(loops.paced, lambda: current.health.period, probe),
        partial(loops.paced, lambda: current.health.scrape or current.health.period, scrape),
        partial(loops.every, loops.REGISTER_S, register),
    ]


def replicas_of(current: Current) -> list[Replica]:
    """The engines of all pools, as of now."""
    return [replica for pool in current.state.serving.pools.values() for replica in pool.engines]


def _engines(pools: Iterable[ReplicaPool], deployment: Deployment) -> list[Engines]:
    releases = dict[str, list[Release]]()
    for release in deployment.releases.values():
        releases.setdefault(release.pool, []).append(release)
    return [Engines(each.name, each.engines, releases.get(each.name, ()), each.served_model) for each in pools]
