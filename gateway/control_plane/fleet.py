"""The replicas of a configuration, and what becomes of them when another one takes its place.

A replica that both name is the same object before and after: its requests in flight stay counted, what is known of its
health stays known, its connections stay open. One that is named no more ends the requests that it has, then closes.
"""

import dataclasses
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gateway.config import GatewayConfig, Timeouts
from gateway.policy.prefixes import derived
from gateway.policy.routing import POLICIES
from gateway.providers import ProviderConfig
from gateway.queueing import PoolQueue
from gateway.serving import STALE, ReplicaPool
from gateway.settings.queue import QueueConfig
from gateway.settings.replicas import ranked
from gateway.telemetry import Telemetry
from gateway.upstreams.adapters import Adapters
from gateway.upstreams.base import Upstream
from gateway.upstreams.litellm import Provider
from gateway.upstreams.vllm import Replica, replicas_of

KEPT = ("turns", "retries", "adapters", "index", "estimator", "draw", "queue")
"""What a pool has learned, and keeps when its configuration changes."""

Same = TypeVar("Same", bound=Upstream)


class Fleet:
    """Every replica that serves, or still ends what it has begun."""

    def __init__(self, telemetry: Telemetry, monotonic: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._secret = secrets.token_bytes(32)
        self._pools: Mapping[str, ReplicaPool] = {}
        self._leaving: list[Upstream] = []

    @property
    def replicas(self) -> list[Upstream]:
        """All of them, those that leave first."""
        return [*self._leaving, *self._serving()]

    def pools(self, config: GatewayConfig) -> dict[str, ReplicaPool]:
        """The pools of a configuration, over the replicas known already and new ones. Raises InputError.

        Nothing changes before `serve` is told of them.
        """
        return {name: self._pool(name, config) for name in config.pools}

    def serve(self, config: GatewayConfig, pools: Mapping[str, ReplicaPool]) -> None:
        """These pools of that configuration serve from now on; every replica that is in none of them leaves."""
        before, now = self._serving(), self._monotonic()
        for name, pool in pools.items():
            joins = any(replica in before for replica in pool.replicas)
            for replica, (_, wanted, _) in zip(pool.engines, ranked(name, config.pools[name].replicas), strict=True):
                replica.vitals.heed(config.health)
                if replica.vitals.draining != wanted.drain:
                    replica.vitals.drain(wanted.drain, now)
                if joins and replica not in before:
                    replica.vitals.warm_up(now)
            for each in pool.replicas:
                if each not in before:
                    pool.index.forget(each.name)  # another engine had that name
            pool.index.keep(each.name for each in pool.replicas)
            if pool.queue is not None:
                levels = {each.level: each.max_queued for each in config.classes.values()}
                pool.queue.serve(config.pools[name].queue, levels, pool.replicas)
        for name in self._pools.keys() - pools.keys():
            if (queue := self._pools[name].queue) is not None:
                queue.serve(QueueConfig(), {}, queue.replicas)  # nobody waits for what is no more
                queue.tick()  # the last one: its gauge would tell for ever of those who waited before
        self._pools = pools
        self._leaving += [replica for replica in before if replica not in self._serving()]
        self._succeed(before)

    def tick(self) -> None:
        """Have every queue look whether there is room that nobody told it of."""
        for pool in self._pools.values():
            if pool.queue is not None:
                pool.queue.tick()

    def part(self) -> list[Upstream]:
        """Close the replicas that leave and have nothing in flight any more, and return them.

        Nor have those in whose place they are: whoever comes to the engine next has to hear of them.
        """
        done = [replica for replica in self._leaving if replica.in_flight + replica.before == 0]
        self._leaving = [replica for replica in self._leaving if replica not in done]
        for replica in done:
            replica.close()
        return done

    def close(self) -> None:
        """Close what is idle in all of them."""
        for replica in self.replicas:
            replica.close()

    def _serving(self) -> list[Upstream]:
        return [replica for pool in self._pools.values() for replica in pool.replicas]

    def _succeed(self, before: Sequence[Upstream]) -> None:
        """What leaves an engine that has another name or key from now on still takes its part of the room there."""
        engines = [each for each in self.replicas if isinstance(each, Replica)]
        left = [each for each in engines if each in self._leaving and each.heir is None]
        for heir in engines:
            former = next((each for each in left if each.place == heir.place), None)
            if former is not None and heir not in before and heir not in self._leaving:
                left.remove(former)
                heir.follow(former)

    def _pool(self, name: str, config: GatewayConfig) -> ReplicaPool:
        wanted, before = config.pools[name], self._pools.get(name)
        policy = POLICIES[wanted.policy]
        if wanted.provider is not None:
            providers = _kept([_provider(name, wanted.provider, config.timeouts)], before.replicas if before else ())
            pool = ReplicaPool(name, providers, policy, None)
        else:
            made = replicas_of(name, wanted, connect_s=config.timeouts.connect, health=config.health)
            engines = _kept(made, before.engines if before else ())
            pool = ReplicaPool(name, engines, policy, wanted.served_model, engines=engines)
        queue = PoolQueue(name, self._telemetry, self._monotonic, random.Random())  # noqa: S311 (jitter)
        settings, kept = config.routing, dict[str, Any](queue=queue, adapters=Adapters(self._monotonic))
        if before is not None:
            kept = {name: getattr(before, name) for name in KEPT}
        return dataclasses.replace(
            pool,
            secret=self._secret if settings.hash_key is None else derived(settings.hash_key.read().encode()),
            session_header=settings.session_header.encode(),
            stale_s=STALE * config.health.scrape,
            **kept,
        )


def _kept(made: Sequence[Same], before: Sequence[Same]) -> list[Same]:
    """Those that were there before in the place of those of the same identity."""
    known = {each.identity: each for each in before}
    return [known.get(each.identity, each) for each in made]


def _provider(name: str, provider: ProviderConfig, timeouts: Timeouts) -> Upstream:
    return Provider(
        name,
        provider.model,
        api_key=None if provider.api_key is None else provider.api_key.read(),
        base_url=provider.base_url,
        connect_s=timeouts.connect,
        total_s=timeouts.total,
    )
