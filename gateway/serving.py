"""What is served now: the pools of replicas, and all else that a request reads and a reload replaces."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.config import Limits, Timeouts
from gateway.contracts.prices import PriceBook
from gateway.policy.health import candidates
from gateway.policy.resolution import Snapshot
from gateway.policy.retries import RetryBudget
from gateway.policy.routing import Ask, Candidate, Policy
from gateway.server.head import line
from gateway.upstreams.adapters import Adapters
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica


@lru_cache(maxsize=1024)
def told(release: str, digest: str) -> bytes:
    """The header lines that say which release answers."""
    return line(b"x-tollgate-release", release.encode()) + line(b"x-tollgate-digest", digest.encode())


@dataclass(frozen=True)
class ReplicaPool:
    """Replicas of one configuration, and how one of them is chosen.

    `engines` are those that can be asked how and what they are; a provider cannot.
    """

    name: str
    replicas: Sequence[Upstream]
    policy: Policy
    served_model: str | None
    engines: Sequence[Replica] = ()
    turns: Iterator[int] = field(default_factory=itertools.count)
    retries: RetryBudget = field(default_factory=RetryBudget)
    adapters: Adapters = field(default_factory=Adapters)

    def choose(self, untried: Sequence[Upstream], now: float) -> int | None:
        """The position of the replica to try next; None when those that are left sleep or drain."""
        positions, weights = candidates(untried, now)
        if not positions:
            return None
        seen = [
            Candidate(untried[at].name, weight, untried[at].in_flight)
            for at, weight in zip(positions, weights or [1.0] * len(positions), strict=True)
        ]
        return positions[self.policy(seen, Ask(turn=next(self.turns))).position]


@dataclass(frozen=True)
class Serving:
    """Everything that a request reads and that a reload replaces, as a whole: a request keeps what it began with."""

    snapshot: Snapshot
    pools: Mapping[str, ReplicaPool]
    prices: PriceBook
    limits: Limits
    timeouts: Timeouts
