"""What goes wrong in a soak: faults out of a seeded generator, each with its begin, its time and its end.

The first gateway is never ended, so that its memory can be told over the whole time; it is stopped, told of new
configurations and cut off like the others.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from benchmarks.soak import processes
from benchmarks.soak.load import Load
from benchmarks.soak.processes import Child
from benchmarks.soak.stack import AWAY, DRAIN_S, GRACE_S, Stack
from tests.engine import raw

GAP_S = (0.5, 3.0)
HOLD_S = (0.3, 4.0)
TOGETHER = 0.2
"""How often the next one begins at once."""
ENGINE_FAULTS = (
    {"kind": "stall", "after": 2, "times": 3},
    {"kind": "stall", "times": 2},
    {"kind": "close", "after": 3, "times": 4},
    {"kind": "reset", "after": 1, "times": 4},
    {"kind": "reset", "times": 4},
    {"kind": "half_close", "after": 2, "times": 3},
    {"kind": "garbage", "after": 2, "times": 4},
    {"kind": "garbage", "times": 4},
    {"kind": "garbage_json", "times": 4},
    {"kind": "garbage_json", "after": 1, "times": 4},
    {"kind": "error_200_flat", "times": 4},
    {"kind": "error_200_nested", "times": 4},
    {"kind": "error_event", "after": 2, "times": 4, "message": "generation failed"},
    {"kind": "wrong_length", "times": 4},
    {"kind": "error", "status": 500, "times": 6},
    {"kind": "refuse", "times": 10},
    {"kind": "drip", "size": 3, "times": 6},
)
Result = TypeVar("Result")
Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and is put right after `hold_s` seconds."""

    name: str
    begin: Step
    end: Step


@dataclass
class Faults:
    """`happened` counts them; `now` names those that hold. Several hold at once where they are of different things."""

    stack: Stack
    load: Load
    draw: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    now: list[str] = field(default_factory=list)
    _held: set[str] = field(default_factory=set)

    async def until(self, over: asyncio.Event) -> None:
        """One after the other, some together, until it is over; then all is put right."""
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                if self.draw.random() > TOGETHER:
                    await _either(over, self.draw.uniform(*GAP_S))
                if not over.is_set():
                    thing, fault = self._drawn()
                    if thing not in self._held:
                        self._held.add(thing)
                        group.create_task(self._one(thing, fault, self.draw.uniform(*HOLD_S), over))

    async def _one(self, thing: str, fault: Fault, hold_s: float, over: asyncio.Event) -> None:
        self.happened[fault.name] += 1
        self.now.append(f"{fault.name} {thing}")
        try:
            await fault.begin()
            await _either(over, hold_s)
            await fault.end()
        finally:
            self.now.remove(f"{fault.name} {thing}")
            self._held.discard(thing)

    def _drawn(self) -> tuple[str, Fault]:
        """(what it strikes, the fault)."""
        draw, stack = self.draw, self.stack
        engine, gateway = draw.choice(stack.engines), draw.choice(stack.gateways)
        mortal = draw.choice(stack.gateways[1:] or [None])
        kinds: list[tuple[float, str, Fault]] = [
            (3, engine.name, self._killed(engine)),
            (3, engine.name, _stopped(engine)),
            (8, engine.name, self._wrong(engine)),
            (3, "redis", self._redis_killed()),
            (2, "redis", _paused("redis is stopped", lambda: [stack.redis.pid])),
            (2, "postgres", self._postgres_killed()),
            (2, "postgres", _paused("postgres is stopped", lambda: processes.family(stack.postgres.pid))),
            (2, gateway.name, _stopped(gateway)),
            (3, gateway.name, self._reloaded(gateway)),
            (3, "keys", self._keyed()),
            (2, "releases", self._promoted()),
        ]
        if mortal is not None:
            kinds += [(4, mortal.name, self._killed(mortal)), (4, mortal.name, self._restarted(mortal))]
        ((_, thing, fault),) = draw.choices(kinds, [weight for weight, _, _ in kinds])
        return thing, fault

    def _killed(self, child: Child) -> Fault:
        kind = child.name.partition("-")[0]

        async def begin() -> None:
            await asyncio.to_thread(child.kill)

        return Fault(f"kill -9 of a {kind}", begin, lambda: self._up(child))

    async def _up(self, child: Child) -> None:
        child.start()
        await self.stack.up(child)

    def _restarted(self, child: Child) -> Fault:
        async def begin() -> None:
            child.signal(signal.SIGTERM)
            await asyncio.to_thread(child.wait, DRAIN_S + GRACE_S + 30.0)  # also while everything else is away

        return Fault("SIGTERM of a gateway", begin, lambda: self._up(child))

    def _redis_killed(self) -> Fault:
        return Fault("kill -9 of redis", _threaded(self.stack.redis.stop), _threaded(self.stack.start_redis))

    def _postgres_killed(self) -> Fault:
        return Fault("kill -9 of postgres", _threaded(self.stack.kill_postgres), _threaded(self.stack.start_postgres))

    def _wrong(self, engine: Child) -> Fault:
        told = self.draw.choice(ENGINE_FAULTS)

        async def begin() -> None:
            await _tell(engine, "POST", [told])

        return Fault(f"engine: {told['kind']}", begin, lambda: _tell(engine, "DELETE", None))

    def _reloaded(self, gateway: Child) -> Fault:
        async def begin() -> None:
            self.stack.most_body += 1024
            self.stack.configure(gateway)
            gateway.signal(signal.SIGHUP)

        return Fault("SIGHUP with another configuration", begin, _nothing)

    def _keyed(self) -> Fault:
        made: list[str] = []

        async def begin() -> None:
            made.append(await _database(lambda: self.stack.key("free")))
            self.load.extra.append(made[0])

        async def end() -> None:
            self.load.extra.remove(made[0])
            await _database(lambda: self.stack.revoke(made[0]))

        return Fault("a key is made and revoked", begin, end)

    def _promoted(self) -> Fault:
        other = {"faq@1": "faq@2", "faq@2": "faq@1"}[self.stack.release]

        async def begin() -> None:
            await _database(lambda: self.stack.promote(other))

        return Fault("a release is promoted", begin, _nothing)


def _stopped(child: Child) -> Fault:
    return _paused(f"a {child.name.partition('-')[0]} is stopped", lambda: [child.pid])


def _paused(name: str, pids: Callable[[], Sequence[int]]) -> Fault:
    """SIGSTOP, then SIGCONT: its sockets stay open, and nobody answers."""
    stopped: list[int] = []

    async def begin() -> None:
        stopped.extend(pids())
        processes.tell(stopped, signal.SIGSTOP)

    async def end() -> None:
        processes.tell(stopped, signal.SIGCONT)

    return Fault(name, begin, end)


def _threaded(work: Callable[[], None]) -> Step:
    async def step() -> None:
        await asyncio.to_thread(work)

    return step


async def _nothing() -> None:
    """It stays as it is."""


async def _tell(engine: Child, method: str, faults: object) -> None:
    """Faults for an engine, which may be away."""
    try:
        async with asyncio.timeout(2):
            await raw.exchange(engine.url, method, "/_fault", faults)
    except AWAY:
        return


async def _database(work: Callable[[], Result]) -> Result:
    """What is to be written to PostgreSQL, which another fault may have taken away: until it is back."""
    while True:
        try:
            return await asyncio.to_thread(work)
        except SQLAlchemyError:
            await asyncio.sleep(0.2)


async def _either(over: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until it is over."""
    try:
        await asyncio.wait_for(over.wait(), seconds)
    except TimeoutError:
        return
