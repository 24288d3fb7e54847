"""A holder takes from all of its limits or from none, and what it takes can be put back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.buckets import MINUTE_S, Bucket
from gateway.policy.holders import SWEEP_AT, Holder, Holders
from gateway.settings.limits import Quota


def _holder(**limits: int) -> Holder:
    found = Holders("key").of("k", Quota.model_validate(limits), 0.0)
    assert found is not None
    return found


def _left(holder: Holder, now: float) -> tuple[float, float]:
    """Requests and tokens that may be taken."""
    holder.look(now)
    return holder.requests_most - holder.asked, holder.tokens_most - holder.tokens.weight


def test_who_has_no_limits_has_no_counters() -> None:
    holders = Holders("team")
    assert holders.of("search", None, 0.0) is None
    assert len(holders) == 0


def test_a_request_ends_where_the_bucket_of_tokens_does() -> None:
    holder = _holder(tpm=100)
    assert [holder.take(tokens, 0.0) for tokens in (30, 50, 21, 20, 0)] == [30.0, 80.0, None, 100.0, 100.0]


def test_what_is_not_limited_is_refilled_at_once() -> None:
    holder = _holder(concurrency=1_000)
    for at in range(500):
        end = holder.take(10.0**9, at * 1e-3)
        assert end is not None
        holder.settle(end, 10**8, 1.0, at * 1e-3)
    assert holder.tokens.weight <= 10**9
    assert len(holder.tokens.holes) <= 1
    holder.in_flight = 0
    assert holder.idle(1.0)


@pytest.mark.parametrize("limits", [{"rpm": 1}, {"tpm": 50}, {"concurrency": 1}])
def test_where_one_limit_has_no_room_nothing_is_taken_of_the_others(limits: dict[str, int]) -> None:
    holder = _holder(**{"rpm": 10, "tpm": 500, "concurrency": 5, **limits})
    assert holder.take(50, 0.0) is not None
    before = holder.in_flight, _left(holder, 0.0)
    assert holder.take(50, 0.0) is None
    assert (holder.in_flight, _left(holder, 0.0)) == before


def test_what_was_put_back_is_there_again() -> None:
    holder = _holder(rpm=10, tpm=500, concurrency=5)
    holder.take(50, 0.0)
    for _ in range(20):
        assert holder.take(450, 0.0) == 500.0
        holder.put_back(450)
    assert (holder.in_flight, *_left(holder, 0.0)) == (1, 9.0, 450.0)


@given(
    st.integers(1, 50),
    st.integers(1, 500),
    st.lists(st.tuples(st.floats(0.0, 90.0), st.integers(0, 300), st.floats(0.0, 1.5)), max_size=40),
)
def test_a_holder_takes_what_its_buckets_have_room_for(
    rpm: int, tpm: int, steps: list[tuple[float, int, float]]
) -> None:
    # The same history by the buckets' own methods: what `take` writes out must be what they say.
    holder, requests, tokens, now, last = _holder(rpm=rpm, tpm=tpm), Bucket(), Bucket(), 0.0, 0.0
    for wait, amount, part in steps:
        now += wait
        requests.refill((now - last) * rpm / MINUTE_S)
        tokens.refill((now - last) * tpm / MINUTE_S)
        fits = requests.weight + 1.0 <= rpm + 0.001 and tokens.weight + amount <= tpm + 0.001
        end, last = holder.take(amount, now), now
        assert (end is not None) == fits
        if end is not None:
            requests.take(1.0)
            assert end == pytest.approx(tokens.take(amount))
        assert _left(holder, now) == pytest.approx((rpm - requests.weight, tpm - tokens.weight), abs=1e-6)
        if end is not None and len(steps) % 2:
            later = now + wait / 2
            requests.refill((later - last) * rpm / MINUTE_S)
            tokens.refill((later - last) * tpm / MINUTE_S)
            tokens.true_up(tokens.charged, amount - int(amount * part))
            holder.settle(end, amount - int(amount * part), 1.0, later)
            now = last = later


def test_a_changed_limit_counts_and_what_was_used_of_one_stays_used() -> None:
    holders = Holders("key")
    for quota, passes in ((Quota(rpm=2), 2), (Quota(rpm=5), 3), (Quota(), 7), (Quota(rpm=6), 6)):
        holder = holders.of("k", quota, 0.0)
        assert holder is not None
        assert [holder.take(0, 0.0) is not None for _ in range(7)].count(True) == passes


def test_those_that_are_idle_are_forgotten_when_there_are_many() -> None:
    holders = Holders("key")
    for number in range(SWEEP_AT + 1):
        holder = holders.of(f"k{number}", Quota(rpm=30), float(number))
        assert holder is not None
        holder.take(0, float(number))
        holder.in_flight -= number > 0
    assert len(holders) == 3, "the one in flight, the one that still weighs, and the new one"


def test_what_was_refilled_before_a_change_was_so_at_the_old_rate() -> None:
    holders = Holders("key")
    holder = holders.of("k", Quota(rpm=60, tpm=600), 0.0)
    assert holder is not None
    assert holder.take(600, 0.0) is not None
    assert holder.take(1, 5.0) is not None  # not full: nothing of the refill is noted
    holder = holders.of("k", Quota(rpm=600, tpm=6000), 10.0)
    assert holder is not None
    assert _left(holder, 10.0) == (600.0, 6000 - (601 - 100))


def test_a_request_that_took_long_to_arrive_takes_nothing_of_the_refill_back() -> None:
    holder = _holder(rpm=60, tpm=600)
    for _ in range(30):
        holder.take(20, 0.0)
    holder.look(30.0)
    assert holder.take(300, 1.0) is not None
    assert _left(holder, 1.0) == (59.0, 0.0)
