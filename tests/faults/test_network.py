"""The network between gateways and what they stand on: cut, so that packets vanish without a word, and slow.

One fleet for all of it: a start of each process costs seconds. What takes long here is waiting, and no work.
"""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.stores.leadership import SILENT_S
from gateway.upstreams.silent import LONGEST_S
from tests.engine.simulator import Engine
from tests.faults.invariants import metrics, nothing_is_left, sizes
from tests.faults.network import Network, network
from tests.faults.standing import PATH, SLOTS, Fleet, Told, fleet
from tests.gateway.postgres import Postgres
from tests.gateway.postgres import running as postgres_running
from tests.gateway.process import Gateway
from tests.gateway.redis_server import RedisServer, redis_server
from tests.polling import until

BUSY_S = 10.0
"""What a busy machine may take beyond what is promised."""


@pytest.fixture
def net() -> Iterator[Network]:
    with network(2) as made:
        yield made


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, RedisServer]]:
    with postgres_running() as postgres, redis_server(tmp_path) as redis:
        yield postgres, redis


async def test_a_cut_network_hangs_nobody_and_all_is_back_when_it_is(
    tmp_path: Path, net: Network, servers: tuple[Postgres, RedisServer]
) -> None:
    async with (
        Engine("faq") as one,
        Engine("faq") as two,
        fleet(tmp_path, servers, [one.port, two.port], 2, network=net) as (made, stack),
    ):
        keys = [made.key(team) for team in ("free", "search", "pilot")]
        for key in keys:
            await made.everywhere(key, 200)
        await made.asks(made.gateways, keys, 4 * SLOTS)
        before = await sizes(made)
        cut, whole = await _leader_first(made)
        number = made.gateways.index(cut)
        await _from_redis(made, number, keys)
        await nothing_is_left(made, before, keys[1])
        held = await _until_held(made, cut, one, keys[0])
        for way in ("engine-0", "postgres"):
            net.cut(number, made.ways[way].port)
        one.resume()
        _, fresh = await asyncio.gather(_from_an_engine(made, cut, held, keys[0]), _from_postgresql(made, cut, keys))
        net.heal()
        await _postgresql_is_back(made, cut, fresh)
        await _engine_is_back(made, cut, one, keys[0])
        await nothing_is_left(made, before, keys[1])
        await _slow(made, keys)
        await nothing_is_left(made, before, keys[1])
        await _stopped_while_cut(made, stack, number, keys[0])
        await nothing_is_left(made, {whole.process.pid: before[whole.process.pid]}, keys[1])


async def _leader_first(made: Fleet) -> tuple[Gateway, Gateway]:
    """(who leads, the other one)."""
    found: list[Gateway] = []

    async def one() -> bool:
        found[:] = sorted(made.gateways, key=lambda each: each.url)
        leads = [await metrics(each, "tollgate_leader") for each in found]
        if leads[1]:
            found.reverse()
        return sum(leads) == 1

    await until(one)
    return found[0], found[1]


async def _from_redis(made: Fleet, number: int, keys: list[str]) -> None:
    """Budgets are refused by the gateway that cannot ask, and limits are its part; the other hears nothing of it."""
    cut, whole = made.gateways[number], made.gateways[1 - number]
    assert made.network is not None
    made.network.cut(number, made.ways["redis"].port)
    began = time.monotonic()
    assert (await made.ask(cut, keys[2])).code == "budget_unavailable"
    assert time.monotonic() - began < BUSY_S, "three times `redis.timeout`"
    await made.everywhere(keys[0], 200)
    await made.everywhere(keys[1], 200)
    await made.everywhere(keys[2], 200, [whole])
    await cut.logged("Redis, which shares the limits, is away")
    assert "is away" not in whole.errors
    made.network.heal()
    await cut.logged("limits are shared again by 2 gateways")
    await made.everywhere(keys[2], 200)


async def _from_an_engine(made: Fleet, cut: Gateway, held: list[asyncio.Task[Told]], key: str) -> None:
    """A stream that it was in the middle of breaks off, what had not begun is answered by another engine."""
    began = time.monotonic()
    first = await made.asks([cut], [key], SLOTS)
    assert {each.status for each in first} == {200}
    told = await asyncio.gather(*held)
    assert time.monotonic() - began < LONGEST_S + BUSY_S
    assert {(each.status, each.code) for each in told} == {(200, "upstream_failed"), (200, "")}
    # It is known to be down: nobody tries it.
    began = time.monotonic()
    assert {each.status for each in await made.asks([cut], [key], SLOTS)} == {200}
    assert time.monotonic() - began < BUSY_S / 2


async def _engine_is_back(made: Fleet, cut: Gateway, engine: Engine, key: str) -> None:
    await until(lambda: engine.waiting + engine.running == 0)
    received = len(engine.received(PATH))

    async def used_again() -> bool:
        await made.ask(cut, key)
        return len(engine.received(PATH)) > received

    await until(used_again)


async def _until_held(made: Fleet, cut: Gateway, engine: Engine, key: str) -> list[asyncio.Task[Told]]:
    """Requests in the engine, streams of which a token was seen among them, and whole answers."""
    engine.hold()
    made_before = engine.generated_tokens
    asking = [asyncio.create_task(made.ask(cut, key, stream=at < SLOTS // 2)) for at in range(SLOTS)]
    await until(lambda: sum(each.done() for each in asking) + engine.running == SLOTS)
    held = [each for each in asking if not each.done()]
    engine.step(len(held))
    await until(lambda: engine.generated_tokens >= made_before + len(held))
    return held


async def _from_postgresql(made: Fleet, cut: Gateway, keys: list[str]) -> str:
    """Requests go on, and rows wait. The lead passes on, though the leader's connection was never closed.

    Returns a key of which the gateway that is cut off has not heard.
    """
    (whole,) = [each for each in made.gateways if each is not cut]
    began = time.monotonic()
    fresh = made.key("free")
    told = await made.asks([cut], [keys[0], keys[2]], 3 * SLOTS)
    assert {each.status for each in told} == {200}
    await made.everywhere(fresh, 200, [whole])
    assert (await made.ask(cut, fresh)).status == 401, "it has not heard of the key"
    assert await metrics(cut, "tollgate_ledger_lag_rows") > 0
    await until(lambda: _leads(whole))
    assert time.monotonic() - began < SILENT_S + 2 + BUSY_S
    await cut.logged("nothing is lost")
    return fresh


async def _postgresql_is_back(made: Fleet, cut: Gateway, fresh: str) -> None:
    began = time.monotonic()
    await made.everywhere(fresh, 200)
    await until(lambda: _drained(cut))
    assert time.monotonic() - began < 2 * BUSY_S
    leaders = [each for each in made.gateways if await _leads(each)]
    assert len(leaders) == 1
    assert cut not in leaders


async def _leads(gateway: Gateway) -> bool:
    return await metrics(gateway, "tollgate_leader") == 1


async def _drained(gateway: Gateway) -> bool:
    return await metrics(gateway, "tollgate_ledger_lag_rows") == 0


async def _slow(made: Fleet, keys: list[str]) -> None:
    """Half a second there and back to everything: later, and nothing else. Beyond `redis.timeout` it is as if away."""
    for way in made.ways.values():
        way.delay_s = 0.1
    assert {each.status for each in await made.asks(made.gateways, keys, 3 * SLOTS)} <= {200, 429}
    made.ways["redis"].delay_s = 2
    assert (await made.ask(made.gateways[0], keys[2])).code == "budget_unavailable"
    assert (await made.ask(made.gateways[0], keys[0])).status == 200
    for way in made.ways.values():
        way.delay_s = 0
    for key in keys:
        await made.everywhere(key, 200)


async def _stopped_while_cut(made: Fleet, stack: AsyncExitStack, number: int, key: str) -> None:
    """It ends all the same, and what the database has not heard is told by its next life."""
    cut = made.gateways[number]
    assert made.network is not None
    made.network.cut(number, made.ways["postgres"].port)
    made.network.cut(number, made.ways["redis"].port)
    told = await made.asks([cut], [key], SLOTS)
    assert {each.status for each in told} == {200}
    began = time.monotonic()
    cut.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(120):
        assert await cut.process.wait() == 0
    assert time.monotonic() - began < 4 * BUSY_S
    made.network.heal()
    made.gateways[number] = await made.start(stack, number)
