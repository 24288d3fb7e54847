"""A bucket fills evenly, gives back what still weighs and no more, and never lets more pass than its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.buckets import MINUTE_S, Bucket

STEPS = st.lists(st.tuples(st.floats(0.0, 90.0), st.integers(1, 100), st.floats(0.0, 1.0)), min_size=1, max_size=40)


def _taken(bucket: Bucket, amount: float) -> float:
    bucket.charged += amount
    return bucket.charged


def test_a_new_one_is_full() -> None:
    assert Bucket().room(60, 0.0) == 60.0


def test_it_fills_evenly_up_to_the_limit() -> None:
    bucket = Bucket()
    bucket.room(60, 0.0)
    _taken(bucket, 60)
    assert [bucket.room(60, at) for at in (0.0, 1.0, 30.0, 59.0, 60.0, 600.0)] == [0.0, 1.0, 30.0, 59.0, 60.0, 60.0]


def test_what_is_given_back_soon_is_there_at_once() -> None:
    bucket = Bucket()
    bucket.room(100, 0.0)
    end = _taken(bucket, 100)
    bucket.true_up(end, 90, 0.0)
    assert bucket.room(100, 0.0) == 90.0


def test_what_was_refilled_meanwhile_is_not_given_back_too() -> None:
    bucket = Bucket()
    bucket.room(60, 0.0)
    end = _taken(bucket, 60)
    bucket.true_up(end, 60, 600.0)
    assert bucket.room(60, 600.0) == 60.0


def test_more_than_was_reserved_is_a_debt() -> None:
    bucket = Bucket()
    bucket.room(60, 0.0)
    end = _taken(bucket, 10)
    bucket.true_up(end, -90, 0.0)
    assert bucket.room(60, 0.0) == -40.0
    assert bucket.room(60, 40.0) == pytest.approx(0.0)


@given(STEPS, st.integers(1, 600))
def test_true_numbers_never_exceed_the_bound_from_the_start(steps: list[tuple[float, int, float]], limit: int) -> None:
    bucket, now, used = Bucket(), 0.0, 0.0
    for wait, amount, part in steps:
        now += wait
        if bucket.room(limit, now) < amount:
            continue
        end = _taken(bucket, amount)
        bucket.true_up(end, amount - amount * part, now)
        used += amount * part
        assert used <= limit + limit / MINUTE_S * now + 1e-6
        assert bucket.room(limit, now) <= limit
