"""A bucket fills, gives back what still weighs and no more, and never lets more pass than its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.buckets import MINUTE_S, Bucket

STEPS = st.lists(st.tuples(st.floats(0.0, 90.0), st.integers(1, 100), st.floats(0.0, 1.0)), min_size=1, max_size=40)


def test_a_new_one_is_full() -> None:
    assert Bucket().weight == 0.0


def test_it_fills_and_never_overflows() -> None:
    bucket, weights = Bucket(), []
    bucket.take(60.0)
    for amount in (0.0, 1.0, 29.0, 29.5, 0.5, 540.0):
        bucket.refill(amount)
        weights.append(bucket.weight)
    assert weights == [60.0, 59.0, 30.0, 0.5, 0.0, 0.0]
    assert bucket.paid == bucket.charged == 60.0


def test_what_is_given_back_soon_is_there_at_once() -> None:
    bucket = Bucket()
    bucket.true_up(bucket.take(100.0), 90)
    assert bucket.weight == 10.0


def test_what_was_refilled_meanwhile_is_not_given_back_too() -> None:
    bucket = Bucket()
    end = bucket.take(60.0)
    bucket.refill(600.0)
    bucket.true_up(end, 60)
    assert bucket.weight == 0.0


def test_more_than_was_reserved_is_a_debt() -> None:
    bucket = Bucket()
    bucket.true_up(bucket.take(10.0), -90)
    assert bucket.weight == 100.0
    bucket.refill(40.0)
    assert bucket.weight == 60.0


def test_a_hole_weighs_nothing_and_is_passed_in_no_time() -> None:
    bucket = Bucket()
    first, second, third = (bucket.take(10.0) for _ in range(3))
    bucket.true_up(second, 10)
    bucket.true_up(first, 4)
    assert (bucket.weight, bucket.spared, len(bucket.holes)) == (16.0, 14.0, 2)
    bucket.refill(6.0)
    assert (bucket.weight, bucket.spared, bucket.holes) == (10.0, 0.0, [])
    assert bucket.paid == 20.0
    bucket.true_up(third, 3)
    assert (bucket.weight, bucket.charged) == (7.0, 27.0), "the last one's place is taken back"


@given(STEPS, st.integers(1, 600))
def test_true_numbers_never_exceed_the_bound_from_the_start(steps: list[tuple[float, int, float]], limit: int) -> None:
    bucket, now, used = Bucket(), 0.0, 0.0
    for wait, amount, part in steps:
        now += wait
        bucket.refill(wait * limit / MINUTE_S)
        if bucket.weight + amount > limit:
            continue
        bucket.true_up(bucket.take(amount), amount - amount * part)
        used += amount * part
        assert used <= limit + limit / MINUTE_S * now + 1e-6


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.floats(0.0, 100.0)),
            st.tuples(st.just("refill"), st.floats(0.0, 150.0)),
            st.tuples(st.just("true up"), st.floats(-50.0, 120.0)),
        ),
        max_size=60,
    )
)
def test_what_weighs_is_what_lies_between_but_for_the_holes(steps: list[tuple[str, float]]) -> None:
    """Held against a list of all that was taken, refilled from its start."""
    bucket, model, open_ = Bucket(), list[list[float]](), list[tuple[float, float, list[float]]]()
    for what, amount in steps:
        if what == "take":
            model.append([amount])
            open_.append((bucket.take(amount), amount, model[-1]))
        elif what == "refill":
            bucket.refill(amount)
            for each in model:
                part = min(each[0], amount)
                each[0] -= part
                amount -= part
        elif open_:
            end, reserved, taken = open_.pop(len(open_) // 2)
            amount = min(amount, reserved)
            bucket.true_up(end, amount)
            if amount > 0.0:
                taken[0] -= min(taken[0], amount)
            else:
                model.append([-amount])
        assert bucket.weight == pytest.approx(sum(each[0] for each in model), abs=1e-6)
        assert bucket.weight >= 0.0
        assert bucket.spared >= 0.0
