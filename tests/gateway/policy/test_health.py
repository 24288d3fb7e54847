"""The circuit breaker: opens on failures in a row, tries one request at a time, closes on success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.health import FIRST_S, LIMIT, LONGEST_S, Breaker


def opened(times: int = 1) -> tuple[Breaker, float]:
    """(a breaker that has opened so often in a row, the moment it last did)."""
    breaker, now = Breaker(), 100.0
    for _ in range(LIMIT):
        breaker.failed(now)
    for _ in range(times - 1):
        now = breaker.open_until
        breaker.begin()
        breaker.failed(now)
        breaker.ended()
    return breaker, now


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(LIMIT - 1):
        breaker.failed(0.0)
        assert breaker.allows(0.0)
    breaker.failed(0.0)
    assert not breaker.allows(0.0)
    assert not breaker.closed


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(10):
        for _ in range(LIMIT - 1):
            breaker.failed(0.0)
        breaker.succeeded(0.0)
    assert breaker.closed


def test_one_trial_at_a_time_when_its_time_is_over() -> None:
    breaker, now = opened()
    assert not breaker.allows(now + FIRST_S - 0.001)
    assert breaker.allows(now + FIRST_S)
    breaker.begin()
    assert not breaker.allows(now + FIRST_S)
    breaker.ended()
    assert breaker.allows(now + FIRST_S), "a trial that told nothing is not the last one"
    breaker.begin()
    breaker.succeeded(now + FIRST_S)
    breaker.ended()
    assert breaker.closed
    assert breaker.allows(now)


@pytest.mark.parametrize("times", range(1, 9))
def test_each_failed_trial_doubles_the_time_up_to_the_longest(times: int) -> None:
    breaker, now = opened(times)
    assert breaker.open_until - now == min(LONGEST_S, FIRST_S * 2 ** (times - 1))


def test_a_replica_may_be_away_for_weeks() -> None:
    breaker, now = Breaker(), 0.0
    for _ in range(2000):
        now += LONGEST_S
        breaker.begin()
        breaker.failed(now)
    assert breaker.open_until == now + LONGEST_S


def test_what_was_on_its_way_when_it_opened_does_not_count_again() -> None:
    breaker, now = opened()
    for _ in range(1000):
        breaker.failed(now + 0.5)
    assert breaker.open_until == now + FIRST_S


@given(events=st.lists(st.tuples(st.sampled_from(["begin", "ok", "bad", "end"]), st.floats(0, 5)), max_size=60))
def test_no_order_of_events_leaves_a_replica_out_for_good(events: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for event, passed in events:
        now += passed
        if event in ("bad", "ok"):
            (breaker.failed if event == "bad" else breaker.succeeded)(now)
        else:
            {"begin": breaker.begin, "end": breaker.ended}[event]()
    breaker.ended()
    assert breaker.allows(now + LONGEST_S)
