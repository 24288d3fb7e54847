"""A deadline that moves, on a real loop."""

import asyncio

from gateway.deadline import Deadline
from tests.gateway.listening import SECONDS


async def _reached(*moves: float) -> float:
    """Seconds until it is reached."""
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    deadline, began = Deadline(loop, rung.set), loop.time()
    for seconds in moves:
        deadline.within(seconds)
    await asyncio.wait_for(rung.wait(), SECONDS)
    deadline.stop()
    return loop.time() - began


async def test_it_may_be_moved_both_ways() -> None:
    assert await _reached(60.0, 0.02) >= 0.019
    assert await _reached(0.01, 0.05) >= 0.049


async def test_one_that_is_taken_back_is_not_reached() -> None:
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    for take_back in (Deadline.never, Deadline.stop):
        deadline = Deadline(loop, rung.set)
        deadline.within(0.001)
        take_back(deadline)
    await _reached(0.01)
    assert not rung.is_set()
