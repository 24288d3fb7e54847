"""The replicas of a configuration, and what becomes of them when another one takes its place.

A replica that both name is the same object before and after: its requests in flight stay counted, its breaker keeps
what it learned, its connections stay open. One that is named no more ends the requests that it has, then closes.
"""

from collections.abc import Iterable, Mapping

from gateway.config import GatewayConfig, PoolConfig, ReplicaConfig, Timeouts
from gateway.data_plane import ReplicaPool
from gateway.policy.routing import POLICIES
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica

Identity = tuple[str, str, str, str | None, float]


class Fleet:
    """Every replica that serves, or still ends what it has begun."""

    def __init__(self) -> None:
        self._serving: dict[Identity, Upstream] = {}
        self._leaving: list[Upstream] = []
        self._made: dict[Identity, Upstream] = {}

    @property
    def replicas(self) -> list[Upstream]:
        """All of them, those that leave first."""
        return [*self._leaving, *self._serving.values()]

    def pools(self, config: GatewayConfig) -> dict[str, ReplicaPool]:
        """The pools of a configuration over the replicas known already and new ones. Raises DocumentError.

        They count as serving once `serve` says so; until then this can be asked again, for another configuration.
        """
        self._made = {}
        return {name: self._pool(name, pool, config.timeouts) for name, pool in config.pools.items()}

    def serve(self) -> None:
        """The pools made last serve from now on; every other replica leaves."""
        self._leaving += [replica for key, replica in self._serving.items() if key not in self._made]
        self._serving = self._made

    def part(self) -> list[Upstream]:
        """Close the replicas that leave and have nothing in flight any more, and return them."""
        done = [replica for replica in self._leaving if replica.in_flight == 0]
        self._leaving = [replica for replica in self._leaving if replica.in_flight]
        _close(done)
        return done

    def close(self) -> None:
        """Close what is idle in all of them."""
        _close(self.replicas)

    def _pool(self, name: str, config: PoolConfig, timeouts: Timeouts) -> ReplicaPool:
        replicas = [
            self._replica(name, each.name or f"{name}-{index}", each, timeouts)
            for index, each in enumerate(config.replicas)
        ]
        return ReplicaPool(name, replicas, POLICIES[config.policy], config.served_model)

    def _replica(self, pool: str, name: str, config: ReplicaConfig, timeouts: Timeouts) -> Upstream:
        """`name` and not the URL is what clients see: that would tell them where the engines are."""
        api_key = None if config.api_key is None else config.api_key.read()
        key = (pool, name, config.url, api_key, timeouts.connect)
        known: Mapping[Identity, Upstream] = self._serving
        if key not in self._made:
            found = known.get(key)
            self._made[key] = found or Replica(name, config.url, api_key=api_key, connect_s=timeouts.connect)
        return self._made[key]


def _close(replicas: Iterable[Upstream]) -> None:
    for replica in replicas:
        replica.close()
