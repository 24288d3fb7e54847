"""Who keeps the shares: never more than the limit, back from the dead bit by bit, no gift after a loss of memory."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.policy.shares import NONE, SharedHolder
from gateway.settings.limits import Quota
from gateway.stores.redis_shares import GRACE_S, SharesAway
from tests.gateway.redis_server import RedisServer
from tests.gateway.sharers import ask, clock_at, granting, one_server, opened

QUOTA = Quota(rpm=60, tpm=6000, concurrency=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with one_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def test_gateways_together_never_have_more_than_the_limit(server: RedisServer) -> None:
    async with granting(server, "together", 4) as made:
        rounds = await asyncio.gather(*(each.round([ask(need=(25, 2500, 4))]) for each in made))
        assert sum(each.answers[0].has[0] for each in rounds) == 60
        assert sum(each.answers[0].has[1] for each in rounds) == 6000
        assert sum(each.answers[0].has[2] for each in rounds) == 10
        assert {each.gateways for each in rounds} == {4}
        assert (await made[0].round([])).wanted == ["key:a"], "all hear that somebody lacks room"


async def test_what_is_ahead_of_need_gets_smaller_as_the_limit_nears(server: RedisServer) -> None:
    async with granting(server, "ahead", 2) as (one, two):
        pieces, has = [], NONE
        for _ in range(6):
            (answer,) = (await one.round([ask(has, need=(1, 0, 0), ahead=(60, 0, 0))])).answers
            pieces.append(answer.has[0] - has[0])
            has = answer.has
        assert pieces == [15, 11, 8, 6, 5, 3]
        (other,) = (await two.round([ask(need=(12, 0, 0))])).answers
        assert other.has[0] == 12, "what one gateway keeps ahead leaves the others what they need"


async def test_what_a_gateway_had_that_ended_comes_back_as_its_bucket_refills(server: RedisServer) -> None:
    async with granting(server, "ended", 2) as (one, two):
        await one.round([ask(need=(60, 6000, 10))])
        await one.close()
        has = NONE
        async with asyncio.timeout(10):
            while has[2] < 10:
                has = (await two.round([ask(has, need=(60, 6000, 10 - has[2]))])).answers[0].has
        assert has[0] <= 3, "of what it may have used in its last moment a second or two are refilled"
        assert has[1] <= 300


async def test_a_gateway_that_comes_back_has_no_more_than_others_left_of_it(server: RedisServer) -> None:
    async with granting(server, "back", 2) as (one, two):
        assert (await one.round([ask(need=(50, 0, 10))])).answers[0].has == (50, 0, 10)
        await one._run([one._renewal(0.0)])  # it stands still, and its lease ends
        has = NONE
        async with asyncio.timeout(10):
            while has[2] < 10 or has[0] < 11:
                has = (await two.round([ask(has, need=(60, 0, 10 - has[2]))])).answers[0].has
        (answer,) = (await one.round([ask(has=(50, 0, 10))])).answers
        assert answer.has == (60 - has[0], 0, 0)
        assert (await two.round([ask(has)])).answers[0].has == has


async def test_sums_that_are_kept_are_those_of_all_gateways(server: RedisServer) -> None:
    async with granting(server, "sums", 3) as made:
        has = [NONE, NONE, NONE]
        for number in range(60):
            at, wanted = number % 3, number * 7 % 5
            given = (max(0, has[at][0] - number % 4), 0, has[at][2] // 2)
            (answer,) = (await made[at].round([ask(given, need=(wanted, 0, wanted % 2))])).answers
            has[at] = answer.has
            assert answer.free[0] == 60 - sum(each[0] for each in has) >= 0
            assert answer.free[2] == 10 - sum(each[2] for each in has) >= 0


async def test_a_redis_that_remembers_nothing_grants_nothing_before_all_have_told_what_they_have(
    server: RedisServer,
) -> None:
    async with opened(server, "forgot", 2) as (one, two):
        first = await two.round([ask(need=(60, 0, 10))])
        assert (first.answers[0].has, 0 < first.grace_s <= GRACE_S, first.wanted) == (NONE, True, [])
        told = await one.round([ask(has=(40, 0, 7), need=(1, 0, 1))])
        assert told.answers[0].has == (40, 0, 7)
        assert told.epoch == first.epoch
        found = first
        async with asyncio.timeout(10):
            while found.grace_s:
                found = await two.round([])
                await one.round([])
        assert (await two.round([ask(need=(60, 0, 10))])).answers[0].has == (20, 0, 3)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
async def test_a_clock_that_jumps_frees_nothing(server: RedisServer, jump_s: float) -> None:
    async with granting(server, f"jump{jump_s:.0f}", 2) as (one, two):
        assert (await one.round([ask(need=(50, 0, 10))])).answers[0].has == (50, 0, 10)
        before = (await two.round([])).epoch
        await clock_at(server, f"jump{jump_s:.0f}", time.time() - jump_s)
        found = await two.round([ask(need=(60, 0, 10))])
        assert (found.answers[0].has, found.epoch != before) == (NONE, True)


async def test_law_2_over_any_time_gateways_admit_no_more_than_one_bucket_would(server: RedisServer) -> None:
    """Hours pass for three gateways while Redis sees a second: limits do not depend on its clock."""
    draw = random.Random(8)
    async with granting(server, "law", 3) as made:
        holders = [SharedHolder("key", "a", QUOTA) for _ in made]
        for each in holders:
            each.under(QUOTA, 0.0)
        now, admitted = 0.0, list[tuple[float, int]]()
        for _ in range(400):
            now += draw.expovariate(1.0) * draw.choice((0.01, 0.3, 5.0))
            at = draw.randrange(3)
            tokens = draw.choice((1, 50, 700))
            for _ in range(draw.randrange(1, 12)):
                if holders[at].take(tokens, now) is not None:
                    holders[at].in_flight -= 1
                    admitted.append((now, tokens))
                else:
                    holders[at].lack(tokens, now)
            for keeper, holder in zip(made, holders, strict=True):
                if draw.random() < 0.6 and (said := holder.plan(now)) is not None:
                    holder.heard(said, (await keeper.round([said])).answers[0], now)
            assert all(
                sum(pair) <= limit
                for pair, limit in zip(zip(*(h.has for h in holders), strict=True), (60, 6000, 10), strict=True)
            )
        assert len(admitted) > 200, "the test admits something"
        for first, (began, _) in enumerate(admitted):
            requests = tokens = 0
            for moment, each in admitted[first:]:
                requests, tokens = requests + 1, tokens + each
                assert requests <= 60 + (moment - began) + 0.01
                assert tokens <= 6000 + 100 * (moment - began) + 1


async def test_a_redis_that_is_away_says_so(tmp_path: Path) -> None:
    with one_server(tmp_path) as server:
        async with granting(server, "away", 1) as (one,):
            server.stop()
            with pytest.raises(SharesAway):
                await one.round([])
            with pytest.raises(SharesAway):
                await one.close()
