"""The book of one process: leases end by its clock, and old counters are forgotten."""

import math

from gateway.policy.budgets import Charge, Claim, Standing
from gateway.stores.memory_budgets import SPARE, MemoryBook


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[MemoryBook, Clock]:
    clock = Clock()
    return MemoryBook(clock, clock, lambda name, before, after: None), clock


async def test_a_lease_that_nobody_settles_ends_and_a_late_settlement_still_counts() -> None:
    book, clock = opened()
    await book.load("a", 0, 0.0, math.inf)
    assert (await book.reserve("1", [Claim("a", 10, 10)], 60.0)).taken
    clock.now += 59.0
    assert not (await book.reserve("2", [Claim("a", 10, 1)], 60.0)).taken
    clock.now += 1.0
    assert (await book.reserve("2", [Claim("a", 10, 1)], 60.0)).taken
    book.settle("1", [Charge("a", 10, 4)])
    assert await book.standings(["a"]) == [(Standing(4, 1, 0), 0.0)]


async def test_counters_of_windows_long_over_are_forgotten() -> None:
    book, clock = opened()
    for number in range(SPARE):
        await book.load(f"old-{number}", 1, 0.0, clock.now + 1.0)
    clock.now += 2.0
    await book.load("new", 0, 0.0, math.inf)
    assert await book.standings(["old-0"]) == [None]
    assert await book.standings(["new"]) == [(Standing(), 0.0)]
    book.settle("late", [Charge("old-0", 0, 5)])
    assert await book.standings(["old-0"]) == [None]
