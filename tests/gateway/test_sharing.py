"""Limits over several gateways on one Redis: exact together, moving to who needs them, with Redis and without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.limits import UNLIMITED, Reservation
from gateway.settings.limits import Quota
from gateway.sharing import Sharing, running, sharing_of
from gateway.telemetry import Telemetry
from tests.gateway.builders import principal
from tests.gateway.redis_server import RedisServer
from tests.gateway.sharers import clock_at, configured, one_server
from tests.polling import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with one_server(tmp_path_factory.mktemp("redis")) as made:
        yield made


@asynccontextmanager
async def gateways(server: RedisServer, prefix: str, count: int, **changes: Any) -> AsyncIterator[list[Sharing]]:
    await clock_at(server, prefix, time.time())
    made = []
    for _ in range(count):
        sharing = sharing_of(configured(server, prefix, **changes), Telemetry(), time.monotonic)
        assert sharing is not None
        await sharing.prepare()
        made.append(sharing)
    try:
        yield made
    finally:
        for each in made:
            await each.close()


def asker(key: str = "k", **limits: int) -> Principal:
    return principal(key_id=key, quota=Quota(**limits))


async def ask(sharing: Sharing, who: Principal, tokens: int = 10) -> Reservation | None:
    try:
        return await sharing.admit(who, tokens, time.monotonic())
    except RateLimited:
        return None


async def burst(made: Sequence[Sharing], who: Principal, count: int, tokens: int = 10) -> list[Reservation]:
    found = await asyncio.gather(*(ask(made[number % len(made)], who, tokens) for number in range(count)))
    return [each for each in found if each is not None]


def borrows(sharing: Sharing, result: str) -> float:
    return sharing._telemetry.registry.get_sample_value("tollgate_limit_borrows_total", {"result": result}) or 0.0


@pytest.mark.parametrize("count", [2, 4])
async def test_many_at_once_over_gateways_get_the_limit_and_not_one_more(server: RedisServer, count: int) -> None:
    async with gateways(server, f"many{count}", count) as made:
        # A minute's limit of 6,000 refills a tenth of one request in the millisecond that this may take.
        held = await burst(made, asker(concurrency=30), 300)
        assert len(held) == 30
        began = time.monotonic()
        passed = await burst(made, asker("r", rpm=60), 200)
        assert 60 <= len(passed) <= 60 + (time.monotonic() - began) + 1
        metered = await burst(made, asker("t", tpm=6000), 200, tokens=100)
        assert 54 <= len(metered) <= 60 + 2 * (time.monotonic() - began)


async def test_what_one_gateway_does_not_use_is_soon_anothers(server: RedisServer) -> None:
    async with gateways(server, "move", 2) as (one, two):
        who = asker(rpm=60_000, concurrency=8)
        held = await burst([one], who, 8)
        assert len(held) == 8
        assert await ask(two, who) is None
        for each in held:
            one.admission.settle(each, 5, time.monotonic())
        taken: list[Reservation] = []

        async def all_there() -> bool:
            taken.extend(await burst([two], who, 8 - len(taken)))
            return len(taken) == 8

        await until(all_there)
        assert borrows(two, "refused") >= 1


async def test_requests_do_not_wait_for_redis_where_there_is_room(server: RedisServer) -> None:
    async with gateways(server, "free", 1) as (one,):
        who = asker(rpm=10**9, tpm=10**9)
        for _ in range(2000):
            assert await ask(one, who) is not None
        assert borrows(one, "granted") < 20
        assert await one.admit(principal(), 10**9, 0.0) is UNLIMITED


async def test_what_can_never_pass_asks_nobody(server: RedisServer) -> None:
    async with gateways(server, "never", 1) as (one,):
        with pytest.raises(RateLimited, match="never pass"):
            await one.admit(asker(tpm=100), 101, time.monotonic())
        assert borrows(one, "refused") == 0


async def test_away_each_gateway_has_its_part_and_back_they_share_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    who, idle = asker(concurrency=10), asker("idle", rpm=20)
    with one_server(tmp_path) as server:
        async with gateways(server, "away", 2) as (one, two):
            held = await burst([one], who, 7)
            await until(lambda: one.gateways == two.gateways == 2)
            server.stop()
            await until(lambda: one._away and two._away)
            await until(lambda: time.monotonic() > max(one._good_until, two._good_until))
            assert len(await burst([one], who, 20)) <= 3, "what it had, and no more"
            assert len(await burst([two], who, 20)) == 5, "an equal part"
            assert 10 <= len(await burst([two], idle, 40)) <= 11
            assert two._telemetry.registry.get_sample_value("tollgate_limits_shared") == 0
            server.start()
            await until(lambda: not (one._away or two._away))
            assert await ask(one, who) is None
            for each in held:
                one.admission.settle(each, 0, time.monotonic())
            assert two._telemetry.registry.get_sample_value("tollgate_limits_shared") == 1

            def within() -> bool:
                return sum(each.has[2] for sharing in (one, two) for each in sharing._all()) <= 10

            await until(within)
    assert sum("go on with what this gateway has" in each for each in caplog.messages) == 2
    assert sum("limits are shared again" in each for each in caplog.messages) == 2


async def test_away_and_told_to_refuse_it_refuses_who_has_limits(tmp_path: Path) -> None:
    with one_server(tmp_path) as server:
        async with gateways(server, "refuse", 1, limits_when_away="refuse") as (one,):
            assert await ask(one, asker(rpm=20)) is not None
            server.stop()
            await until(lambda: time.monotonic() > one._good_until)
            with pytest.raises(RateLimited, match="Redis, which is away") as caught:
                await one.admit(asker(rpm=20), 10, time.monotonic())
            assert caught.value.retry_after == 1
            assert await one.admit(principal(), 10, time.monotonic()) is UNLIMITED


async def test_without_shared_limits_there_is_nothing(server: RedisServer) -> None:
    config = configured(server, "off").model_copy(update={"share_limits": False})
    assert sharing_of(None, Telemetry(), time.monotonic) is None
    assert sharing_of(config, Telemetry(), time.monotonic) is None
    async with running(None):
        pass
    async with running(sharing_of(configured(server, "on"), Telemetry(), time.monotonic)):
        pass
