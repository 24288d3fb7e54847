"""When engines are asked for their load: as a clock would have it, at no more cost than looking."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.scrapes import MANY, Scrapes


def _clock(first: float, period: float, now: float) -> float:
    """The last time up to `now`, one by one."""
    while first + period <= now:
        first += period
    return first


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.3, 1.0, 7.0]), st.lists(st.floats(0.0, 900.0), min_size=1))
def test_times_are_those_of_a_clock_to_the_bit(seed: int, period: float, steps: list[float]) -> None:
    made, now = Scrapes(3, period, Random(seed)), 0.0
    random = Random(seed)
    last = [random.random() * period for _ in range(3)]
    for step in steps:
        now += min(step, (MANY - 2) * period)
        for number, at in made.latest(now):
            last[number] = _clock(last[number], period, now)
            assert at == last[number]
        assert all(each + period > now for each in last if each <= now)


def test_each_is_told_once_until_it_is_asked_again() -> None:
    made = Scrapes(4, 1.0, Random(1))
    assert sorted(number for number, _ in made.latest(10.0)) == [0, 1, 2, 3]
    assert list(made.latest(10.0)) == []
    assert len(list(made.latest(11.0))) == 4


@pytest.mark.parametrize("period", [1.0, 0.3, 1e-9])
def test_a_long_time_is_one_jump_to_its_last_period(period: float) -> None:
    made = Scrapes(2, period, Random(1))
    for now in (1e10, 2e10, 1e297):
        found = dict(made.latest(now))
        assert set(found) == {0, 1}
        # What a float cannot tell apart is as good as equal.
        assert all(now - period - now * 1e-12 <= at <= now for at in found.values())
        assert list(made.latest(now)) == []


def test_engines_that_are_never_asked() -> None:
    assert list(Scrapes(3, None, Random(1)).latest(1e9)) == []
