"""Several gateways' sides of shared limits, on a real Redis that grants at once."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.policy.shares import NONE, Ask, Three
from gateway.settings.budgets import RedisConfig
from gateway.stores.redis_scripts import RedisScripts
from gateway.stores.redis_shares import RedisShares, SharesAway
from tests.gateway.redis_server import RedisServer, redis_server

SET_CLOCK = "return redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seen', ARGV[2])"
LIMITS = (60, 6000, 10)


def configured(server: RedisServer, prefix: str, **changes: Any) -> RedisConfig:
    return RedisConfig(url=server.url, prefix=prefix, timeout=2.0, share_limits=True, **changes)


async def clock_at(server: RedisServer, prefix: str, seen_s: float) -> None:
    """As if a gateway had been heard at a moment, long after Redis began."""
    scripts = RedisScripts(configured(server, prefix), "tests")
    await scripts.run([(SET_CLOCK, [f"{{{prefix}}}:limits:clock"], [1, int(seen_s * 1000)])])
    await scripts.close()


@asynccontextmanager
async def granting(server: RedisServer, prefix: str, count: int) -> AsyncIterator[list[RedisShares]]:
    """The sides of so many gateways; Redis has its grace behind it."""
    await clock_at(server, prefix, time.time())
    async with opened(server, prefix, count) as made:
        for each in made:
            await each.round([])
        yield made


@asynccontextmanager
async def opened(server: RedisServer, prefix: str, count: int) -> AsyncIterator[list[RedisShares]]:
    """Sides of gateways of which Redis has not heard yet."""
    made = [RedisShares(configured(server, prefix)) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            with suppress(SharesAway):
                await each.close()


def ask(has: Three = NONE, need: Three = NONE, ahead: Three = NONE, limits: Three = LIMITS, who: str = "key:a") -> Ask:
    return Ask(who, limits, has, need, ahead)


@contextmanager
def one_server(folder: Path) -> Iterator[RedisServer]:
    with redis_server(folder) as server:
        yield server
