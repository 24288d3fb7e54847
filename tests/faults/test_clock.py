"""A gateway whose clock jumps while it serves, beside one whose clock does not.

The clock of a real process is made to jump by libfaketime, which answers for the system when it is asked for the time
of day; the time that only goes forward stays what it is.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.simulator import Engine
from tests.faults.invariants import counters, metrics, nothing_is_left, rows, sizes
from tests.faults.standing import SLOTS, Fleet, fleet
from tests.gateway.postgres import Postgres
from tests.gateway.postgres import running as postgres_running
from tests.gateway.redis_server import RedisServer, redis_server
from tests.polling import until

HOUR_S = 3600
DAY_S = 24 * HOUR_S
RPM = 40


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, RedisServer]]:
    with postgres_running() as postgres, redis_server(tmp_path) as redis:
        yield postgres, redis


def library() -> Path:
    """libfaketime, where Debian has it."""
    found = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if found is None:
        reason = "libfaketime is not on this machine (Debian's package faketime)"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    return found


class Clock:
    """What one gateway takes for the time of day."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: float) -> None:
        """So far from the true time."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+.0f}\n")
        written.replace(self._file)


async def test_a_clock_that_jumps_moves_what_is_dated_and_nothing_else(
    tmp_path: Path, servers: tuple[Postgres, RedisServer]
) -> None:
    clock = Clock(tmp_path)
    teams = {"search": {"concurrency": SLOTS}, "free": {}, "pilot": {}, "few": {"rpm": RPM}}
    async with (
        Engine("faq") as engine,
        fleet(tmp_path, servers, [engine.port], 2, environment={0: clock.environment}, teams=teams) as (made, _),
    ):
        keys = [made.key(team) for team in ("free", "search", "pilot")]
        for key in keys:
            await made.everywhere(key, 200)
        await made.asks(made.gateways, keys, 4 * SLOTS)
        before = await sizes(made)
        for seconds in (HOUR_S, -HOUR_S):
            await _in_the_middle_of_requests(made, engine, clock, seconds, keys)
            await _nothing_refills(made)
            clock.jump(0)
        await _a_key_ends_by_the_clock_of_each(made, clock)
        await _another_day_is_another_budget(made, clock, keys[2])
        await nothing_is_left(made, before, keys[1])


async def _in_the_middle_of_requests(
    made: Fleet, engine: Engine, clock: Clock, seconds: float, keys: list[str]
) -> None:
    """They end well, they took as long as they took, no lease ends, and one leads as before."""
    leaders = [await metrics(each, "tollgate_leader") for each in made.gateways]
    began = time.monotonic()
    engine.hold()
    asking = [asyncio.create_task(made.ask(made.gateways[0], keys[at % 3], stream=at % 2 > 0)) for at in range(6)]
    await until(lambda: engine.running == 6)
    clock.jump(seconds)
    engine.resume()
    told = [await each for each in asking]
    told += [await made.ask(made.gateways[0], key) for key in keys]
    lasted = time.monotonic() - began
    assert {(each.status, each.code) for each in told} == {(200, "")}
    assert len({each.id for each in told}) == len(told)
    await until(lambda: {each.id for each in told} <= rows(made).keys())
    found = [rows(made)[str(each.id)] for each in told]
    assert all(0 <= row["duration_s"] <= lasted for row in found), "a duration is no difference of times of day"
    apart = [row["started_at"] - time.time() for row in found[6:]]
    assert all(abs(each - seconds) < lasted + 60 for each in apart), apart
    for gateway in made.gateways:
        assert await metrics(gateway, "tollgate_limits_shared") == 1
    assert [await metrics(each, "tollgate_leader") for each in made.gateways] == leaders


async def _nothing_refills(made: Fleet) -> None:
    """A limit per minute is used up at the rate of true time, whatever the clock says."""
    few = made.key("few")
    await made.everywhere(few, 200)
    began, got = time.monotonic(), 0
    async with asyncio.timeout(60):
        while (answers := [(await made.ask(each, few)).status for each in made.gateways]) != [429, 429]:
            got += answers.count(200)
    assert got <= RPM + RPM / 60 * (time.monotonic() - began)


async def _a_key_ends_by_the_clock_of_each(made: Fleet, clock: Clock) -> None:
    text, _ = made.stores.keys.create(
        name="short",
        team="free",
        scope="serve",
        models=None,
        now=time.time(),
        ttl_s=HOUR_S / 2,
        random_bytes=os.urandom,
    )
    await made.everywhere(text, 200)
    clock.jump(HOUR_S)
    assert [(await made.ask(each, text)).status for each in made.gateways] == [401, 200]
    clock.jump(0)
    assert [(await made.ask(each, text)).status for each in made.gateways] == [200, 200]


async def _another_day_is_another_budget(made: Fleet, clock: Clock, key: str) -> None:
    """A request counts in the day that its row is dated with, and the day before is found again."""
    days = set(counters(made))
    clock.jump(2 * DAY_S)  # in the last hour of a day, tomorrow is where the jump by an hour has been
    told = [await made.ask(each, key) for each in made.gateways]
    assert {each.status for each in told} == {200}
    (later,) = set(counters(made)) - days
    assert int(counters(made)[later][b"s"]) <= int(counters(made)[later][b"u"])
    clock.jump(0)
    assert {(await made.ask(each, key)).status for each in made.gateways} == {200}
    assert set(counters(made)) == days | {later}
