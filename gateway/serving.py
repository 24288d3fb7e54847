"""What is served now: the pools of replicas, and all else that a request reads and a reload replaces."""

import itertools
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from gateway.config import Limits, Release, Timeouts
from gateway.contracts.prices import PriceBook
from gateway.contracts.usage import Usage
from gateway.policy.decisions import Routed
from gateway.policy.estimate import NO_DEMAND, Demand, Estimator
from gateway.policy.health import candidates
from gateway.policy.prefixes import BLOCK_BYTES, CAPACITY, MOST_BLOCKS, PrefixIndex, block_hashes, keyed_hash, salt_of
from gateway.policy.prompt import canonical, output_limit
from gateway.policy.resolution import Snapshot
from gateway.policy.retries import RetryBudget
from gateway.policy.routing import READS_AFFINITY, READS_PREFIXES, Ask, Candidate, Choice, Policy
from gateway.policy.shapes import Request
from gateway.queueing import PoolQueue
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


class Route:
    """One attempt's replica, at `position` among those that were offered, and how it was chosen.

    `with route:` counts the request on its replica: in flight, and with its outstanding tokens, those of the prompt
    until `answered` says that the first token is there. `candidates` and `ask` are all that the policy saw, so that the
    same choice can be made again; empty where there was nothing to choose.
    """

    __slots__ = ("_index", "_output", "_prefill", "ask", "candidates", "choice", "demand", "position", "replica")

    def __init__(
        self,
        position: int,
        replica: Upstream,
        demand: Demand,
        index: PrefixIndex,
        candidates: Sequence[Candidate] = (),
        ask: Ask = Ask(),  # noqa: B008 (frozen)
        choice: Choice = Choice(0, (), "only"),  # noqa: B008 (frozen)
    ) -> None:
        self.position = position
        self.replica = replica
        self.demand = demand
        self.candidates = candidates
        self.ask = ask
        self.choice = choice
        self._index = index
        self._prefill = self._output = 0

    @property
    def cached(self) -> int:
        """Prompt tokens that the replica's cache was expected to hold."""
        return self.candidates[self.choice.position].cached if self.candidates else 0

    def recorded(self, policy: Policy) -> Routed:
        """The choice, to be made again from what was seen."""
        return Routed(policy.__name__, tuple(self.candidates), self.ask, self.choice.position, self.choice.reason)

    def __enter__(self) -> "Route":
        """The request is on its way."""
        demand = self.demand
        self._prefill, self._output = demand.tokens - self.cached, demand.output
        self.replica.outstanding += self._prefill + self._output
        if demand.blocks:
            self._index.add(self.replica.name, demand.blocks)
        self.replica.__enter__()
        return self

    def answered(self) -> None:
        """Its first token is there: nothing of its prompt is left to compute."""
        self.replica.outstanding -= self._prefill
        self._prefill = 0

    def __exit__(self, *exc: object) -> None:
        """It is over."""
        self.replica.outstanding -= self._prefill + self._output
        self._prefill = self._output = 0
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
        system = release.manifest.prompt.system
        size = len(request.body) if system is None else len(request.body) + len(system)
        estimator, policy = self.estimator, self.policy
        limit = output_limit(request, release.manifest.sampling.max_tokens)
        tokens, output = estimator.prompt(size), estimator.output(limit)
        most = tokens + (output if limit is None else limit)
        if len(self.replicas) == 1 or policy not in _HASHED:
            return Demand(size, tokens, output, most)
        affinity, most = 0, MOST_BLOCKS
        if policy in READS_AFFINITY:
            # A release's own prompt is the same for all: the first block that is not only that tells them apart.
            most = 1 + (0 if system is None else len(system) // BLOCK_BYTES)
            session = header(self.session_header)
            if session:
                affinity = keyed_hash(session, _salt(self.secret, team))
                return Demand(size, tokens, output, most, affinity=affinity)
        blocks: Sequence[int] = ()
        if size >= BLOCK_BYTES:
            blocks = block_hashes(canonical(request, system), _salt(self.secret, team, release.digest), most)
        if policy in READS_AFFINITY:
            affinity, blocks = blocks[-1] if blocks else 0, ()
        per_block = int(BLOCK_BYTES * estimator.tokens_per_byte)
        return Demand(size, tokens, output, most, blocks, per_block, affinity)

    def choose(self, untried: Sequence[Upstream], now: float, demand: Demand = NO_DEMAND) -> Route | None:
        """The replica to try next, by the pool's policy; None when those that are left sleep or drain."""
        positions, weights = candidates(untried, now)
        if not positions:
            return None
        if self.queue is not None:
            positions, weights = self.queue.roomy(untried, positions, weights)
        if len(positions) == 1:
            return Route(positions[0], untried[positions[0]], demand, self.index)
        seen, blocks, tokens, oldest = [], demand.blocks, demand.tokens, now - self.stale_s
        for place, position in enumerate(positions):
            replica, cached, kv_usage, waiting = untried[position], 0, None, None
            if blocks:
                cached = min(tokens, self.index.matched(replica.name, blocks) * demand.block_tokens)
            signals = replica.signals
            if signals is not None and signals.at >= oldest:
                kv_usage, waiting = signals.kv_usage, signals.waiting
            weight = weights[place] if weights else 1.0
            seen.append(
                Candidate(replica.name, weight, replica.in_flight, replica.outstanding, cached, kv_usage, waiting)
            )
        ask = Ask(tokens, demand.affinity, next(self.turns), self.draw())
        choice = self.policy(seen, ask)
        position = positions[choice.position]
        return Route(position, untried[position], demand, self.index, seen, ask, choice)

    def settled(self, demand: Demand, usage: Usage | None) -> None:
        """Learn from a request that was answered here."""
        if usage is not None:
            self.estimator.settled(demand.size, usage.input_tokens, usage.output_tokens)


@dataclass(frozen=True)
class Serving:
    """Everything that a request reads and that a reload replaces, as a whole: a request keeps what it began with.

    `digest` is that of the configuration.
    """

    snapshot: Snapshot
    pools: Mapping[str, ReplicaPool]
    prices: PriceBook
    limits: Limits
    timeouts: Timeouts
    digest: str = ""


_HASHED = READS_PREFIXES | READS_AFFINITY
