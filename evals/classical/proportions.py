"""Intervals for a proportion: k of n passed, each sample on its own."""

from typing import NamedTuple


class Interval(NamedTuple):
    """Two bounds, in the unit of what they enclose."""

    lower: float
    upper: float


def wilson(passed: int, samples: int, *, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval (1927), two-sided, in [0, 1]; None without a sample. Raises ValueError.

    On average as wide as it says, also near 0 and 1, where Wald's interval shrinks to nothing.
    """
    return _interval(passed, samples, confidence, "wilson")


def clopper_pearson(passed: int, samples: int, *, confidence: float = 0.95) -> Interval | None:
    """Clopper and Pearson's exact interval (1934), two-sided, in [0, 1]; None without a sample. Raises ValueError.

    It covers at least as often as it says, at any size: 10 of 10 gives (0.6915, 1).
    """
    return _interval(passed, samples, confidence, "beta")


def _interval(passed: int, samples: int, confidence: float, method: str) -> Interval | None:
    if not 0 <= passed <= samples:
        raise ValueError(f"expected between 0 and {samples} passed samples, found {passed}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"expected a confidence between 0 and 1, found {confidence!r}")
    if samples == 0:
        return None
    from statsmodels.stats.proportion import proportion_confint

    lower, upper = proportion_confint(passed, samples, alpha=1.0 - confidence, method=method)
    share = passed / samples  # rounding alone puts it outside, at 0 and at 1
    return Interval(max(0.0, min(float(lower), share)), min(1.0, max(float(upper), share)))
