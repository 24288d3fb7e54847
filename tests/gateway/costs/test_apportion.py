"""Whole parts of a whole amount: they add up, and each is as near as it can be."""

import math
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.apportion import apportion

TOTALS = st.integers(0, 10**15)
WEIGHTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.one_of(st.integers(0, 10**9), st.floats(0, 1e12), st.fractions(0, 1000, max_denominator=1000)),
    min_size=1,
    max_size=30,
)


@given(TOTALS, WEIGHTS)
def test_the_parts_always_add_up(total: int, weights: dict[str, int | float | Fraction]) -> None:
    parts = apportion(total, weights)
    assert sum(parts.values()) == total
    assert parts.keys() == weights.keys()


@given(TOTALS, WEIGHTS)
def test_no_part_is_a_unit_away_from_its_exact_share(total: int, weights: dict[str, int | float | Fraction]) -> None:
    whole = sum(map(Fraction, weights.values()))
    for key, part in apportion(total, weights).items():
        exact = total * Fraction(weights[key]) / whole if whole else Fraction(total, len(weights))
        assert abs(part - exact) < 1
        assert part >= 0


@given(TOTALS, WEIGHTS)
def test_who_weighs_more_never_gets_less(total: int, weights: dict[str, int | float | Fraction]) -> None:
    parts = apportion(total, weights)
    rising = sorted(weights, key=lambda key: Fraction(weights[key]))
    assert all(parts[less] <= parts[more] for less, more in pairwise(rising)
               if weights[less] < weights[more])  # fmt: skip


@given(TOTALS, WEIGHTS, st.randoms())
def test_the_order_of_the_keys_does_not_matter(
    total: int, weights: dict[str, int | float | Fraction], random: Random
) -> None:
    items = list(weights.items())
    random.shuffle(items)
    assert apportion(total, dict(items)) == apportion(total, weights)


def test_what_is_left_goes_to_the_largest_remainders() -> None:
    assert apportion(10, {"a": 4.4, "b": 3.1, "c": 2.5}) == {"a": 4, "b": 3, "c": 3}


def test_of_equal_remainders_the_smaller_key_gets_it() -> None:
    assert apportion(5, {"c": 1, "b": 1, "a": 1}) == {"c": 1, "b": 2, "a": 2}


def test_where_all_weights_are_0_all_weigh_the_same() -> None:
    assert apportion(7, {"a": 0, "b": 0.0}) == {"a": 4, "b": 3}


def test_a_weight_of_0_beside_others_gets_nothing() -> None:
    assert apportion(7, {"a": 0, "b": 1e-300, "c": 1e-300}) == {"a": 0, "b": 4, "c": 3}


def test_nothing_is_shared_among_nobody() -> None:
    assert apportion(0, {}) == {}
    with pytest.raises(ValueError, match="somebody to share 1 among, found nobody"):
        apportion(1, {})


@pytest.mark.parametrize("weight", [-1, -0.5, math.nan, math.inf, Fraction(-1, 2)])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="expected weights of 0 or more"):
        apportion(1, {"a": 1.0, "b": weight})


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="an amount of 0 or more to share, found -1"):
        apportion(-1, {"a": 1})
