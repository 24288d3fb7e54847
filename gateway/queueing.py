"""Waiting for a slot of a pool: a replica gets so many requests at once, and the next ones wait in a fair queue.

    if queue.ready(now):                # of a request that not every replica can answer: ready(now, those that can)
        queue.enter(request)
    else:
        await queue.wait(ticket, client)
    ...                                 # choose a replica and enter it, before anything is awaited
    queue.leave(request)                # of one that entered
    ticket = queue.charged.pop(request, None)   # that it got, if somebody has waited meanwhile
    queue.settle(ticket, input_tokens, cached_tokens, output_tokens)    # where there is one, whatever became of it

A slot is free while a replica that may be tried has fewer requests in flight than it may. Whoever is woken has been
given one of them: it is kept for the woken one until its task runs, and passed on if that has been cancelled meanwhile.
While anybody waits nobody passes by.

Some requests need what not every replica holds: an adapter. Those go by the room of the replicas that hold it, and
while these are full others pass by, to replicas that are not.

A pool with room touches no queue. What is in flight there is only noted, and charged once somebody has to wait.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Protocol

from gateway.client import Client, ClientGone
from gateway.contracts.errors import QueueFull, QueueTimeout
from gateway.policy.fairness import FairQueue, Ticket, patience
from gateway.policy.health import away, candidates
from gateway.settings.queue import QueueConfig
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

UNBOUNDED = sys.maxsize
"""Slots of a pool that has no cap, or that nobody can use: then all are told so at once, and may go elsewhere."""


class _Turn(Enum):
    """How a wait ended."""

    SLOT = 1
    LATE = 2
    LEFT = 3
    AWAY = 4


Usable = Callable[[], Sequence[Upstream]]
"""The replicas that can answer what not every one of the pool can."""
Still = Callable[[], None]
"""Raises what ends a request that may not go on, now that its turn has come."""


def _still() -> None:
    """It may."""


class Entrant(Protocol):
    """A request that goes on without a wait, known by its identity."""

    def ticket(self) -> Ticket:
        """What its tenant is charged for it."""


class PoolQueue:
    """The slots of one pool, in one process of the gateway, and who waits for one. It lives as long as its pool.

    `monotonic` gives seconds of one clock, that of the tickets; `draws` spreads what a Retry-After says.
    """

    def __init__(self, pool: str, telemetry: Telemetry, monotonic: Callable[[], float], draws: random.Random) -> None:
        self.pool = pool
        self.config = QueueConfig()
        self.max_wait = self.config.max_wait
        """Seconds; a request's deadline."""
        self.cap = UNBOUNDED
        """Requests that a replica gets at once."""
        self.capped = False
        """Whether anything can wait here; without it no ticket is needed."""
        self.replicas: Sequence[Upstream] = ()
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._draws = draws
        self._queue = FairQueue(self.config)
        self._noted: set[Entrant] = set()
        """In flight, and not charged, because nobody had to wait."""
        self.charged: dict[Entrant, Ticket] = {}
        """Those that were noted when somebody had to, until they are over: whoever ends one takes its ticket."""
        self.enter: Callable[[Entrant], None] = self._noted.add
        """A request goes on without a wait."""
        self.leave: Callable[[Entrant], None] = self._noted.discard
        """A request that entered is over; what has to be settled of it, if anything, is in `charged`."""
        self._waiting: dict[Ticket, asyncio.Future[_Turn]] = {}
        """Everybody whose `wait` has not ended; a future that is done belongs to a task that is about to run."""
        self._usable: dict[str, Usable] = {}
        """Where tickets of a kind can go, while anybody waits."""
        self._guessing: set[Ticket] = set()
        """Those that wait for a replica though it is down or failing, for they have nowhere else to go."""
        self._granted: set[Ticket] = set()
        """Those among them who were given a slot that they have not taken yet."""
        self._due = False

    @property
    def depth(self) -> int:
        """How many wait."""
        return len(self._queue)

    def serve(self, config: QueueConfig, limits: Mapping[int, int | None], replicas: Sequence[Upstream]) -> None:
        """Go on with these settings and replicas; `limits` as for `FairQueue`. Who waits keeps its place."""
        for replica in self.replicas:
            replica.freed = None
        self.config, self.replicas = config, replicas
        self.capped, self.max_wait = config.max_in_flight is not None, config.max_wait
        self.cap = UNBOUNDED if config.max_in_flight is None else config.max_in_flight
        self._queue.configure(config, limits)
        self._listen()
        if self._waiting:
            self._hand_over()

    def ready(self, now: float, usable: Sequence[Upstream] | None = None) -> bool:
        """Whether a request may go on at once: nobody waits, and a replica that may be tried has room.

        One of the `usable` ones, where not every replica of the pool can answer it.
        """
        if self._waiting:
            return not self.capped
        cap, replicas = self.cap, self.replicas if usable is None else usable
        for replica in replicas:
            if replica.in_flight + replica.before < cap and replica.vitals.whole_from <= now:
                return True
        return self._free(now, replicas) > 0

    async def wait(
        self, ticket: Ticket, client: Client, usable: Usable | None = None, guess: bool = False, still: Still = _still
    ) -> None:
        """Wait for a slot; it is to be taken before anything else is awaited. `usable` tells where a kind can go.

        Raises QueueFull, QueueTimeout when the ticket's deadline comes first, ClientGone when its client leaves, what
        `still` raises, and UpstreamUnavailable, without `guess`, once all that it could go to are down or failing.
        """
        begun = self._monotonic()
        self._push(ticket, begun)
        if usable is not None:
            self._usable[ticket.kind] = usable
        if guess:
            self._guessing.add(ticket)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, ticket.deadline - begun), self._end, ticket, _Turn.LATE)
        served = False
        try:
            while not served:
                turn = self._waiting[ticket] = loop.create_future()
                self._listen()
                client.aborts(lambda _: self._end(ticket, _Turn.LEFT))
                self._hand_over()
                served = self._takes(ticket, client, await turn, still)
        finally:
            timer.cancel()
            client.aborts(None)
            del self._waiting[ticket]
            self._guessing.discard(ticket)
            if not self._waiting:
                self._usable.clear()
            self._listen()
            self._telemetry.queue_wait.labels(self.pool).observe(self._monotonic() - begun)
            if not served:
                self._granted.discard(ticket)
                self._queue.cancel(ticket)
                self._queue.settle(ticket, 0, 0, 0.0)
                self._hand_over()

    def settle(self, ticket: Ticket, input_tokens: int, cached_tokens: int, output_tokens: float) -> None:
        """What a request took that was charged; zeros for one that no replica served."""
        self._queue.settle(ticket, input_tokens, cached_tokens, output_tokens)

    def tick(self) -> None:
        """To be called now and then: replicas that are back, and trials that are due, make room without a word."""
        self._telemetry.queue_depth.labels(self.pool).set(self.depth)
        if self._waiting:
            self._hand_over()

    def _push(self, ticket: Ticket, now: float) -> None:
        for noted in self._noted:
            charged = self.charged[noted] = noted.ticket()
            self._queue.charge(charged)
        self._noted.clear()
        try:
            self._queue.push(ticket, now)
        except QueueFull as full:
            self._refused("full")
            full.retry_after = self._retry_after(ticket, now)
            raise

    def _takes(self, ticket: Ticket, client: Client, turn: _Turn, still: Still) -> bool:
        """Whether a woken request has its slot. Raises what else woke it."""
        now = self._monotonic()
        if turn is _Turn.LATE:
            self._refused("timeout")
            busy_s = now - ticket.arrived_at
            raise QueueTimeout(
                f"every replica of this model was busy for {busy_s:.1f} s, and nobody waits longer: ask again later",
                retry_after=self._retry_after(ticket, now),
            )
        if turn is _Turn.AWAY:
            raise away(self._of(ticket), now)
        if turn is _Turn.LEFT or client.gone:
            raise ClientGone
        still()
        self._granted.discard(ticket)
        if self._free(now, self.replicas) > len(self._granted) and self._free(now, self._of(ticket)) > 0:
            if self._usable:  # what it leaves may be the slot that another one needs
                self._freed()
            return True
        self._queue.put_back(ticket)  # its replica has gone down since
        return False

    def _end(self, ticket: Ticket, turn: _Turn) -> None:
        """End a wait that has not ended yet."""
        future = self._waiting.get(ticket)
        if future is not None and not future.done():
            self._queue.cancel(ticket)
            future.set_result(turn)

    def _listen(self) -> None:
        """Hear of requests that end while somebody waits, and only then. Not without a cap: heirs may hear instead."""
        heard = self._freed if self._waiting else None
        for replica in self.replicas if self.capped else ():
            replica.freed = heard

    def _freed(self) -> None:
        """A request is over. What it took is settled before the next one is chosen, and many ends are one round."""
        if self._waiting and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give every slot that is free to whoever is next."""
        self._due = False
        now = self._monotonic()
        for late in self._queue.expire(now):
            self._end(late, _Turn.LATE)
        self._send_on(now)
        free = self._free(now, self.replicas) if len(self._queue) else 0
        fits = partial(self._fits, now) if self._usable else None
        while free > len(self._granted) and (ticket := self._queue.pop(now, fits)) is not None:
            future = self._waiting[ticket]
            if future.done():  # its task was cancelled, and has not run yet
                self._queue.settle(ticket, 0, 0, 0.0)
            else:
                self._granted.add(ticket)
                future.set_result(_Turn.SLOT)

    def _send_on(self, now: float) -> None:
        """Have nobody wait for replicas that are down or failing while another model may answer."""
        reach = {"": self.replicas, **{kind: usable() for kind, usable in self._usable.items()}}
        lost = {kind for kind, replicas in reach.items() if not candidates(replicas, now, guess=False)[0]}
        if lost:
            for ticket in [each for each in self._waiting if each.kind in lost and each not in self._guessing]:
                self._end(ticket, _Turn.AWAY)

    def _of(self, ticket: Ticket) -> Sequence[Upstream]:
        """Where it can go."""
        usable = self._usable.get(ticket.kind)
        return self.replicas if usable is None else usable()

    def _fits(self, now: float, kind: str) -> bool:
        """Whether there is a slot for a kind. One that was given away may turn out to be any."""
        usable = self._usable.get(kind)
        return usable is None or self._free(now, usable()) > len(self._granted)

    def _free(self, now: float, replicas: Sequence[Upstream]) -> int:
        """The slots that are not taken, those that were given to somebody among them.

        A replica whose breaker is not closed has one: its trial.
        """
        cap = self.cap
        positions, _ = candidates(replicas, now)
        if not self.capped or not positions:
            return UNBOUNDED
        free = 0
        for replica in map(replicas.__getitem__, positions):
            room = cap - replica.in_flight - replica.before
            free += max(0, room if replica.breaker.closed else min(1, room))
        return free

    def _refused(self, reason: str) -> None:
        self._telemetry.queue_refusals.labels(self.pool, reason).inc()

    def _retry_after(self, ticket: Ticket, now: float) -> int:
        """By Little's law (L = λW) a replica with L requests in flight that take W seconds each ends L / W a second."""
        replicas, ending_per_s = self._of(ticket), 0.0
        positions, _ = candidates(replicas, now)
        for replica in map(replicas.__getitem__, positions):
            if replica.vitals.request_s:
                ending_per_s += max(1, replica.in_flight + replica.before) / replica.vitals.request_s
        return patience(self._queue.ahead(ticket.priority), ending_per_s, self._draws.random())
