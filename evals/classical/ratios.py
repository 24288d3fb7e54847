"""The ratio of two runs' quantities, with one-sided bounds from the bootstrap of the clusters (scipy).

Clusters are drawn, each with all its answers of both runs, so that a pair stays a pair; the bounds are the percentiles
of the ratio. They are expanded for small numbers of clusters (Hesterberg 2015, The American Statistician 69:371-386,
section 5.2), because a bootstrap of C clusters is too narrow by sqrt((C - 1) / C) and knows no t.

Percentiles, and not BCa, for two reasons. They rise with every single value, because the same clusters are drawn
whatever the values are: no answer that got slower, dearer or lost can make a ratio pass, which BCa's corrections cannot
promise (and the jackknife behind its acceleration is inconsistent for a quantile: Efron 1982, section 3.4). And for a
ratio of two runs they cover no worse: on long tails BCa's upper bound missed the truth more often, not less.

Latency and cost have no largest value, so that no bound holds for every distribution, as the one of `stats` does for
scores: these are approximate, and with few clusters the more so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, log, sqrt
from typing import Any

from evals.numerics import numpy

RESAMPLES = 5000
SEED = 20260501
"""Fixed, so that the same runs give the same verdict."""

HUGE = 1e60
"""Stands for infinity, so that arithmetic stays defined, also where a bootstrap squares it over its inverse; what comes
near it is reported as infinite."""

_TINY, _BEYOND, _CELLS = 1.0 / HUGE, 1e40, 1 << 21


@dataclass(frozen=True, slots=True)
class Ratio:
    """Candidate over baseline and its bounds, each at confidence 1 - alpha; they may be infinite. None:
    unknowable, as bounds are with one cluster."""

    estimate: float | None
    lower: float | None
    upper: float | None
    candidate: float | None
    baseline: float | None
    same: bool = False
    """Whether every cluster has the same ratio: then the bounds have no width, which says little of other samples."""


def least_clusters(level: float, alpha: float) -> int:
    """So many clusters it takes for a bound above a quantile: log(alpha) / log(level) (Wilks 1941)."""
    return ceil(log(alpha) / log(level))


def of_means(
    candidate: Sequence[tuple[float, float]], baseline: Sequence[tuple[float, float]], *, alpha: float
) -> Ratio:
    """The ratio of sums over counts. Each entry is a cluster's (sum, count), the same clusters in the same order."""
    np = numpy()
    sums = np.array([*zip(*candidate, strict=True), *zip(*baseline, strict=True)], dtype=float)
    ours, theirs = (float(sums[i].sum() / max(sums[i + 1].sum(), _TINY)) for i in (0, 2))
    if theirs <= 0.0 or sums.shape[1] < 2:
        estimate = _real(ours / theirs) if theirs > 0.0 else None
        return Ratio(estimate, None, None, _real(ours), _real(theirs))

    def ratio(picked: Any, axis: int = -1) -> Any:
        a, n, b, m = (sums[i].take(picked).sum(axis=axis) for i in range(4))
        return a * m / (np.maximum(n, _TINY) * np.maximum(b, _TINY))

    alike = np.unique(np.round(sums[0] * sums[3] / np.maximum(sums[1] * sums[2], _TINY), 9)).size == 1
    lower, upper = _bounds(ratio, sums.shape[1], sums.shape[1], alpha)
    return Ratio(_real(ours / theirs), _real(lower), _real(upper), _real(ours), _real(theirs), alike)


def of_quantiles(
    candidate: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]], level: float, *, alpha: float
) -> Ratio:
    """The ratio of two quantiles (inverse of the distribution function). Each entry holds a cluster's values, above 0.

    Values may be infinite.
    """
    np = numpy()
    sides = [_Side.of(candidate), _Side.of(baseline)]

    def ratio(picked: Any, axis: int = -1) -> Any:
        del axis
        count = picked.shape[-1]
        flat = picked.reshape(-1, count)
        shifted = flat + count * np.arange(flat.shape[0])[:, None]
        times = np.bincount(shifted.ravel(), minlength=flat.shape[0] * count).reshape(flat.shape)
        ours, theirs = (side.quantile(times, level) for side in sides)
        return (ours / theirs).reshape(picked.shape[:-1])

    once = np.ones((1, len(candidate)), dtype=int)
    ours, theirs = (float(side.quantile(once, level)[0]) for side in sides)
    if len(candidate) < 2:
        return Ratio(_real(ours / theirs), None, None, _real(ours), _real(theirs))
    widest = max(side.values.size for side in sides)
    lower, upper = _bounds(ratio, len(candidate), widest, alpha)
    return Ratio(_real(ours / theirs), _real(lower), _real(upper), _real(ours), _real(theirs))


@dataclass(frozen=True, slots=True)
class _Side:
    """The values of one run, sorted, and the cluster of each."""

    values: Any
    clusters: Any

    @classmethod
    def of(cls, values: Sequence[Sequence[float]]) -> "_Side":
        np = numpy()
        flat = np.minimum(np.maximum(np.concatenate([np.asarray(v, dtype=float) for v in values]), _TINY), HUGE)
        clusters = np.repeat(np.arange(len(values)), [len(v) for v in values])
        order = np.argsort(flat, kind="stable")
        return cls(flat[order], clusters[order])

    def quantile(self, times: Any, level: float) -> Any:
        """For each row of `times` (how often each cluster was drawn) the smallest value that reaches the level."""
        np = numpy()
        reached = np.cumsum(times[:, self.clusters], axis=1)
        below = (reached < level * reached[:, -1:] - 1e-9).sum(axis=1)
        return self.values[np.minimum(below, self.values.size - 1)]


def expanded(alpha: float, clusters: int) -> float:
    """The level of the percentile to take for a bound at `alpha`: Phi(-sqrt(C / (C - 1)) t), t of C - 1 degrees."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, 1.0 - alpha)))


def _bounds(statistic: Callable[..., Any], clusters: int, width: int, alpha: float) -> tuple[float, float]:
    """The lower and the upper bound, each at confidence 1 - alpha."""
    from scipy.stats import bootstrap

    np = numpy()
    drawn = bootstrap(
        (np.arange(clusters),),
        statistic,
        n_resamples=RESAMPLES,
        method="percentile",
        confidence_level=1.0 - 2.0 * expanded(alpha, clusters),
        vectorized=True,
        batch=max(1, _CELLS // width),
        rng=np.random.default_rng(SEED),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _real(value: float) -> float:
    """Infinity and zero by their names again."""
    return inf if value >= _BEYOND else 0.0 if value <= 1.0 / _BEYOND else value
