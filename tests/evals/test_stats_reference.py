"""Planning against figures that others computed: the t test's, which the gate's exact bound comes near from below."""

import math

import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestPower

from evals.stats import Design, power, samples_needed

ALPHA = 0.05


def design(samples: int, sd: float) -> Design:
    return Design(samples, samples, 1, sd, 1.0, ALPHA)


@pytest.mark.parametrize(("margin", "normal"), [(0.05, 223), (0.02, 1392)])
def test_the_samples_that_a_margin_takes(margin: float, normal: int) -> None:
    """At sd 0.3 and power 0.8; a bound that holds at every size costs some more, and less the more there are."""
    quantiles = norm.ppf(1 - ALPHA) + norm.ppf(0.8)
    assert math.ceil((quantiles * 0.3 / margin) ** 2) == normal
    student = TTestPower().solve_power(effect_size=margin / 0.3, alpha=ALPHA, power=0.8, alternative="larger")
    needed = samples_needed(design(100, 0.3), margin, 0.8)
    assert needed is not None
    assert normal <= math.ceil(student) < needed < normal * (1.25 if normal < 500 else 1.10)


CHANGED, MARGIN = 0.10, 0.02
OPERATING = {
    50: ((0.67, 0.50, 0.25), (0.12, 0.05, 0.01)),
    300: ((0.86, 0.50, 0.05), (0.29, 0.05, 0.00)),
    1000: ((0.98, 0.50, 0.00), (0.64, 0.05, 0.00)),
    2000: ((1.00, 0.50, 0.00), (0.88, 0.05, 0.00)),
}
"""P(pass) by samples of a point threshold and of a normal bound, at a true difference of 0, -0.02 and -0.05."""


@pytest.mark.parametrize("samples", OPERATING)
@pytest.mark.parametrize(("position", "truth"), [(0, 0.0), (1, -0.02), (2, -0.05)])
def test_operating_characteristics(samples: int, position: int, truth: float) -> None:
    points, bounds = OPERATING[samples]
    sd = math.sqrt(CHANGED - truth**2)
    away = (MARGIN + truth) / (sd / math.sqrt(samples))
    assert norm.cdf(away) == pytest.approx(points[position], abs=0.006)
    assert norm.cdf(away - norm.ppf(1 - ALPHA)) == pytest.approx(bounds[position], abs=0.006)
    found = power(design(samples, sd), MARGIN + truth)
    assert bounds[position] - 0.09 <= found <= bounds[position] + 0.006
    if samples == 2000:
        assert found == pytest.approx(bounds[position], abs=0.02)
