"""Several gateways over one PostgreSQL and one Redis, each of which dies and comes back while they serve.

One fleet of processes for all that is held: a start of each costs seconds.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import manifest
from tests.gateway.fleet_of import AMOUNT, SLOTS, Fleet, fleet, metric
from tests.gateway.postgres import running as postgres_running
from tests.gateway.process import Gateway
from tests.gateway.redis_server import redis_server
from tests.polling import until

WITHIN_S = 3.0
"""A second is what is promised; a busy machine gets more."""


async def test_a_fleet_counts_as_one_and_survives_what_it_stands_on(tmp_path: Path) -> None:
    with postgres_running() as postgres, redis_server(tmp_path) as redis:
        async with Engine("faq") as engine, fleet(tmp_path, engine, postgres, redis, 4) as (made, stack):
            await _limits_and_budgets_are_those_of_one(made)
            await _all_hear_of_keys_and_releases(made)
            lost = await _the_leader_is_killed(made, stack)
            await _redis_is_away(made)
            await _postgresql_is_away(made)
            assert await made.rows() == lost
            for gateway in made.gateways:
                assert await metric(gateway, "tollgate_open_requests") == 0


async def _limits_and_budgets_are_those_of_one(made: Fleet) -> None:
    search, pilot = made.key("search"), made.key("pilot")
    await made.everywhere(pilot, 200)
    await made.everywhere(search, 200)
    for gateways in (made.gateways, made.gateways, made.gateways[:2], made.gateways[2:3]):
        assert await _until_slots(made, search, gateways) == SLOTS, "others' slots go to who needs them"
    assert 10 < await made.together(pilot, 100) < 40
    assert await made.rows() == {}
    costs = [Decimal(row["cost"]) for row in made.stores.ledger.recent(10_000) if row["team"] == "pilot"]
    assert 0 < sum(costs) <= AMOUNT


async def _all_hear_of_keys_and_releases(made: Fleet) -> None:
    key = made.key("free")
    await made.everywhere(key, 200, "faq@1")
    made.stores.releases.promote("faq", "faq@2", manifest("faq@2").digest(), time.time())
    assert await made.everywhere(key, 200, "faq@2") < WITHIN_S
    for revoked in (key, *(made.key("free") for _ in range(4))):
        assert max(await made.revoked(revoked)) < WITHIN_S


async def _the_leader_is_killed(made: Fleet, stack: AsyncExitStack) -> dict[str, str]:
    """With requests in it: another leads, the slots that it held are free, and its rows are told by its next life."""
    search, free = made.key("search"), made.key("free")
    await made.everywhere(free, 200)
    await made.everywhere(search, 200)
    leader = await _one_leads(made, made.gateways)
    asking = await _held(made, leader, search)
    held = made.engine.running
    leader.process.send_signal(signal.SIGKILL)
    assert (await leader.gather(asking)).count(None) == held
    made.engine.resume()
    others = [each for each in made.gateways if each is not leader]
    await _one_leads(made, others)
    assert await _until_slots(made, search, others) == SLOTS
    number = made.gateways.index(leader)
    made.gateways = others
    made.gateways.insert(number, await made.start(stack, number))
    assert await _until_slots(made, search, made.gateways) == SLOTS
    lost = await made.rows()
    assert list(lost.values()) == ["gateway_lost"] * held
    return lost


async def _one_leads(made: Fleet, gateways: Sequence[Gateway]) -> Gateway:
    """The leader, once one says that it leads: one that lost its connection sees it at its next look."""
    found: list[Gateway] = []

    async def one() -> bool:
        found[:] = await made.leaders(gateways)
        return len(found) == 1

    await until(one)
    return found[0]


async def _held(made: Fleet, gateway: Gateway, key: str) -> list[asyncio.Task[raw.Answer]]:
    """Requests of which some are in the engine: the others may have all of its slots until it asks for its share."""
    made.engine.hold()
    asking: list[asyncio.Task[raw.Answer]] = []

    async def some() -> bool:
        asking.extend(asyncio.create_task(made.ask(gateway, key)) for _ in range(SLOTS))
        await until(lambda: sum(task.done() for task in asking) + made.engine.running == len(asking))
        return made.engine.running > 0

    await until(some)
    return asking


async def _until_slots(made: Fleet, key: str, gateways: Sequence[Gateway], most: int = SLOTS) -> int:
    """What some get together, never more than there are, once the others have given back what they do not use."""
    got = 0
    async with asyncio.timeout(60):
        while got < SLOTS:
            got = await made.together(key, 15 * len(gateways), gateways)
            assert got <= most
    return got


async def _redis_is_away(made: Fleet) -> None:
    free, search, pilot = (made.key(team) for team in ("free", "search", "pilot"))
    for key in (free, search):
        await made.everywhere(key, 200)
    made.redis.stop()
    assert await made.everywhere(pilot, 503) < WITHIN_S + 2, "budgets fail closed"
    for gateway in made.gateways:
        await gateway.logged("Redis, which shares the limits, is away")
    # Once the lease is over each has at least its part, and no more than all of them had together.
    assert await _until_slots(made, search, made.gateways, most=2 * SLOTS - 1) >= SLOTS
    assert await made.everywhere(free, 200) < WITHIN_S + 2
    made.redis.start()
    for gateway in made.gateways:
        await gateway.logged("limits are shared again")
    await made.everywhere(pilot, 200)
    await made.everywhere(search, 200)
    assert await made.together(search, 60) <= SLOTS


async def _postgresql_is_away(made: Fleet) -> None:
    free = made.key("free")
    await made.everywhere(free, 200)
    await made.rows()
    await asyncio.to_thread(made.postgres.stop)
    for _ in range(3):
        assert [(await made.ask(gateway, free)).status for gateway in made.gateways] == [200] * len(made.gateways)
    assert [(await gateway.get("/ready")).status for gateway in made.gateways] == [200] * len(made.gateways)
    await asyncio.to_thread(made.postgres.start)
    await made.rows()
    await _one_leads(made, made.gateways)
