"""Where a rising function crosses zero."""

from collections.abc import Callable

_MOST_STEPS = 200


def crossing(function: Callable[[float], float], low: float, high: float, resolution: float) -> float:
    """A place within `resolution` of where a rising function, negative at `low` and positive at `high`, crosses 0.

    Inverse quadratic steps that fall back on bisection: Chandrupatla (1997), Advances in Engineering Software 28(3),
    145-149. Where the function is at or above 0 everywhere the place is `low`, where it is below 0 everywhere `high`.
    """
    at, beside = high, low
    value, other = function(at), function(beside)
    if other >= 0.0 or value <= 0.0:
        return low if other >= 0.0 else high
    third, third_value, share = beside, other, 0.5
    for _ in range(_MOST_STEPS):
        new = at + share * (beside - at)
        found = function(new)
        if (found < 0.0) == (value < 0.0):
            third, third_value = at, value
        else:
            third, third_value, beside, other = beside, other, at, value
        at, value = new, found
        width = abs(beside - at)
        if value == 0.0 or width <= resolution:
            break
        share = _share((at, beside, third), (value, other, third_value), 0.5 * resolution / width)
    return at if abs(value) < abs(other) else beside


def _share(places: tuple[float, float, float], values: tuple[float, float, float], least: float) -> float:
    """How far to go from the first place towards the second, at least `least` from either."""
    (a, b, c), (fa, fb, fc) = places, values
    if fa in (fb, fc) or fb == fc:
        return 0.5
    xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
    if not phi * phi < xi < 1.0 - (1.0 - phi) ** 2:
        return 0.5
    share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return min(1.0 - least, max(least, share))
