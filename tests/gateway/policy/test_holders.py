"""A holder takes from all of its limits or from none, and what it takes can be put back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.buckets import Bucket
from gateway.policy.holders import SWEEP_AT, UNMETERED, Holder, Holders
from gateway.settings.limits import Quota


def _holder(**limits: int) -> Holder:
    found = Holders("key").of("k", Quota.model_validate(limits), 0.0)
    assert found is not None
    return found


def test_who_has_no_limits_has_no_counters() -> None:
    holders = Holders("team")
    assert holders.of("search", None, 0.0) is None
    assert len(holders) == 0


def test_a_request_ends_where_the_bucket_of_tokens_does() -> None:
    holder = _holder(tpm=100)
    assert [holder.take(tokens, 0.0) for tokens in (30, 50, 21, 20, 0)] == [30.0, 80.0, None, 100.0, 100.0]
    assert _holder(rpm=1).take(10**9, 0.0) == UNMETERED


@pytest.mark.parametrize("limits", [{"rpm": 1}, {"tpm": 50}, {"concurrency": 1}])
def test_where_one_limit_has_no_room_nothing_is_taken_of_the_others(limits: dict[str, int]) -> None:
    holder = _holder(**{"rpm": 10, "tpm": 500, "concurrency": 5, **limits})
    assert holder.take(50, 0.0) is not None
    before = holder.in_flight, holder.requests.room(10, 0.0), holder.tokens.room(500, 0.0)
    assert holder.take(50, 0.0) is None
    assert (holder.in_flight, holder.requests.room(10, 0.0), holder.tokens.room(500, 0.0)) == before


def test_what_was_put_back_is_there_again() -> None:
    holder = _holder(rpm=10, tpm=500, concurrency=5)
    holder.take(50, 0.0)
    for _ in range(20):
        assert holder.take(450, 0.0) == 500.0
        holder.put_back(450)
    holder.look(0.0)
    assert (holder.in_flight, holder.requests.left, holder.tokens.left) == (1, 9.0, 450.0)


@given(
    st.integers(1, 50),
    st.integers(1, 500),
    st.lists(st.tuples(st.floats(0.0, 90.0), st.integers(0, 300), st.floats(0.0, 1.5)), max_size=40),
)
def test_a_holder_takes_what_its_buckets_have_room_for(
    rpm: int, tpm: int, steps: list[tuple[float, int, float]]
) -> None:
    # The same history by the buckets' own methods: what `take` writes out must be what they say.
    holder, requests, tokens, now = _holder(rpm=rpm, tpm=tpm), Bucket(), Bucket(), 0.0
    for wait, amount, part in steps:
        now += wait
        fits = requests.room(rpm, now) >= 0.999 and tokens.room(tpm, now) >= amount - 0.001
        end = holder.take(amount, now)
        assert (end is not None) == fits
        if end is None:
            holder.look(now)
        else:
            requests.charged += 1.0
            tokens.charged += amount
            assert end == tokens.charged
        assert holder.requests.left == pytest.approx(requests.room(rpm, now), abs=1e-9)
        assert holder.tokens.left == pytest.approx(tokens.room(tpm, now), abs=1e-9)
        if end is not None and len(steps) % 2:
            for bucket in (holder.tokens, tokens):
                bucket.true_up(end, amount - int(amount * part), now + wait / 2)


def test_a_changed_limit_counts_and_what_was_used_stays_used() -> None:
    holders = Holders("key")
    for quota, passes in ((Quota(rpm=2), 2), (Quota(rpm=5), 3), (Quota(), 7), (Quota(rpm=6), 1)):
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
    holder.look(10.0)
    assert (holder.requests.left, holder.tokens.left) == (600.0, 6000 - (601 - 100))


def test_a_request_that_took_long_to_arrive_takes_nothing_of_the_refill_back() -> None:
    holder = _holder(rpm=60, tpm=600)
    for _ in range(30):
        holder.take(20, 0.0)
    holder.look(30.0)
    assert holder.take(300, 1.0) is not None
    assert (holder.requests.left, holder.tokens.left) == (59.0, 0.0)
