"""What the scripts of shares leave in Redis: nothing of gateways that are long gone, nothing that holds nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stores.redis_scripts import RedisScripts
from gateway.stores.share_scripts import RENEW, SHARE
from tests.gateway.redis_server import RedisServer
from tests.gateway.sharers import ask, configured, granting, one_server

ALL = "return redis.call('HGETALL', KEYS[1])"
PUT = "return redis.call('HSET', KEYS[1], 'long-gone', '50 5000 9')"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with one_server(tmp_path) as running:
        yield running


async def test_nothing_is_left_of_gateways_that_are_long_gone_and_of_what_is_given_back(server: RedisServer) -> None:
    async with granting(server, "p", 1) as (one,):
        scripts, row = RedisScripts(configured(server, "p"), "tests"), ["{p}:limits:key:a"]
        assert RENEW != SHARE
        await scripts.run([(PUT, row, [])])
        found = await one.round([ask(need=(60, 0, 10))])
        assert (found.answers[0].has, found.answers[0].free) == ((60, 0, 10), (0, 6000, 0))
        (left,) = await scripts.run([(ALL, row, [])])
        assert left[:2] == [one.gateway.encode(), b"60 0 10"]
        assert (left[2], left[3].rpartition(b" ")[0], len(left)) == (b"!", b"60 0 10", 4)
        await one.round([ask()])
        assert await scripts.run([(ALL, row, [])]) == [[]]
        await scripts.close()
