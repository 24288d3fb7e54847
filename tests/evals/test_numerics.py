import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import beta

from evals import numerics
from evals.numerics import crossing, probability_not_positive

RISING = {
    "cubic": lambda x: x**3 - 0.2,
    "flat, then steep": lambda x: math.exp(400 * (x - 0.9)) - 1.0,
    "a step": lambda x: -0.05 if x < 0.123456789 else 0.95,
    "a tail": lambda x: 0.5 * (1 + math.erf((x - 0.4) / 1e-3)) - 0.05,
}


@pytest.mark.parametrize("name", RISING)
def test_it_finds_what_brents_method_finds(name: str) -> None:
    calls = []

    def counted(x: float) -> float:
        calls.append(x)
        return RISING[name](x)

    found = crossing(counted, -1.0, 1.0, 1e-11)
    expected = brentq(RISING[name], -1.0, 1.0, xtol=1e-13)
    assert found == pytest.approx(expected, rel=0, abs=2e-11)
    assert len(calls) < 80


@given(st.floats(-0.99, 0.99), st.floats(0.01, 50.0))
def test_the_place_is_within_the_resolution(root: float, slope: float) -> None:
    assert crossing(lambda x: math.atan(slope * (x - root)), -1.0, 1.0, 1e-9) == pytest.approx(root, abs=1e-9)


def test_a_crossing_that_is_flat_is_found_too() -> None:
    assert crossing(lambda x: (x - 0.3) ** 9, -1.0, 1.0, 1e-11) == pytest.approx(0.3, abs=1e-3)


def test_without_a_crossing_it_is_the_nearer_end() -> None:
    assert crossing(lambda x: x + 2.0, -1.0, 1.0, 1e-9) == -1.0
    assert crossing(lambda x: x - 2.0, -1.0, 1.0, 1e-9) == 1.0


# P(sum of weighted gamma variables <= 0)


@pytest.mark.parametrize("one", [1, 3])
@pytest.mark.parametrize("many", [2, 30, 1000, 100_000, 10_000_000])
@pytest.mark.parametrize("place", [1e-9, 1e-4, 0.02, 0.3, 0.5, 0.9, 0.9999])
def test_two_weights_are_a_beta_variable(one: int, many: int, place: float) -> None:
    # a G1 <= b G2 exactly when G1 / (G1 + G2) <= b / (a + b), which is a beta variable.
    share = float(beta.ppf(place, many, one))
    weights = np.array([1.0 - share, -share])
    found = probability_not_positive(weights, np.array([many, one], dtype=float))
    assert found == pytest.approx(place, rel=0, abs=3e-9 if many > 1_000_000 else 1e-10)


def test_far_from_the_middle_it_is_0_or_1_and_nothing_between() -> None:
    counts = np.array([100_000.0, 1.0])
    for at in (0.001, 0.01, 0.1, 0.5, 0.9):
        assert probability_not_positive(np.array([at, at - 1.0]), counts) == pytest.approx(0.0, abs=1e-12)
        assert probability_not_positive(np.array([-at, 1.0 - at]), counts) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("spread", [1.0, 0.01, 0.0])
@pytest.mark.parametrize("count", [80, 1500])
def test_many_weights_give_what_a_far_finer_sum_over_all_of_them_gives(
    spread: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(count)
    weights = np.append(generator.uniform(-1, 1, count) * spread + 2.0 / count, -1.0)
    weights = weights - np.quantile(weights, 0.5) * min(1.0, spread)
    counts = np.ones(count + 1)
    found = probability_not_positive(weights, counts)
    monkeypatch.setattr(numerics, "_APART", 10 * count)
    monkeypatch.setattr(numerics, "_RESOLVED", 6 * numerics._RESOLVED)
    assert found == pytest.approx(probability_not_positive(weights, counts), rel=0, abs=1e-11)
    assert 0.0 < found < 1.0


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([0.0, 0.0], 1.0), ([-1.0, 0.0], 1.0), ([1.0, 0.0], 0.0), ([0.0, 1e-9, 5.0], 0.0), ([1.0, -1.0], 0.5)],
)
def test_signs_alone_decide_the_ends(weights: list[float], expected: float) -> None:
    assert probability_not_positive(np.array(weights), np.ones(len(weights))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("many", [5, 50, 500])
@pytest.mark.parametrize("weight", [1.0, 5.0, 30.0])
def test_chernoffs_bound_lies_above_the_truth_and_near_it(many: int, weight: float) -> None:
    # P(v G <= E) = (1 + v)^-many for an exponential E and a gamma G of `many`.
    each = weight / many
    truth = (1.0 + each) ** -many
    found = numerics._chernoff(np.array([each, -1.0]), np.array([float(many), 1.0]))
    assert truth <= found <= min(1.0, 4.0 * (1.0 + weight) * truth)
