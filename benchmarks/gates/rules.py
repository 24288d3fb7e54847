"""Rules that gates in the field go by, beside ours: does a release pass?

They see the samples that both runs have a score of, averaged over epochs. What is missing they do not see.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.gates.worlds import Draw
from evals import resampling, stats

ALPHA = 0.05
RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A draw as a rule sees it: differences by sample, by cluster, a generator for rules that draw."""

    draw: Draw
    differences: Any
    clusters: list[stats.Cluster]
    rng: Any

    @classmethod
    def of(cls, draw: Draw, rng: Any) -> "Seen":
        """Pair the runs."""
        both = draw.candidate.mean(axis=1) - draw.baseline.mean(axis=1)
        known = ~np.isnan(both)
        values, names = both[known], draw.clusters[known]
        sums, sizes = np.bincount(names, values), np.bincount(names)
        clusters = [stats.Cluster(float(s), int(n)) for s, n in zip(sums, sizes, strict=True) if n]
        return cls(draw, values, clusters, rng)


def point(seen: Seen, margin: float) -> bool:
    """The estimate is above the threshold."""
    return bool(seen.differences.mean() >= -margin)


def not_significant(seen: Seen, margin: float) -> bool:
    """No significant regression: |t| below its quantile, or a gain."""
    del margin
    error = seen.differences.std(ddof=1) / math.sqrt(seen.differences.size)
    return bool(seen.differences.mean() >= -t.ppf(1 - ALPHA / 2, seen.differences.size - 1) * error)


def plain_t(seen: Seen, margin: float) -> bool:
    """The t bound of a paired difference, every sample on its own."""
    error = seen.differences.std(ddof=1) / math.sqrt(seen.differences.size)
    return bool(seen.differences.mean() - t.ppf(1 - ALPHA, seen.differences.size - 1) * error >= -margin)


def clustered_t(seen: Seen, margin: float) -> bool:
    """The cluster-robust t bound."""
    error = stats.standard_error(seen.clusters)
    return bool(stats.mean(seen.clusters) - t.ppf(1 - ALPHA, len(seen.clusters) - 1) * error >= -margin)


def percentile(seen: Seen, margin: float) -> bool:
    """The percentile bootstrap over clusters."""
    sums, sizes = np.array(seen.clusters).T
    picked = seen.rng.integers(0, sums.size, size=(RESAMPLES, sums.size))
    means = sums[picked].sum(axis=1) / sizes[picked].sum(axis=1)
    return bool(np.quantile(means, ALPHA) >= -margin)


def bca(seen: Seen, margin: float) -> bool:
    """The BCa bootstrap over clusters; where nothing differs it has no width."""
    found = resampling.bootstrap(seen.clusters, rng=seen.rng, resamples=RESAMPLES, confidence=1 - 2 * ALPHA)
    return (found.estimate if found.lower is None else found.lower) >= -margin


def ours(seen: Seen, margin: float) -> bool:
    """The gate's bound."""
    return p_value(seen.draw, -margin) <= ALPHA


def p_value(draw: Draw, at: float) -> float:
    """Of "the true difference is at most `at`": the gate's lower bound clears `at` when it is alpha or less."""
    return stats.tail(draw.clusters_of(), at=at, worst=-1.0)


def p_worse(draw: Draw) -> float:
    """Of "the true difference is at least 0": the gate says `fail` when it is alpha or less."""
    turned = [stats.Cluster(-total, size) for total, size in draw.clusters_of(best=True)]
    return stats.tail(turned, at=0.0, worst=-1.0)


RULES: Mapping[str, Callable[[Seen, float], bool]] = {
    "point": point,
    "no significant drop": not_significant,
    "t": plain_t,
    "clustered t": clustered_t,
    "percentile bootstrap": percentile,
    "BCa bootstrap": bca,
    "Tollgate": ours,
}
