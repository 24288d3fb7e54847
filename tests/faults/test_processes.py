"""Processes that hang, answer nonsense, are slow, or are killed at any moment: gateways, engines, PostgreSQL, Redis.

One fleet for all of it: two gateways over two engines, each in a process of its own.
"""

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.engines import EngineProcess, engines
from tests.faults.invariants import metrics, nothing_is_left, sizes
from tests.faults.standing import SLOTS, TIMEOUTS, Fleet, fleet
from tests.gateway.postgres import Postgres
from tests.gateway.postgres import running as postgres_running
from tests.gateway.redis_server import RedisServer, redis_server
from tests.polling import tick, until

FAST_S, SLOW_S = 0.002, 0.2
"""A token's time, and a hundred times as much."""
IDLE_S = 1
KILLS = 6
WRONG = (
    ("stall", {}, "upstream_timeout"),
    ("stall", {"after": 2}, "upstream_timeout"),
    ("close", {"after": 2}, "upstream_failed"),
    ("reset", {"after": 2}, "upstream_failed"),
    ("garbage", {"after": 2}, "upstream_failed"),
    ("garbage_json", {"after": 2}, "upstream_failed"),
    ("error_event", {"after": 2}, "upstream_failed"),
)
"""What no other engine can mend, since the client has a part of the answer, or the work was most likely done."""
MENDED = ("refuse", "error", "close", "reset", "garbage", "error_200_flat", "error_200_nested", "garbage_json")
"""What another engine answers in place of the one that does so before its first byte."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, RedisServer]]:
    with postgres_running() as postgres, redis_server(tmp_path) as redis:
        yield postgres, redis


async def test_processes_that_fail_in_any_way_leave_nothing_behind(
    tmp_path: Path, servers: tuple[Postgres, RedisServer]
) -> None:
    timeouts = {**TIMEOUTS, "first_byte": IDLE_S, "idle": IDLE_S, "total": 20}
    async with (
        engines(2, "--step-s", str(FAST_S)) as fast,
        engines(1, "--step-s", str(SLOW_S)) as slow,
        fleet(tmp_path, servers, [each.port for each in (*fast, *slow)], 2, timeouts=timeouts) as (made, stack),
    ):
        keys = [made.key(team) for team in ("free", "search", "pilot")]
        for key in keys:
            await made.everywhere(key, 200)
        await made.asks(made.gateways, keys, 4 * SLOTS)
        before = await sizes(made)
        await _a_hundred_times_slower(made, slow[0], keys[0])
        await _wrong(made, [*fast, *slow], keys)
        await nothing_is_left(made, before, keys[1])
        await _standing_still(made, fast[0], keys)
        await nothing_is_left(made, before, keys[1])
        await _killed_at_any_moment(made, stack, fast, keys)
        await nothing_is_left(made, before, keys[1])


async def _a_hundred_times_slower(made: Fleet, slow: EngineProcess, key: str) -> None:
    """All are answered, those by the slow one too, and nothing takes it for a broken one."""
    told = await made.asks(made.gateways, [key], 6 * SLOTS)
    assert {(each.status, each.code) for each in told} == {(200, "")}
    assert "main-2" in {each.answer.header("x-tollgate-replica") for each in told if each.answer}
    await slow.kill()


async def _wrong(made: Fleet, all_engines: list[EngineProcess], keys: list[str]) -> None:
    """Each fault, in streams: a client hears which it was, or another engine answers."""
    fast = all_engines[:2]
    for kind, parts, code in WRONG:
        for engine in fast:
            await engine.fault(kind=kind, times=1, **parts)
        told = await asyncio.gather(*(made.ask(made.gateways[0], keys[2], stream=True) for _ in range(6)))
        found = {each.code for each in told}
        assert code in found, (kind, parts, found)
        assert found <= {code, "", "upstream_failed", "upstream_timeout"}
        assert sum(each.code != "" for each in told) <= 2
        await made.everywhere(keys[2], 200)
    for kind in MENDED:
        await fast[0].fault(kind=kind, times=1)
        told = await asyncio.gather(*(made.ask(made.gateways[1], keys[2]) for _ in range(6)))
        statuses = [each.status for each in told]
        assert statuses.count(200) >= 5, (kind, statuses)
        assert set(statuses) <= {200, 400, 502}, (kind, statuses)
    for engine in fast:
        await made.asks(made.gateways, keys, 2)
        await engine.clear()


async def _standing_still(made: Fleet, engine: EngineProcess, keys: list[str]) -> None:
    """It accepts connections and says nothing: who waits for it is told so, and then nobody is sent there."""
    engine.signal(signal.SIGSTOP)
    told = await made.asks(made.gateways, keys[:1], 4 * SLOTS)
    assert {each.code for each in told} <= {"", "upstream_timeout"}

    async def known() -> bool:
        return [await metrics(each, "tollgate_replica_up") for each in made.gateways] == [1, 1]

    await until(known)
    told = await made.asks(made.gateways, keys[:1], 2 * SLOTS)
    assert {each.code for each in told} == {""}
    engine.signal(signal.SIGCONT)

    async def back() -> bool:
        return [await metrics(each, "tollgate_replica_up") for each in made.gateways] == [2, 2]

    await until(back)


async def _killed_at_any_moment(made: Fleet, stack: AsyncExitStack, fast: list[EngineProcess], keys: list[str]) -> None:
    """Victims and moments of a seed, one after the other, each back at once, while clients ask all the time."""
    begun, clients_count = len(made.told), 4
    draw, over = random.Random(20_261_129), asyncio.Event()
    made.killed = True

    async def client(number: int) -> None:
        while not over.is_set():
            await made.ask(made.gateways[number % 2], keys[number % 3], stream=number % 4 > 1)
            await tick()

    clients = [asyncio.create_task(client(number)) for number in range(clients_count)]
    for victim in draw.sample([*range(4)] * 2, KILLS):
        enough = len(made.told) + draw.randrange(5, 30)
        await until(lambda enough=enough: len(made.told) >= enough)
        if victim == 0:
            await _gateway_again(made, stack, draw.randrange(2))
        elif victim == 1:
            engine = fast[draw.randrange(2)]
            await engine.kill()
            await engine.start()
        elif victim == 2:
            await asyncio.to_thread(made.postgres.stop)
            await asyncio.to_thread(made.postgres.start)
        else:
            await asyncio.to_thread(made.redis.stop)
            await asyncio.to_thread(made.redis.start)
    over.set()
    await asyncio.gather(*clients)
    for key in keys:
        await made.everywhere(key, 200)
    outcomes = {each.code for each in made.told[begun:]}
    assert outcomes <= {"", "budget_unavailable", "rate_limit_exceeded", *UPSTREAM}, outcomes


UPSTREAM = {"upstream_failed", "upstream_timeout", "upstream_unavailable", "upstream_overloaded", "invalid_request"}


async def _gateway_again(made: Fleet, stack: AsyncExitStack, number: int) -> None:
    gateway = made.gateways[number]
    gateway.process.kill()
    await gateway.process.wait()
    made.gateways[number] = await made.start(stack, number)
