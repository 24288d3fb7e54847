"""A fleet that does not exist, behind the gateway's own decisions.

The policies, the prefix index, the estimator and the fair queue are the ones that serve; only the engines are a model.
What the gateway knows of an engine it knows here as it would there: its own counters at once, what the engine says
once in `scrape_s` seconds. Left out: failures, retries, the network, and the gateway's own tenth of a millisecond.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random

import msgspec

from gateway.contracts.errors import QueueFull
from gateway.policy.estimate import Estimator
from gateway.policy.fairness import FairQueue, Ticket
from gateway.policy.prefixes import PrefixIndex
from gateway.policy.routing import OUTPUT_WEIGHT, POLICIES, READS_AFFINITY, READS_PREFIXES, Ask, Candidate
from gateway.settings.profile import EngineProfile
from gateway.settings.queue import QueueConfig
from gateway.simulation.engine import NEVER, Engine
from gateway.simulation.jobs import Job
from gateway.simulation.scrapes import Scrapes
from gateway.simulation.traces import Arrival

COMPLETED, QUEUE_FULL, QUEUE_TIMEOUT, TOO_LONG = "completed", "queue_full", "queue_timeout", "context_length_exceeded"


@dataclass(frozen=True)
class Setup:
    """What is tried. `policy` is a key of `POLICIES`.

    `fair` False is first come first served: all are one tenant of one class. `scrape_s` None: engines say nothing.
    `limits` are those of the classes: level to how many may wait.
    """

    engine: EngineProfile
    replicas: int = 8
    policy: str = "score"
    queue: QueueConfig = field(default_factory=QueueConfig)
    fair: bool = True
    scrape_s: float | None = 1.0
    limits: Mapping[int, int | None] = field(default_factory=dict)


class Served(msgspec.Struct, gc=False):
    """What became of one request. Times in seconds of the trace; `outcome` is `completed` or the code of an error.

    `routed_at` is when it left the gateway, `started_at` when its engine let it in; `cached` are the prompt tokens that
    the engine had; `preempted` is how often it was thrown out there.
    """

    arrival: Arrival
    outcome: str = COMPLETED
    replica: int = -1
    routed_at: float = NEVER
    started_at: float = NEVER
    first_at: float = NEVER
    finished_at: float = NEVER
    cached: int = 0
    preempted: int = 0


class Load(msgspec.Struct, frozen=True):
    """What one replica did: seconds in steps, seconds that its requests added to them, tokens, steps."""

    busy_s: float
    work_s: float
    prefilled: int
    decoded: int
    steps: int
    preemptions: int


@dataclass(frozen=True)
class Replay:
    """One trace on one fleet: the requests in the order in which they arrived, and the replicas' loads."""

    setup: Setup
    served: Sequence[Served]
    loads: Sequence[Load]

    @property
    def end(self) -> float:
        """When the last one ended, in seconds of the trace."""
        return max((each.finished_at for each in self.served if each.outcome == COMPLETED), default=0.0)


class _Replica:
    """What the gateway knows of one engine."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.in_flight = 0
        self.outstanding = 0
        self.kv_usage: float | None = None
        self.waiting: int | None = None

    def load(self) -> Load:
        did = self.engine
        return Load(did.busy_s, did.work_s, did.prefilled, did.decoded, did.steps, did.preemptions)


class _Flight:
    """One request between the gateway and its engine."""

    __slots__ = ("expected", "prefill", "record", "replica", "ticket")

    def __init__(self, record: Served, replica: _Replica, ticket: Ticket | None, prefill: int, expected: int) -> None:
        self.record = record
        self.replica = replica
        self.ticket = ticket
        self.prefill = prefill
        self.expected = expected


def replay(arrivals: Iterable[Arrival], setup: Setup, random: Random) -> Replay:
    """Send a trace, in the order of its times, to a fleet, and wait until all of it is answered."""
    fleet = _Fleet(setup, random)
    served = []
    for arrival in arrivals:
        fleet.until(arrival.at)
        record = Served(arrival)
        served.append(record)
        fleet.arrive(record, arrival.at)
    fleet.until(NEVER)
    return Replay(setup, served, [each.load() for each in fleet.replicas])


class _Fleet:
    """The engines, and one gateway."""

    def __init__(self, setup: Setup, random: Random) -> None:
        self.replicas = [_Replica(f"replica-{number}", Engine(setup.engine)) for number in range(setup.replicas)]
        self._setup = setup
        self._policy = POLICIES[setup.policy]
        self._cap = setup.queue.max_in_flight
        self._random = random
        self._turn = 0
        self._index = PrefixIndex(0)
        self._block_tokens = 0
        self._estimator = Estimator()
        self._queue = FairQueue(setup.queue, setup.limits)
        self._waiting: dict[Ticket, Served] = {}
        self._flights: dict[Job, _Flight] = {}
        self._events: list[tuple[float, int]] = []
        self._scrapes = Scrapes(setup.replicas, setup.scrape_s, random)

    def until(self, end: float) -> None:
        """Let happen what happens up to a time. What an engine ends at that time has ended."""
        events = self._events
        while events and events[0][0] <= end:
            at, number = heappop(events)
            replica = self.replicas[number]
            if replica.engine.next_at != at:
                continue
            self._scrape(at)
            for job in replica.engine.advance():
                self._tell(job, at)
            self._schedule(number)
            self._drain(at)
        if end < NEVER:
            self._scrape(end)

    def arrive(self, record: Served, now: float) -> None:
        """A request comes in."""
        if self._cap is None:
            self._send(record, None, now)
            return
        ticket = self._ticket(record.arrival, now)
        if not len(self._queue) and any(each.in_flight < self._cap for each in self.replicas):
            self._queue.charge(ticket)
            self._send(record, ticket, now)
            return
        try:
            self._queue.push(ticket, now)
        except QueueFull:
            record.outcome = QUEUE_FULL
            return
        self._waiting[ticket] = record
        self._drain(now)

    def _ticket(self, arrival: Arrival, now: float) -> Ticket:
        fair = self._setup.fair
        return Ticket(
            tenant=arrival.tenant if fair else "",
            priority=arrival.level if fair else 0,
            weight=arrival.weight if fair else 1.0,
            input_tokens=arrival.input_tokens,
            cached_tokens=0,
            output_tokens=self._estimator.output(None),
            arrived_at=now,
            deadline=now + self._setup.queue.max_wait,
        )

    def _drain(self, now: float) -> None:
        """Give free slots to those who wait."""
        if not self._waiting:
            return
        cap = self._cap
        while cap is not None and any(each.in_flight < cap for each in self.replicas):
            ticket = self._queue.pop(now)
            if ticket is None:
                break
            self._send(self._waiting.pop(ticket), ticket, now)
        for late in self._queue.expire(now):
            self._waiting.pop(late).outcome = QUEUE_TIMEOUT

    def _send(self, record: Served, ticket: Ticket | None, now: float) -> None:
        """Choose a replica, and hand the request over."""
        arrival, cap = record.arrival, self._cap
        job = Job(arrival.input_tokens, arrival.output_tokens, arrival.blocks, arrival.block_tokens)
        usable = [at for at, each in enumerate(self.replicas) if cap is None or each.in_flight < cap]
        at, cached = self._choose(arrival, usable)
        replica = self.replicas[at]
        record.replica, record.routed_at = at, now
        if not replica.engine.fits(job):
            record.outcome = TOO_LONG
            if ticket is not None:
                self._queue.settle(ticket, 0, 0, 0)
            return
        prefill, expected = arrival.input_tokens - cached, int(OUTPUT_WEIGHT * self._estimator.output(None))
        self._flights[job] = _Flight(record, replica, ticket, prefill, expected)
        replica.in_flight += 1
        replica.outstanding += prefill + expected
        replica.engine.submit(job, now)
        self._schedule(at)

    def _choose(self, arrival: Arrival, usable: Sequence[int]) -> tuple[int, int]:
        """(the replica, prompt tokens that its cache is expected to hold)."""
        blocks: Sequence[int] = arrival.blocks if self._policy in READS_PREFIXES else ()
        if blocks and arrival.block_tokens != self._block_tokens:
            self._resize(arrival.block_tokens)
        seen = []
        for at in usable:
            replica = self.replicas[at]
            held = self._index.matched(replica.name, blocks) * arrival.block_tokens if blocks else 0
            seen.append(
                Candidate(
                    replica.name, 1.0, replica.in_flight, replica.outstanding, held, replica.kv_usage, replica.waiting
                )
            )
        affinity = _affinity(arrival) if self._policy in READS_AFFINITY else 0
        ask = Ask(arrival.input_tokens, affinity, self._turn, self._random.getrandbits(64))
        self._turn += 1
        place = self._policy(seen, ask).position if len(seen) > 1 else 0
        if blocks:
            self._index.add(seen[place].name, blocks)
        return usable[place], seen[place].cached

    def _resize(self, block_tokens: int) -> None:
        """As many blocks as an engine's KV cache has room for, as the gateway learns it from the engine."""
        self._block_tokens = block_tokens
        for each in self.replicas:
            self._index.resize(each.name, max(1, self._setup.engine.kv_tokens // block_tokens))

    def _schedule(self, number: int) -> None:
        at = self.replicas[number].engine.next_at
        if at < NEVER:
            heappush(self._events, (at, number))

    def _tell(self, job: Job, now: float) -> None:
        """A first token, or the last one, reaches the gateway."""
        flight = self._flights[job]
        replica, record = flight.replica, flight.record
        replica.outstanding -= flight.prefill
        flight.prefill = 0
        if job.finished_at is None:
            return
        del self._flights[job]
        replica.in_flight -= 1
        replica.outstanding -= flight.expected
        record.started_at = now if job.started_at is None else job.started_at
        record.first_at = now if job.first_at is None else job.first_at
        record.finished_at, record.cached, record.preempted = now, job.cached, job.preempted
        self._estimator.settled(0, 0, job.output_tokens)
        if flight.ticket is not None:
            self._queue.settle(flight.ticket, job.input_tokens, job.cached, job.output_tokens)

    def _scrape(self, now: float) -> None:
        for number, at in self._scrapes.latest(now):
            replica = self.replicas[number]
            replica.kv_usage, replica.waiting = replica.engine.usage(at), replica.engine.waiting


def _affinity(arrival: Arrival) -> int:
    """The first block's hash, spread over 64 bits: a trace may count its blocks."""
    if not arrival.blocks:
        return 0
    return int.from_bytes(blake2b(b"%d" % arrival.blocks[0], digest_size=8).digest(), "big") or 1
