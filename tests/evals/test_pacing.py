import asyncio
import itertools

import pytest

from evals.pacing import ROUNDS, START, Pace, side_by_side

FOREVER = float("inf")


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pace(most: int, time: Time | None = None) -> Pace:
    time = time or Time()
    return Pace(most, clock=time, sleep=time.sleep)


async def rounds(gate: Pace, count: int, *, overloaded: bool = False) -> list[int]:
    """The limit after each round in which as many requests as may be are under way together."""
    limits = []
    for _ in range(count):
        tickets = [await gate.enter(FOREVER) for _ in range(gate.limit)]
        for ticket in tickets:
            assert ticket is not None
            gate.leave(ticket, overloaded=overloaded, well=not overloaded)
        limits.append(gate.limit)
    return limits


def test_a_run_starts_low_and_never_above_what_was_asked_for() -> None:
    assert (pace(256).limit, pace(3).limit) == (START, 3)


async def test_the_limit_doubles_until_the_first_overload_then_climbs_by_steps() -> None:
    gate = pace(256)
    climbed = await rounds(gate, 3)
    assert START < climbed[0] < climbed[1] < climbed[2] <= 8 * START
    await rounds(gate, 20)
    assert gate.limit == 256
    (halved,) = await rounds(gate, 1, overloaded=True)
    assert halved == 128
    one, two = await rounds(gate, 2)
    assert halved < one <= halved + 256 // ROUNDS
    assert one < two <= one + 256 // ROUNDS


async def test_it_climbs_back_and_creeps_where_the_overload_came() -> None:
    gate = pace(256)
    await rounds(gate, 20)
    await rounds(gate, 1, overloaded=True)
    limits = [gate.limit, *await rounds(gate, 400)]
    steps = [later - earlier for earlier, later in itertools.pairwise(limits)]
    near = [step for limit, step in zip(limits, steps, strict=False) if limit > 0.86 * 256]
    far = [step for limit, step in zip(limits, steps, strict=False) if limit < 0.8 * 256]
    assert max(near) <= 1 < min(far)
    assert 0.86 * 256 < limits[-1] <= 256


async def test_a_system_that_takes_so_many_is_kept_busy() -> None:
    """It refuses the 25th request at a time: the limit stays near 24, and few are refused."""
    gate, refused = pace(256), 0
    limits = []
    for _ in range(600):
        tickets = [await gate.enter(FOREVER) for _ in range(gate.limit)]
        for number, ticket in enumerate(tickets):
            assert ticket is not None
            refused += number >= 24
            gate.leave(ticket, overloaded=number >= 24, well=number < 24)
        limits.append(gate.limit)
    settled = limits[50:]
    assert 18 <= sum(settled) / len(settled) <= 26
    assert refused < 0.02 * sum(limits)


async def test_requests_of_one_moment_halve_it_once_and_it_never_ends() -> None:
    gate = pace(64)
    await rounds(gate, 100)
    assert await rounds(gate, 9, overloaded=True) == [32, 16, 8, 4, 2, 1, 1, 1, 1]


async def test_what_is_not_used_does_not_grow() -> None:
    gate = pace(256)
    for _ in range(100):
        ticket = await gate.enter(FOREVER)
        assert ticket is not None
        gate.leave(ticket, well=True)
    assert gate.limit == START


async def test_what_says_nothing_of_the_load_changes_nothing() -> None:
    gate = pace(256)
    for ticket in [await gate.enter(FOREVER) for _ in range(START)]:
        assert ticket is not None
        gate.leave(ticket)
    assert gate.limit == START


async def test_no_more_than_the_limit_are_under_way_and_everybody_gets_through() -> None:
    gate, most, done = pace(32), 0, 0

    async def work(number: int) -> None:
        nonlocal most, done
        ticket = await gate.enter(FOREVER)
        assert ticket is not None
        assert gate.under_way <= max(1, gate.limit)
        most = max(most, gate.under_way)
        await asyncio.sleep(0)
        done += 1
        gate.leave(ticket, overloaded=number % 7 == 0, well=number % 7 != 0)

    await asyncio.wait_for(asyncio.gather(*(work(number) for number in range(300))), 10)
    assert (done, gate.under_way) == (300, 0)
    assert most >= START


async def test_one_retry_after_holds_for_everybody() -> None:
    time = Time()
    gate = pace(8, time)
    ticket = await gate.enter(FOREVER)
    assert ticket is not None
    gate.leave(ticket, overloaded=True, retry_after=17.0)
    for _ in range(3):
        assert await gate.enter(FOREVER) is not None
    assert time.slept == [17.0]


@pytest.mark.parametrize("until", [0.0, 5.0, 17.0])
async def test_a_gate_closed_beyond_the_deadline_is_not_waited_for(until: float) -> None:
    time = Time()
    gate = pace(8, time)
    ticket = await gate.enter(FOREVER)
    assert ticket is not None
    gate.leave(ticket, retry_after=17.0)
    assert await gate.enter(until) is None
    assert (time.slept, gate.under_way) == ([], 0)


async def test_a_place_that_is_not_taken_goes_to_the_next() -> None:
    """A waiter whose deadline has passed hands on the place that it was woken for."""
    time = Time()
    gate = pace(1, time)
    ticket = await gate.enter(FOREVER)
    assert ticket is not None
    late, patient = asyncio.create_task(gate.enter(5.0)), asyncio.create_task(gate.enter(FOREVER))
    await asyncio.sleep(0)
    time.now = 6.0
    gate.leave(ticket)
    assert await asyncio.wait_for(late, 10) is None
    assert await asyncio.wait_for(patient, 10) is not None


async def test_what_one_worker_raises_ends_the_others_and_is_raised_as_it_is() -> None:
    numbers, ended = itertools.count(), []

    async def work() -> None:
        if next(numbers) == 2:
            raise ValueError("no more")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("x")

    with pytest.raises(ValueError, match="no more"):
        await side_by_side(4, work)
    assert len(ended) == 3
