"""The cluster bootstrap: an interval that others know, beside the bound that decides.

Clusters are drawn with replacement, as many as there are, and the mean over all their samples is taken each time. The
interval is bias-corrected and accelerated (BCa: Efron 1987, JASA 82:171-185). It is a cross-check and never a verdict:
with few clusters, or few that differ, it is too narrow. Where nothing differs every resample is the same, and their
quantiles would be an interval of width 0: there it says nothing, or what the exact bound says (0 of n clusters differ,
so that at most a share 1 - (alpha/2)^(1/n) of all does: Clopper and Pearson), when it is told the range of the values.

What is equal is drawn together: the numbers of equal clusters in a resample are one multinomial variable, which is the
same as drawing them one by one. Where most clusters differ, those of one size whose means lie within a thousandth of
the range are drawn together at their common mean; if that took more than a ten-thousandth of the variance (it is
computed), each one is drawn by itself.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from evals import stats
from evals.numerics import numpy
from evals.stats import Cluster

RESAMPLES = 10_000
FEW = 10
"""With fewer clusters than this that differ from the most common value, a resample may well hold none of them."""

_CELLS = 1 << 20
_ONE_BY_ONE = 16
"""A binomial variable takes about as long as so many single draws."""
_BINS, _MOST_LOST = 1000, 1e-4


@dataclass(frozen=True, slots=True)
class Resampled:
    """What resampling says of a mean, in the unit of the values.

    `lower` and `upper` are None where it can say nothing; `caution` says why, or why the interval is not to be trusted.
    With `resamples` 0 nothing differed, and the interval is the exact one.
    """

    estimate: float
    lower: float | None
    upper: float | None
    resamples: int
    clusters: int
    caution: str = ""


def generator(seed: int) -> Any:
    """A numpy generator that is fast at what is asked of it here; the same seed gives the same interval."""
    np = numpy()
    return np.random.Generator(np.random.SFC64(seed))


def bootstrap(
    clusters: Sequence[Cluster],
    *,
    rng: Any,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    span: tuple[float, float] | None = None,
) -> Resampled:
    """The two-sided BCa interval of the mean over samples. `rng` is a numpy Generator, such as `generator(seed)`.

    `span` is the smallest and the largest value that a sample can have: -1 and 1 for a difference of scores.
    Raises ValueError without clusters, for fewer than 100 resamples, and for a confidence outside (0, 1).
    """
    if not clusters or resamples < 100 or not 0.0 < confidence < 1.0:
        found = f"{len(clusters)} clusters, {resamples} resamples, confidence {confidence:g}"
        raise ValueError(f"expected a cluster, at least 100 resamples and a confidence in (0, 1), found {found}")
    np = numpy()
    known = stats.Known.of(clusters)
    estimate, count = stats.mean(clusters), len(clusters)
    others = count - int(known.counts[_most_common(known)].sum())
    if others == 0:
        alike = f"all {count} clusters have the same mean"
        if span is None:
            return Resampled(estimate, None, None, resamples, count, alike)
        each = (1.0 - confidence) / 2.0
        lower = stats.lower_bound(clusters, worst=span[0], alpha=each)
        upper = stats.upper_bound(clusters, best=span[1], alpha=each)
        return Resampled(estimate, lower, upper, 0, count, alike)
    drawn = np.concatenate(list(_means(known, count, resamples, rng)))
    lower, upper = _corrected(known, drawn, confidence)
    few = f"only {others} of {count} clusters differ from the rest" if others < FEW or count < 2 * FEW else ""
    return Resampled(estimate, lower, upper, resamples, count, few)


def _most_common(known: stats.Known) -> Any:
    """Which distinct clusters have the mean that most clusters have."""
    np = numpy()
    means, where = np.unique(np.round(known.totals / known.sizes, 12), return_inverse=True)
    del means
    return where == np.argmax(np.bincount(where, known.counts))


def _means(known: stats.Known, count: int, resamples: int, rng: Any) -> Iterator[Any]:
    """The means of all resamples, in blocks of bounded size."""
    np = numpy()
    together = next((k for k in (known, _binned(known)) if k is not None and k.counts.size * _ONE_BY_ONE < count), None)
    if together is not None:
        known, block = together, max(1, _CELLS // together.counts.size)
        for first in range(0, resamples, block):
            numbers = rng.multinomial(count, known.counts / count, size=min(block, resamples - first))
            yield (numbers @ known.totals) / (numbers @ known.sizes)
        return
    totals, sizes = (np.repeat(values, known.counts.astype(int)) for values in (known.totals, known.sizes))
    alike = bool((sizes == sizes[0]).all())
    block = max(1, _CELLS // count)
    for first in range(0, resamples, block):
        shape = (min(block, resamples - first), count)
        picked = rng.integers(0, count, size=shape, dtype=np.uint32)
        summed = totals.take(picked).sum(axis=1)
        yield summed / (count * sizes[0] if alike else sizes.take(picked).sum(axis=1))


def _binned(known: stats.Known) -> stats.Known | None:
    """Clusters of one size with nearly the same mean, taken together; None when too much of the variance went."""
    np = numpy()
    means = known.totals / known.sizes
    places = np.floor((means - means.min()) * (_BINS / (means.max() - means.min())))
    _, where = np.unique(known.sizes * (_BINS + 1.0) + places, return_inverse=True)
    counts = np.bincount(where, known.counts)
    totals = np.bincount(where, known.counts * known.totals) / counts
    centre = float(known.totals @ known.counts) / float(known.sizes @ known.counts)
    lost = float(known.counts @ (known.totals - totals[where]) ** 2)
    if lost > _MOST_LOST * float(known.counts @ (known.totals - centre * known.sizes) ** 2):
        return None
    sizes = np.bincount(where, known.counts * known.sizes) / counts
    return stats.Known(totals, np.rint(sizes), counts, known.largest)


def _corrected(known: stats.Known, drawn: Any, confidence: float) -> tuple[float, float]:
    """The BCa quantiles; where the estimate lies outside of all resamples, the plain ones."""
    np, normal = numpy(), NormalDist()
    total, size = float(known.totals @ known.counts), float(known.sizes @ known.counts)
    estimate = total / size
    below = float(np.mean(drawn < estimate) + np.mean(drawn <= estimate)) / 2.0
    levels = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    if 0.0 < below < 1.0:
        bias, acceleration = normal.inv_cdf(below), _acceleration(known, total, size)
        moved = [bias + normal.inv_cdf(level) for level in levels]
        levels = [normal.cdf(bias + z / (1.0 - acceleration * z)) for z in moved if acceleration * z < 1.0] or levels
    lower, upper = (float(q) for q in np.quantile(drawn, [levels[0], levels[-1]]))
    return lower, upper


def _acceleration(known: stats.Known, total: float, size: float) -> float:
    """From the means without one cluster each (Efron 1987, section 7); a sixth of their skewness."""
    np = numpy()
    without = (total - known.totals) / np.maximum(size - known.sizes, 1.0)
    away = np.average(without, weights=known.counts) - without
    squares = float(known.counts @ away**2)
    return float(known.counts @ away**3) / (6.0 * math.pow(squares, 1.5)) if squares > 0.0 else 0.0
