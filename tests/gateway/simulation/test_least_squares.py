"""Least squares that cannot be negative, against answers that are known."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls as reference

from gateway.simulation.least_squares import independent, nnls


def test_an_exact_answer_is_found() -> None:
    rows = [[1.0, 0.0, 2.0], [1.0, 3.0, 0.0], [1.0, 1.0, 1.0], [1.0, 5.0, 7.0]]
    truth = [0.5, 0.25, 2.0]
    values = [sum(x * y for x, y in zip(row, truth, strict=True)) for row in rows]
    assert nnls(rows, values) == pytest.approx(truth)


def test_columns_of_very_different_sizes_are_told_apart() -> None:
    random = Random(1)
    rows = [[1.0, random.uniform(0, 8192), random.uniform(0, 256), random.uniform(0, 1e6)] for _ in range(40)]
    truth = [0.012, 5e-5, 3e-5, 4e-8]
    values = [sum(x * y for x, y in zip(row, truth, strict=True)) for row in rows]
    assert nnls(rows, values) == pytest.approx(truth, rel=1e-6)


def test_what_would_be_negative_is_zero() -> None:
    assert nnls([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [3.0, 2.0, 1.0]) == pytest.approx([2.0, 0.0])
    assert nnls([[1.0], [2.0]], [-1.0, -2.0]) == [0.0]


def test_columns_that_say_the_same_do_not_break_it() -> None:
    found = nnls([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], [1.0, 2.0, 3.0])
    assert found[0] + 2 * found[1] == pytest.approx(1.0)


def test_columns_that_say_the_same_are_told() -> None:
    assert independent([[1.0, 2.0], [1.0, 3.0]])
    assert not independent([[1.0, 2e6], [1.5, 3e6], [3.0, 6e6]])
    assert not independent([[1.0, 0.0], [2.0, 0.0]])


numbers = st.floats(-10, 10).map(lambda value: round(value, 3))


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.tuples(st.lists(numbers, min_size=n, max_size=n), numbers), min_size=5, max_size=9)
    )
)
def test_no_other_answer_is_better(system: list[tuple[list[float], float]]) -> None:
    rows, values = [row for row, _ in system], [value for _, value in system]
    found = nnls(rows, values)
    assert min(found) >= 0
    _, norm = reference(rows, values)
    missed = sum((sum(x * y for x, y in zip(row, found, strict=True)) - value) ** 2 for row, value in system)
    assert missed**0.5 == pytest.approx(float(norm), abs=1e-4)
