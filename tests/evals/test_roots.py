import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from evals.roots import crossing

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
