"""Rounds at a pace: the next one begins in its time, whatever those before wait for."""

import asyncio
import logging

import pytest

from gateway.control_plane.loops import paced
from tests.polling import until


async def test_a_round_begins_though_one_before_has_not_ended_and_none_outlives_the_loop() -> None:
    begun, ended, forever = 0, 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun, ended
        begun += 1
        try:
            if begun == 1:
                await forever.wait()
        finally:
            ended += 1

    running = asyncio.create_task(paced(lambda: 0.001, work))
    await until(lambda: begun >= 5)
    assert ended == begun - 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ended == begun


async def test_a_round_begins_as_long_after_another_as_is_said_then() -> None:
    begun, apart = list[float](), iter([0.05])
    loop = asyncio.get_running_loop()

    async def work() -> None:
        begun.append(loop.time())

    running = asyncio.create_task(paced(lambda: next(apart, 0.001), work))
    await until(lambda: len(begun) >= 4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert begun[1] - begun[0] >= 0.05


async def test_a_failure_of_rounds_is_told_once_until_one_ends_well(caplog: pytest.LogCaptureFixture) -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns in (2, 3, 5, 6):
            raise OSError("away")

    with caplog.at_level(logging.ERROR, "tollgate"):
        running = asyncio.create_task(paced(lambda: 0.001, work))
        await until(lambda: turns >= 8)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(caplog.records) == 2
