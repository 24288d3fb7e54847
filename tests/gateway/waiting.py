"""Requests that want slots of a pool without engines: what the data plane does with a queue, and nothing else."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.client import Client, ClientGone
from gateway.contracts.errors import QueueFull, QueueTimeout, UpstreamUnavailable
from gateway.policy.fairness import Ticket
from gateway.policy.health import LIMIT, Vitals, candidates
from gateway.queueing import PoolQueue
from gateway.settings.queue import QueueConfig
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Counted
from tests.gateway.virtual import Loop, pause, turns


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run it in a time of its own."""

    async def whole() -> None:
        await work()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(whole())


def now() -> float:
    """The time there."""
    return asyncio.get_running_loop().time()


def client() -> Client:
    """One that only stays, or leaves."""
    return Client("POST", "/v1/completions", 5.0)


@dataclass(frozen=True, eq=False)
class Request:
    """One that enters a queue. It has its ticket from the start, and shows it when it is asked."""

    made: Ticket

    def ticket(self) -> Ticket:
        """What its tenant is charged."""
        return self.made


class World:
    """A queue over replicas that answer when they are told to. `most` is the largest load that a replica had.

    `skew` is by how many seconds the clock is ahead of the loop's timers. `usable` has the replicas of a kind of
    request that not every one of them can answer.
    """

    def __init__(self, *, replicas: int = 1, limits: dict[int, int | None] | None = None, **config: object) -> None:
        self.telemetry = Telemetry()
        self.skew = 0.0
        self.replicas = [Counted(f"r{at}", (at,), Vitals()) for at in range(replicas)]
        self.queue = PoolQueue("main", self.telemetry, lambda: now() + self.skew, random.Random(7))
        self.queue.serve(QueueConfig.model_validate({"max_in_flight": 1, **config}), limits or {}, self.replicas)
        self.usable: dict[str, Sequence[Counted]] = {}
        self.ends: dict[str, str] = {}
        self.order: list[str] = []
        self.most = 0

    def ticket(self, tenant: str = "a", priority: int = 0, kind: str = "") -> Ticket:
        """A request that arrives now."""
        return Ticket(tenant, priority, 1.0, 10, 0, 5.0, now(), now() + self.queue.config.max_wait, kind)

    def come(
        self,
        name: str,
        hold: float = 1.0,
        *,
        tenant: str = "a",
        priority: int = 0,
        kind: str = "",
        by: Client | None = None,
        guess: bool = True,
    ) -> "asyncio.Task[None]":
        """A request, from its arrival to its end. `ends` tells how it ended."""
        return asyncio.create_task(self._serve(name, hold, self.ticket(tenant, priority, kind), by or client(), guess))

    async def _serve(self, name: str, hold: float, ticket: Ticket, by: Client, guess: bool) -> None:
        usable = None if ticket.kind not in self.usable else partial(self.usable.__getitem__, ticket.kind)
        entered = Request(ticket) if self.queue.ready(now(), usable and usable()) else None
        try:
            if entered is not None:
                self.queue.enter(entered)
            else:
                await self.queue.wait(ticket, by, usable, guess)
            try:
                await self._on_a_replica(name, hold, self.replicas if usable is None else usable())
            finally:
                if entered is not None:
                    self.queue.leave(entered)
                if entered is None or self.queue.charged.pop(entered, None) is not None:
                    self.queue.settle(ticket, 10, 0, 3.0)
            self.ends[name] = "served"
        except (QueueFull, QueueTimeout, UpstreamUnavailable) as error:
            self.ends[name] = error.code if error.retry_after else "without a Retry-After"
        except ClientGone:
            self.ends[name] = "left"
        except asyncio.CancelledError:
            self.ends[name] = "cancelled"

    async def _on_a_replica(self, name: str, hold: float, replicas: Sequence[Counted]) -> None:
        positions, _ = candidates(replicas, now())
        if not positions:
            return
        replica = min((replicas[at] for at in positions), key=lambda each: each.in_flight)
        self.order.append(name)
        with replica:
            self.most = max(self.most, replica.in_flight)
            await pause(hold)
        replica.vitals.answered(now(), hold)

    async def granted(self) -> None:
        """Until the first request has ended, and its slot is given to one whose task has not run yet."""
        await pause(1.0)
        while not self.queue._granted:
            await turns(1)

    def befall(self, which: int, how: str) -> None:
        """Something happens to a replica."""
        vitals = self.replicas[which].vitals
        match how:
            case "asleep" | "awake":
                vitals.probed(now(), asleep=how == "asleep")
            case "drain" | "undrain":
                vitals.drain(how == "drain", now())
            case "down":
                vitals.missed()
                vitals.missed()
            case "break":
                for _ in range(LIMIT):
                    vitals.failed(now())
            case "mend":
                vitals.succeeded(now())

    @property
    def at_rest(self) -> bool:
        """Whether nothing is held: no slot, no place, no debt, no timer of a wait."""
        queue = self.queue
        bands = queue._queue._bands
        held = (
            queue._waiting
            or queue._guessing
            or queue._granted
            or queue._noted
            or queue.charged
            or queue.depth
            or queue._queue._late
        )
        timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        held = held or any(not each.cancelled() and each._args[1:] for each in timers)  # type: ignore[attr-defined]
        return not held and not any(each.in_flight for each in self.replicas) and not any(band.open for band in bands)
