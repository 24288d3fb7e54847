"""The times that an engine tells of itself: taken where they are times, and nothing where they are none."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.usage import LONGEST_MS, EngineTimes, Usage, with_times
from tests.engine import recordings

USAGE = Usage(3, 5, 2)
TIME = st.floats(0, LONGEST_MS)
NO_TIME = (
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.just([])
    | st.floats(max_value=-0.001)
    | st.sampled_from([math.nan, math.inf, LONGEST_MS * 2, 10**400])
)


def test_a_recorded_metrics_object() -> None:
    told = recordings.load("chat_request_metrics")
    metrics = json.loads(told.body)["metrics"]
    found = with_times(USAGE, metrics)
    assert found is not None
    assert found.times is not None
    assert found.times.queue_s == metrics["queue_time_ms"] / 1000
    assert found.times.prefill_s == metrics["time_to_first_token_ms"] / 1000


@given(TIME, TIME)
def test_milliseconds_become_seconds_and_no_count_changes(queue: float, first: float) -> None:
    found = with_times(USAGE, {"queue_time_ms": queue, "time_to_first_token_ms": first})
    assert found == Usage(3, 5, 2, times=EngineTimes(queue / 1000, first / 1000))


@given(NO_TIME, NO_TIME)
def test_what_is_no_time_is_unknown_and_never_zero(queue: Any, first: Any) -> None:
    assert with_times(USAGE, {"queue_time_ms": queue, "time_to_first_token_ms": first}) == USAGE


@given(TIME, NO_TIME)
def test_each_is_judged_alone(time: float, wrong: Any) -> None:
    found = with_times(USAGE, {"queue_time_ms": time, "time_to_first_token_ms": wrong})
    assert found == Usage(3, 5, 2, times=EngineTimes(time / 1000, None))


@pytest.mark.parametrize("metrics", [None, [], "x", 3, True, {}, {"mean_itl_ms": 3.0}])
def test_without_times_the_usage_is_the_same_object(metrics: Any) -> None:
    assert with_times(USAGE, metrics) is USAGE
    assert with_times(None, {"queue_time_ms": 1.0}) is None
