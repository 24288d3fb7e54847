"""What is served now: the pools of replicas, and all else that a request reads and a reload replaces."""

import itertools
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import trunc

import msgspec

from gateway.config import Limits, Release, Timeouts
from gateway.contracts.prices import PriceBook
from gateway.policy.budgets import Budgets
from gateway.policy.decisions import Routed
from gateway.policy.estimate import NO_DEMAND, Demand, Estimator
from gateway.policy.health import candidates
from gateway.policy.prefixes import BLOCK_BYTES, CAPACITY, MOST_BLOCKS, PrefixIndex, block_hashes, keyed_hash, salt_of
from gateway.policy.prompt import canonical, output_limit
from gateway.policy.resolution import Snapshot
from gateway.policy.retries import RetryBudget
from gateway.policy.routing import OUTPUT_WEIGHT, READS_AFFINITY, READS_PREFIXES, Ask, Candidate, Policy
from gateway.policy.shapes import Request
from gateway.policy.tagging import UNTAGGED, Tagging
from gateway.queueing import UNBOUNDED, PoolQueue
from gateway.server.head import line
from gateway.settings.routing import Routing
from gateway.upstreams.adapters import Adapters
from gateway.upstreams.base import Upstream
from gateway.upstreams.vllm import Replica

STALE = 5
"""Periods of the scrape after which what an engine said counts no more."""

_salt = lru_cache(maxsize=4096)(salt_of)


@lru_cache(maxsize=1024)
def told(release: str, digest: str) -> bytes:
    """The header lines that say which release answers."""
    return line(b"x-tollgate-release", release.encode()) + line(b"x-tollgate-digest", digest.encode())


class Route(msgspec.Struct, eq=False, gc=False):
    """One attempt's replica, at `position` among those that were offered, and how it was chosen.

    `with route:` counts the request on its replica: in flight, and with its outstanding tokens, those of the prompt
    until `answered` says that the first token is there; `prefill` and `output` are what is counted. `cached` prompt
    tokens the replica's cache is expected to hold, by the pool's `index`. `routed` is the choice with all that the
    policy saw, so that it can be made again; None where there was nothing to choose.
    """

    position: int
    replica: Upstream
    demand: Demand
    index: PrefixIndex
    cached: int = 0
    routed: Routed | None = None
    prefill: int = 0
    output: int = 0

    def __enter__(self) -> "Route":
        """The request is on its way."""
        demand, replica = self.demand, self.replica
        self.prefill, self.output = demand.tokens - self.cached, trunc(OUTPUT_WEIGHT * demand.output)
        replica.outstanding += self.prefill + self.output
        if demand.blocks:
            self.index.add(replica.name, demand.blocks)
        replica.__enter__()
        return self

    def answered(self) -> None:
        """Its first token is there: nothing of its prompt is left to compute."""
        self.replica.outstanding -= self.prefill
        self.prefill = 0

    def __exit__(self, *exc: object) -> None:
        """It is over."""
        self.replica.outstanding -= self.prefill + self.output
        self.prefill = self.output = 0
        self.replica.__exit__(*exc)


@dataclass(frozen=True)
class ReplicaPool:
    """Replicas of one configuration, and how one of them is chosen.

    `engines` are those that can be asked how and what they are; a provider cannot. What an engine said of its load
    counts for `stale_s` seconds. `secret` keys the hashes of prompts and sessions.
    """

    name: str
    replicas: Sequence[Upstream]
    policy: Policy
    served_model: str | None
    engines: Sequence[Replica] = ()
    turns: Iterator[int] = field(default_factory=itertools.count)
    retries: RetryBudget = field(default_factory=RetryBudget)
    adapters: Adapters = field(default_factory=Adapters)
    queue: PoolQueue | None = None
    index: PrefixIndex = field(default_factory=lambda: PrefixIndex(CAPACITY))
    estimator: Estimator = field(default_factory=Estimator)
    draw: Callable[[], int] = field(default_factory=lambda: partial(random.Random().getrandbits, 64))  # noqa: S311 (load, not secrets)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    session_header: bytes = Routing().session_header.encode()
    stale_s: float = STALE * 1.0

    def demand(self, request: Request, release: Release, team: str, header: Callable[[bytes], bytes | None]) -> Demand:
        """What a request of a team asks of this pool; `header` finds the first of a name among the request's."""
        system = release.system
        size = len(request.body) if system is None else len(request.body) + len(system)
        estimator, policy = self.estimator, self.policy
        limit = output_limit(request, release.sampling.get("max_tokens"))
        tokens, output = estimator.expected(size, limit)
        most = tokens + (output if limit is None else limit)
        hashed = policy in READS_AFFINITY or (size >= BLOCK_BYTES and policy in READS_PREFIXES)
        if not hashed or len(self.replicas) == 1:
            return Demand(size, tokens, output, most)
        affinity, count = 0, MOST_BLOCKS
        if policy in READS_AFFINITY:
            # A release's own prompt is the same for all: the first block that is not only that tells them apart.
            count = 1 + (0 if system is None else len(system) // BLOCK_BYTES)
            session = header(self.session_header)
            if session:
                affinity = keyed_hash(session, _salt(self.secret, team))
                return Demand(size, tokens, output, most, affinity=affinity)
        blocks: Sequence[int] = ()
        if size >= BLOCK_BYTES:
            blocks = block_hashes(canonical(request, system), _salt(self.secret, team, release.digest), count)
        if policy in READS_AFFINITY:
            affinity, blocks = blocks[-1] if blocks else 0, ()
        if not blocks:
            return Demand(size, tokens, output, most, affinity=affinity)
        per_block = trunc(BLOCK_BYTES * estimator.tokens_per_byte)
        return Demand(size, tokens, output, most, blocks, per_block, affinity)

    def choose(
        self, untried: Sequence[Upstream], now: float, demand: Demand = NO_DEMAND, guess: bool = True
    ) -> Route | None:
        """The replica to try next, by the pool's policy; None when there is none, as `health.candidates` says.

        Those with as many requests as they may have are left out, unless all of them have. Whoever was let in finds
        one with room. Another attempt of its does not wait again, and may find none: the retry budget bounds by how
        much that exceeds the cap.
        """
        positions, weights = candidates(untried, now, guess)
        if len(positions) <= 1:
            return Route(positions[0], untried[positions[0]], demand, self.index) if positions else None
        cap, full = UNBOUNDED if self.queue is None else self.queue.cap, 0
        seen: list[Candidate] = []
        blocks, tokens, oldest = demand.blocks, demand.tokens, now - self.stale_s
        for position in positions:
            replica, cached, kv_usage, waiting = untried[position], 0, None, None
            if blocks:
                cached = min(tokens, self.index.matched(replica.name, blocks) * demand.block_tokens)
            signals = replica.signals
            if signals is not None and signals.at >= oldest:
                kv_usage, waiting = signals.kv_usage, signals.waiting
            weight, in_flight = weights[len(seen)] if weights else 1.0, replica.in_flight + replica.before
            if in_flight >= cap:
                full += 1
            seen.append(Candidate(replica.name, weight, in_flight, replica.outstanding, cached, kv_usage, waiting))
        if full and full < len(seen):
            positions = [position for position, each in zip(positions, seen, strict=True) if each.in_flight < cap]
            seen = [each for each in seen if each.in_flight < cap]
            if len(seen) == 1:
                return Route(positions[0], untried[positions[0]], demand, self.index)
        policy, ask = self.policy, Ask(tokens, demand.affinity, next(self.turns), self.draw())
        choice = policy(seen, ask)
        place = choice.position
        routed = Routed(policy.__name__, tuple(seen), ask, place, choice.reason)
        position = positions[place]
        return Route(position, untried[position], demand, self.index, seen[place].cached, routed)


@dataclass(frozen=True)
class Serving:
    """Everything that a request reads and that a reload replaces, as a whole: a request keeps what it began with.

    `digest` is that of the configuration; `budgets` None: it has none.
    """

    snapshot: Snapshot
    pools: Mapping[str, ReplicaPool]
    prices: PriceBook
    limits: Limits
    timeouts: Timeouts
    digest: str = ""
    budgets: Budgets | None = None
    tagging: Tagging = UNTAGGED
