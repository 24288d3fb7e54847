"""Tokens before an engine has counted them: a guess at first, then what was learned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.estimate import OUTPUT_TOKENS, TOKENS_PER_BYTE, Estimator

COUNT = st.integers(0, 10**6)


def test_the_first_guess_is_four_bytes_a_token() -> None:
    estimator = Estimator()
    assert (estimator.tokens_per_byte, estimator.prompt(4000), estimator.output()) == (
        TOKENS_PER_BYTE,
        1000,
        OUTPUT_TOKENS,
    )


def test_it_learns_what_its_requests_are_like() -> None:
    estimator = Estimator()
    for _ in range(300):
        estimator.settled(8000, 4000, 40)
    assert estimator.prompt(2000) == pytest.approx(1000, rel=0.01)
    assert estimator.output() == pytest.approx(40, abs=1)


def test_short_bodies_do_not_drown_what_long_ones_say() -> None:
    estimator = Estimator()
    for _ in range(300):
        estimator.settled(100, 5, 10)
        estimator.settled(100_000, 25_000, 10)
    assert estimator.prompt(100_000) == pytest.approx(25_000, rel=0.02)


@given(st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=30), COUNT, st.none() | COUNT)
def test_an_estimate_is_within_what_was_seen_and_what_is_allowed(
    settled: list[tuple[int, int, int]], size: int, limit: int | None
) -> None:
    estimator = Estimator()
    for each in settled:
        estimator.settled(*each)
    assert estimator.prompt(size) >= 1
    assert 0 <= estimator.output(limit) <= max([OUTPUT_TOKENS, *(output for _, _, output in settled)])
    assert limit is None or estimator.output(limit) <= limit


def test_what_has_no_prompt_teaches_nothing_of_prompts() -> None:
    estimator = Estimator()
    estimator.settled(0, 0, 10)
    estimator.settled(10**6, 0, 10)
    assert estimator.tokens_per_byte == TOKENS_PER_BYTE
