"""The time model of one simulated vLLM engine, without a socket and without a clock: moments are arguments.

First come, first served: one prompt at a time is read, at a fixed rate, and only what the prefix cache does not hold.
A token follows another at a fixed pace, however many run. A request starts when its blocks fit beside those of the
requests that run; what no running request needs stays cached until its place is wanted, the least recently used first
(vLLM's scheduler and block pool, less preemption, less the slowing of decode by prefill, and with the blocks of the
answer taken at the start).
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, NamedTuple

BLOCK_TOKENS = 48
"""Three of vLLM's usual blocks: 125 of them are a prefix of 6,000 tokens, at a third of the bookkeeping."""


@dataclass(frozen=True)
class Speed:
    """What an engine can do. Rates are tokens per simulated second; `kv_tokens` fit into its KV cache.

    `every` tokens are told at once after the first one: one event for each would measure the harness.
    """

    prefill: float = 12_000.0
    token_s: float = 0.025
    kv_tokens: int = 307_328
    running: int = 256
    every: int = 72


@dataclass(eq=False)
class Job:
    """One request in an engine. Moments are simulated seconds; `started` is when its prompt began to be read."""

    number: int
    arrived: float
    prompt_tokens: int
    output_tokens: int
    blocks: Sequence[Hashable]
    cached_tokens: int = 0
    started: float = 0.0
    first: float = 0.0
    finished: float = 0.0
    held: list[Hashable] = field(default_factory=list)


Kind = Literal["first", "tokens", "last"]


class Happening(NamedTuple):
    """What a job shows the outside: at that moment it has made so many tokens."""

    at: float
    job: Job
    kind: Kind
    tokens: int


class Cache:
    """The blocks of one engine. A block is known by its hash; one that nobody refers to is idle, and may be evicted."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._users: dict[Hashable, int] = {}
        # A plain dict looks for its oldest entry through the places of all that were taken out.
        self._idle: OrderedDict[Hashable, None] = OrderedDict()
        self._private = count()

    def __len__(self) -> int:
        return len(self._users) + len(self._idle)

    @property
    def in_use(self) -> int:
        """Blocks of running requests."""
        return len(self._users)

    def matched(self, blocks: Sequence[Hashable]) -> int:
        """How many of the leading blocks are held."""
        users, idle = self._users, self._idle
        for position, block in enumerate(blocks):
            if block not in users and block not in idle:
                return position
        return len(blocks)

    def take(self, blocks: Sequence[Hashable], matched: int, others: int) -> list[Hashable] | None:
        """Hold a prompt's blocks and `others` that only it has. Returns what to give back; None: they do not fit."""
        users, idle = self._users, self._idle
        shared = sum(map(users.__contains__, blocks[:matched]))
        if len(blocks) - shared + others > self.capacity - len(users):
            return None
        held = [*blocks, *(("private", next(self._private)) for _ in range(others))]
        for block in held:
            if block in users:
                users[block] += 1
            else:
                users[block] = 1
                idle.pop(block, None)
        for _ in range(len(self) - self.capacity):
            idle.popitem(last=False)
        return held

    def give_back(self, held: Sequence[Hashable]) -> None:
        """No longer needed by this request; the end of a prompt is evicted before its beginning, as in vLLM."""
        users, idle = self._users, self._idle
        for block in reversed(held):
            if users[block] == 1:
                del users[block]
                idle[block] = None
            else:
                users[block] -= 1


class Replica:
    """One engine: jobs arrive, and what happens to them until a moment is told in its order."""

    def __init__(self, speed: Speed) -> None:
        self.speed = speed
        self.cache = Cache(speed.kv_tokens // BLOCK_TOKENS)
        self.running = 0
        self.waiting: deque[Job] = deque()
        self.queried = self.hit = 0
        self._reading: Job | None = None
        self._due: list[tuple[float, int, Job, Kind, int]] = []
        self._order = count()

    @property
    def next_at(self) -> float | None:
        """When something happens next."""
        return self._due[0][0] if self._due else None

    def arrive(self, job: Job) -> list[Happening]:
        """Queue a job at its `arrived`; returns what happened up to then. Raises ValueError: it can never fit."""
        if _blocks(job.prompt_tokens + job.output_tokens) > self.cache.capacity:
            raise ValueError(f"{job.prompt_tokens} + {job.output_tokens} tokens never fit into {self.speed.kv_tokens}")
        happened = self.advance(job.arrived)
        self.waiting.append(job)
        self._start(job.arrived)
        return happened

    def advance(self, now: float) -> list[Happening]:
        """Everything that happens until `now`, each at its own moment, however late this is asked."""
        happened = []
        while self._due and self._due[0][0] <= now:
            at, _, job, kind, tokens = heapq.heappop(self._due)
            happened.append(Happening(at, job, kind, tokens))
            if kind == "first":
                job.first, self._reading = at, None
            if kind == "last" or tokens == job.output_tokens:
                job.finished = at
                self.running -= 1
                self.cache.give_back(job.held)
                job.held = []
            else:
                self._decode(at, job, tokens)
            self._start(at)
        return happened

    def _decode(self, at: float, job: Job, tokens: int) -> None:
        step = min(self.speed.every, job.output_tokens - tokens)
        kind: Kind = "last" if tokens + step == job.output_tokens else "tokens"
        self._push(at + step * self.speed.token_s, job, kind, tokens + step)

    def _start(self, at: float) -> None:
        """Begin to read the prompt that waits longest, when none is read and its blocks fit."""
        if self._reading is not None or not self.waiting or self.running >= self.speed.running:
            return
        job = self.waiting[0]
        # As in vLLM, the last token is always read, since the first one of the answer follows from it.
        most = (job.prompt_tokens - 1) // BLOCK_TOKENS
        matched = self.cache.matched(job.blocks[:most])
        others = _blocks(job.prompt_tokens + job.output_tokens) - len(job.blocks)
        held = self.cache.take(job.blocks, matched, others)
        if held is None:
            return
        self.waiting.popleft()
        self.running += 1
        self._reading, job.held, job.started = job, held, at
        job.cached_tokens = matched * BLOCK_TOKENS
        self.queried, self.hit = self.queried + job.prompt_tokens, self.hit + job.cached_tokens
        self._push(at + (job.prompt_tokens - job.cached_tokens) / self.speed.prefill, job, "first", 1)

    def _push(self, at: float, job: Job, kind: Kind, tokens: int) -> None:
        heapq.heappush(self._due, (at, next(self._order), job, kind, tokens))


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)
