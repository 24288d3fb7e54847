"""Token counts: what an engine reports, and what is no report."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.usage import Usage, from_anthropic, from_openai, from_responses
from tests.engine import recordings

COUNT = st.integers(0, 10**9)
NO_COUNT = st.none() | st.booleans() | st.integers(max_value=-1) | st.floats() | st.text(max_size=5) | st.just([])


def test_a_recorded_usage() -> None:
    usage = {
        "prompt_tokens": 11,
        "total_tokens": 19,
        "completion_tokens": 8,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    assert b'"usage":{"prompt_tokens":11,"total_tokens":19,"completion_tokens":8' in recordings.load("chat").body
    assert from_openai(usage) == Usage(11, 8, None)


def test_an_embedding_has_no_completion() -> None:
    assert from_openai({"prompt_tokens": 3, "total_tokens": 3}) == Usage(3, 0, None)
    assert from_openai({"prompt_tokens": 3, "completion_tokens": None}) == Usage(3, 0, None)


def test_unknown_is_not_zero() -> None:
    assert from_openai({"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {}}) == Usage(3, 1, None)
    details = {"cached_tokens": 0}
    assert from_openai({"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": details}) == Usage(3, 1, 0)


@settings(deadline=None)
@given(prompt=COUNT, output=COUNT, cached=st.none() | COUNT)
def test_every_count_is_read(prompt: int, output: int, cached: int | None) -> None:
    details = {"cached_tokens": cached, "created_cache_tokens": None, "multimodal_tokens": {"image": 3}}
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "prompt_tokens_details": details}
    assert from_openai(usage) == Usage(prompt, output, cached)


@settings(deadline=None)
@given(thought=NO_COUNT)
def test_reasoning_is_a_part_of_the_output_where_it_is_told(thought: Any) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}
    assert from_openai(usage) == Usage(2, 9, None, 4)
    response = {"input_tokens": 2, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}}
    assert from_responses(response) == Usage(2, 9, None, 4)
    assert from_openai({**usage, "completion_tokens_details": {"reasoning_tokens": thought}}) == Usage(2, 9)
    assert from_responses({**response, "output_tokens_details": {"reasoning_tokens": thought}}) == Usage(2, 9)


@settings(deadline=None)
@given(prompt=NO_COUNT)
def test_no_prompt_count_is_no_usage(prompt: Any) -> None:
    assert from_openai({"prompt_tokens": prompt, "completion_tokens": 1}) is None


@settings(deadline=None)
@given(output=NO_COUNT.filter(bool))
def test_a_completion_count_that_is_no_count_is_no_usage(output: Any) -> None:
    assert from_openai({"prompt_tokens": 1, "completion_tokens": output}) is None


@settings(deadline=None)
@given(cached=NO_COUNT)
def test_a_cached_count_that_is_no_count_is_unknown(cached: Any) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": cached}}
    assert from_openai(usage) == Usage(2, 1, None)


@pytest.mark.parametrize("value", [None, [], "", 3, {}, {"completion_tokens": 4}, {"usage": {"prompt_tokens": 1}}])
def test_what_is_no_usage_object_is_no_usage(value: Any) -> None:
    assert from_openai(value) is None


def test_usage_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Usage(1, 2).input_tokens = 3  # type: ignore[misc]


def test_anthropics_input_leaves_out_what_a_cache_gave_or_took() -> None:
    usage = {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2}
    assert from_anthropic(usage) == Usage(13, 5, 8)
    assert from_anthropic({"input_tokens": 3, "output_tokens": 5}) == Usage(3, 5, None)


def test_a_later_count_of_anthropics_may_leave_the_input_out() -> None:
    assert from_anthropic({"output_tokens": 5}, Usage(13, 0, 8)) == Usage(13, 5, 8)
    assert from_anthropic({"output_tokens": 5}) is None


@settings(deadline=None)
@given(NO_COUNT.filter(lambda value: value is not None))
def test_what_is_no_count_of_anthropics_leaves_the_one_before(value: Any) -> None:
    before = Usage(1, 1)
    for name in ("input_tokens", "cache_read_input_tokens"):
        if value:
            assert from_anthropic({"input_tokens": 3, "output_tokens": 5, name: value}, before) == before
    if value:
        assert from_anthropic({"input_tokens": 3, "output_tokens": value}, before) == before
    assert from_anthropic(value, before) == before


def test_the_usage_of_a_response() -> None:
    usage = {"input_tokens": 3, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 2}}
    assert from_responses(usage) == Usage(3, 5, 2)
    assert from_responses({"input_tokens": 3, "output_tokens": 5}) == Usage(3, 5, None)


@pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": 3}, {"input_tokens": 3, "output_tokens": True}])
def test_a_response_without_a_count(usage: Any) -> None:
    assert from_responses(usage) is None
