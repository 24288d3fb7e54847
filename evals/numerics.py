"""The numerics under the statistics: where a function crosses zero, and the law of a sum of weighted gamma variables.

numpy is loaded on first use.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

_MOST_STEPS = 200

_RESOLVED = 2 * math.pi / 0.03
"""Points for each unit of log t, times 2 pi: what an integrand needs that does not oscillate."""
_NEGLIGIBLE = 1e-14
_SURE = 1e-13
_FAR = 6.0
_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997)
_APART, _SMALL, _POWERS = 64, 0.25, 24
_CELLS = 1 << 21


def numpy() -> ModuleType:
    """numpy, which this module owns, loaded on first use."""
    import numpy as np

    return np


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


def probability_not_positive(weights: Any, counts: Any) -> float:
    """P(sum_j weights_j Gamma(counts_j, 1) <= 0) of independent variables, within about 1e-11. Counts are positive.

    F(0) = 1/2 - (1/pi) integral_0^inf Im phi(t) / t dt with phi(t) = prod_j (1 - i w_j t)^(-k_j) (Gil-Pelaez 1951). In
    u = log t the integrand dies exponentially at both ends, however few or uneven the weights are, and it is analytic
    in a strip, so that the trapezoidal rule converges exponentially once it has a point for every turn of phi: some
    hundred points where weights of both signs balance, and more where many small ones stand against a large one.
    Chernoff's bound tells where the probability cannot be told from 0 or 1.
    """
    np = numpy()
    w, k = weights[weights != 0.0], counts[weights != 0.0]
    if w.size == 0 or w.max() < 0.0:
        return 1.0
    if w.min() > 0.0:
        return 0.0
    w = w / np.max(np.abs(w))
    drift = float(k @ w)
    if abs(drift) > _FAR * math.sqrt(float(k @ (w * w))) and _chernoff(math.copysign(1.0, drift) * w, k) < _SURE:
        return 0.0 if drift > 0.0 else 1.0
    order = np.argsort(-np.abs(w), kind="stable")
    w, k = w[order], k[order]
    start, end = _NEGLIGIBLE / float(k @ np.abs(w)), _where_negligible(w, k)
    t = np.exp(np.arange(math.log(start), math.log(end), 2 * math.pi / (_RESOLVED + _fastest(w, k, end))))
    magnitude, angle = _log_phi(w, k, t)
    step = math.log(t[1] / t[0])
    integral = float(np.sum(np.exp(-magnitude) * np.sin(angle))) * step
    return min(1.0, max(0.0, 0.5 - integral / math.pi))


def _chernoff(w: Any, k: Any) -> float:
    """An upper bound on P(sum <= 0) of a sum with a positive mean: the least E exp(-a sum) over some a > 0."""
    np = numpy()
    most = 1.0 / -float(w.min())
    near = float(k @ w) / float(k @ (w * w))
    tried = [share * most for share in _SHARES] + ([near] if near < 0.999 * most else [])
    return math.exp(min(0.0, *(-float(k @ np.log1p(a * w)) for a in tried)))


def _fastest(w: Any, k: Any, end: float) -> float:
    """The most that the angle of phi turns for one unit of log t."""
    np = numpy()
    t = end * np.exp(-np.arange(24) / 3.0)
    turns = np.zeros(t.size)
    for first in range(0, w.size, _CELLS // 32):
        wt = w[first : first + _CELLS // 32, None] * t
        turns += k[first : first + _CELLS // 32] @ (wt / (1.0 + wt * wt))
    return float(np.abs(turns).max())


def _log_phi(w: Any, k: Any, t: Any) -> tuple[Any, Any]:
    """(-log |phi(t)|, angle of phi(t)); the weights stand in falling order of their size.

    The largest ones are taken one by one, the many small ones by sums of their powers wherever |w t| <= 1/4.
    """
    np = numpy()
    magnitude, angle = _by_terms(w[:_APART], k[:_APART], t)
    rest, numbers = w[_APART:], k[_APART:]
    split = int(np.searchsorted(t, _SMALL / abs(rest[0]))) if rest.size else 0
    for part, way in ((slice(0, split), _by_powers), (slice(split, None), _by_terms)):
        if rest.size and t[part].size:
            more, further = way(rest, numbers, t[part])
            magnitude[part] += more
            angle[part] += further
    return magnitude, angle


def _by_terms(w: Any, k: Any, t: Any) -> tuple[Any, Any]:
    np = numpy()
    magnitude, angle = np.zeros(t.size), np.zeros(t.size)
    block = max(1, _CELLS // max(1, t.size))
    for first in range(0, w.size, block):
        wt = w[first : first + block, None] * t
        kk = k[first : first + block]
        magnitude += 0.5 * (kk @ np.log1p(wt * wt))
        angle += kk @ np.arctan(wt)
    return magnitude, angle


def _by_powers(w: Any, k: Any, t: Any) -> tuple[Any, Any]:
    """From log phi(t) = sum_m (i t)^m / m sum_j k_j w_j^m.

    What is left out after 24 powers is below 5e-17 for each count of a weight, no more than rounding.
    """
    np = numpy()
    magnitude, angle = np.zeros(t.size), np.zeros(t.size)
    scale = abs(float(w[0]))
    unit, power, turn = w / scale, k, t * scale
    for m in range(1, _POWERS + 1):
        power = power * unit
        term = float(np.sum(power)) / m * turn**m
        if m % 2:
            angle += term if m % 4 == 1 else -term
        else:
            magnitude += term if m % 4 == 2 else -term
    return magnitude, angle


def _where_negligible(w: Any, k: Any) -> float:
    """A t beyond which |phi(t)| is negligible. The largest |w| is 1, so that t below 1e15 suffices for any k."""
    np = numpy()
    enough = -math.log(_NEGLIGIBLE)
    end = math.sqrt(2.0 * enough / float(k @ (w * w)))  # log(1 + x) <= x: it is not before this
    while 0.5 * float(k @ np.log1p((w * end) ** 2)) < enough:
        end *= 1.5
    return end
