"""What a row says of work: when, how much, and how well that is known."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.ledger import OUTCOMES
from gateway.costs.hour import Work
from gateway.costs.rows import TOOK_PART, tries_of, work_of, works
from tests.gateway.builders import settled

T = 1_764_000_000


def _work(**changes: Any) -> Work | None:
    return work_of(settled("tg", **{"started_at": float(T), "duration_s": 9.0, "replica": "r", **changes}))


def _found(**changes: Any) -> Work:
    work = _work(**changes)
    assert work is not None
    return work


def _times(work: Work) -> tuple[float | None, ...]:
    times = (work.begun_us, work.first_us, work.ended_us)
    return tuple(None if each is None else (each - T * 10**6) / 1e6 for each in times)


def test_a_stream_has_a_first_token_and_an_answer_in_one_piece_has_none() -> None:
    stream = _found(stream=True, first_byte_s=2.5, dispatched_s=1.0)
    assert (stream.method, _times(stream)) == ("streamed", (1.0, 2.5, 9.0))
    whole = _found(stream=False, first_byte_s=8.5, dispatched_s=1.0)
    assert (whole.method, _times(whole)) == ("averaged", (1.0, None, 9.0))


def test_without_a_moment_of_dispatch_it_is_there_from_its_start() -> None:
    assert _times(_found()) == (0.0, None, 9.0)


def test_what_the_engine_tells_counts_more() -> None:
    told = {"engine_queue_s": 2.0, "engine_prefill_s": 1.5, "dispatched_s": 1.0}
    for work in (_found(**told), _found(**told, stream=True, first_byte_s=6.0)):
        assert (work.method, _times(work)) == ("timed", (3.0, 4.5, 9.0))


def test_tokens_are_split_by_what_the_cache_held() -> None:
    work = _found(input_tokens=10, cached_tokens=4, output_tokens=3)
    assert (work.uncached, work.cached, work.output) == (6, 4, 3)
    work = _found(input_tokens=10, cached_tokens=None, output_tokens=3)
    assert (work.uncached, work.cached) == (10, 0)
    work = _found(input_tokens=10, cached_tokens=40, output_tokens=3)
    assert (work.uncached, work.cached) == (0, 10)


@pytest.mark.parametrize("missing", ["input_tokens", "output_tokens"])
def test_without_usage_it_was_there(missing: str) -> None:
    work = _found(outcome="client_closed", dispatched_s=0.0, **{missing: None})
    assert (work.method, work.uncached, work.cached, work.output) == ("present", None, None, None)


@pytest.mark.parametrize("outcome", sorted(OUTCOMES))
def test_a_refusal_is_no_work_and_usage_is(outcome: str) -> None:
    unknown = {"outcome": outcome, "input_tokens": None, "output_tokens": None}
    assert _work(**unknown) is None, "the replica was not asked, or stands among the tries"
    worked = _work(**unknown, dispatched_s=0.0) is not None
    assert worked == (outcome in TOOK_PART)
    assert _work(outcome=outcome) is not None
    assert _work(outcome=outcome, replica=None) is None


def test_refusals_are_those_of_engines() -> None:
    refusals = {"invalid_request", "context_length_exceeded", "upstream_overloaded", "upstream_unavailable"}
    assert not refusals & TOOK_PART
    assert TOOK_PART <= OUTCOMES


def test_failed_attempts_are_nobodys() -> None:
    row = settled("tg", started_at=float(T), replica="r", tries=json.dumps([["a", 0.5, 1.5], ["b", 1.5, 1.0]]))
    (first, one), (second, other) = tries_of(row)
    assert (first, second) == ("a", "b")
    assert (_times(one), _times(other)) == ((0.5, None, 1.5), (1.5, None, 1.5))
    assert one.overhead
    assert (one.uncached, one.cached, one.output) == (None, None, None)
    assert [replica for replica, _ in works(row)] == ["a", "b", "r"]
    assert works(settled("tg", replica=None)) == []


SECONDS = st.none() | st.floats(-10, 5000, allow_nan=False)


@given(
    dispatched=SECONDS,
    first=SECONDS,
    queue=SECONDS,
    prefill=SECONDS,
    took=st.floats(0, 5000),
    stream=st.booleans(),
)
def test_times_are_in_order_whatever_clocks_say(stream: bool, took: float, **told: float | None) -> None:
    names = {"dispatched": "dispatched_s", "first": "first_byte_s", "queue": "engine_queue_s"}
    names["prefill"] = "engine_prefill_s"
    work = _found(stream=stream, duration_s=took, **{names[name]: value for name, value in told.items()})
    assert work.begun_us <= work.ended_us
    assert work.first_us is None or work.begun_us <= work.first_us <= work.ended_us
