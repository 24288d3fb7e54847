"""Statistics of scores in clusters: bounds on a mean, planned power, sample sizes. Pure functions of their arguments.

**The bound.** A gate may not lean on a normal approximation: ties, skew and few clusters are the rule in evaluation,
and there a t interval passes bad releases too often (or is [0, 0] on identical outputs). The bound used everywhere here
is Gaffke's for the mean of a bounded variable (Gaffke 2005; Learned-Miller and Thomas 2019,
arXiv 1905.06208; Phan, Thomas and Learned-Miller 2021, arXiv 2106.03163), with clusters as the units:

    R = (sum_c E_c S_c + E_0 m w) / (sum_c E_c n_c + E_0 m),   E_c, E_0 independent standard exponentials
    lower = alpha-quantile of R

S_c is the sum of a cluster's values, n_c its size, m the largest size, w the worst value possible. It is the Bayesian
bootstrap over clusters plus one unseen cluster, as large as the largest and as bad as can be. What follows:

- On values that are only best or worst it **is** Clopper and Pearson's exact bound: 0 bad of C gives 1 - alpha^(1/C).
- With many clusters it becomes the cluster-robust bound (statsmodels, `cov_type="cluster"`), corrected for skew.
- It rises with every single value. So over all ways to fill in missing values in [lo, hi], the smallest bound is the
  bound at the lowest corner: removing evidence can never help, and making one sample worse can never help.

R <= q exactly when a sum of exponentials with weights S_c - q n_c (and m (w - q)) is at most zero, and that probability
is a one-dimensional integral (see `numerics`), so there is no random number in it: same inputs, same bound. Equal
clusters are counted together.

numpy and scipy are loaded on the first call: a command that needs no statistics starts without them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from evals.numerics import crossing, numpy, probability_not_positive

DECIMALS = 9
"""Bounds are rounded to this many digits, far above the integral's error, so that machines agree on them."""

RESOLUTION = 1e-11
"""How close the search for a bound comes."""

_NO_LIMIT = 1_000_000_000


class Cluster(NamedTuple):
    """The values of one cluster: their sum (in the metric's unit) and how many samples it has."""

    total: float
    size: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Sample standard deviation of the values and the design effect (cluster-robust over naive variance), both >= 0."""

    sd: float
    design_effect: float


def lower_bound(clusters: Sequence[Cluster], *, worst: float, alpha: float) -> float:
    """One-sided lower bound at confidence 1 - alpha on the mean over all samples of the clusters' population.

    `worst` is the smallest value a sample can have. Fewer than one cluster: `worst`, nothing is known.
    """
    highest = max((c.total / c.size for c in clusters), default=worst)
    if highest - worst <= RESOLUTION:
        return worst  # rounded down: nothing lies between the two that could be told from them
    known = Known.of(clusters)
    return round(crossing(lambda at: known.tail(at, worst) - alpha, worst, highest, RESOLUTION), DECIMALS)


def upper_bound(clusters: Sequence[Cluster], *, best: float, alpha: float) -> float:
    """The mirror image of `lower_bound`; `best` is the largest value a sample can have."""
    return 0.0 - lower_bound([Cluster(-c.total, c.size) for c in clusters], worst=-best, alpha=alpha)


def tail(clusters: Sequence[Cluster], *, at: float, worst: float) -> float:
    """P(R <= at) in the module's notation: the p-value of "the mean is at most `at`". In [0, 1], rising in `at`."""
    return Known.of(clusters).tail(at, worst)


@dataclass(frozen=True, slots=True)
class Known:
    """Clusters as arrays, equal ones counted: their sums, their sizes, and how many there are of each."""

    totals: Any
    sizes: Any
    counts: Any
    largest: int

    @classmethod
    def of(cls, clusters: Sequence[Cluster]) -> "Known":
        """Count clusters; at least one. Sums are rounded to 14 digits first, far below what a bound is rounded to."""
        np = numpy()
        pairs = np.array(clusters, dtype=float).reshape(-1, 2)
        pairs[:, 0] = np.round(pairs[:, 0], 14)
        order = np.lexsort(pairs.T)
        pairs = pairs[order]
        first = np.ones(len(pairs), dtype=bool)
        first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
        starts = np.flatnonzero(first)
        counts = np.diff(np.append(starts, len(pairs))).astype(float)
        return cls(pairs[starts, 0], pairs[starts, 1], counts, int(pairs[:, 1].max()))

    def tail(self, at: float, worst: float) -> float:
        """P(R <= at)."""
        np = numpy()
        weights = np.round(np.append(self.totals - at * self.sizes, self.largest * (worst - at)), 14)
        return probability_not_positive(weights, np.append(self.counts, 1.0))


def grouped(keys: Sequence[str], values: Sequence[float]) -> list[Cluster]:
    """The values of each key together, in the order of the keys, so that no order of a log moves a sum."""
    found: dict[str, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        found.setdefault(key, []).append(value)
    return [Cluster(math.fsum(found[key]), len(found[key])) for key in sorted(found)]


def mean(clusters: Iterable[Cluster]) -> float:
    """Mean over samples (not over clusters). Raises ZeroDivisionError when there is none."""
    listed = list(clusters)
    return math.fsum(c.total for c in listed) / sum(c.size for c in listed)


def standard_error(clusters: Sequence[Cluster]) -> float:
    """Cluster-robust standard error of the mean: sqrt(sum_c (S_c - n_c mean)^2 C/(C-1)) / n (Miller 2024, eq. 4).

    The same as statsmodels' OLS on a constant with `cov_type="cluster"`. Needs two clusters (ValueError).
    """
    count, samples, centre = len(clusters), sum(c.size for c in clusters), mean(clusters)
    if count < 2:
        raise ValueError("a standard error needs at least two clusters")
    squares = math.fsum((c.total - c.size * centre) ** 2 for c in clusters)
    return math.sqrt(squares * count / (count - 1)) / samples


def spread(values: Sequence[float], clusters: Sequence[Cluster]) -> Spread | None:
    """What the observed values say about sd and design effect; None below two clusters or when all values are equal."""
    if len(clusters) < 2:
        return None
    centre = math.fsum(values) / len(values)
    variance = math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1)
    if variance <= 0.0:
        return None
    naive = variance / len(values)
    return Spread(math.sqrt(variance), standard_error(clusters) ** 2 / naive)


def at_most(count: int, trials: int, rate: float) -> float:
    """Probability of at most `count` of `trials` independent events that each happen at `rate` (binomial)."""
    from scipy.special import bdtr

    return 1.0 if count >= trials else float(bdtr(count, trials, rate))


@dataclass(frozen=True, slots=True)
class Design:
    """What is known before a run: shape of the data set, assumed noise, and the confidence asked for.

    `samples` and `clusters` are counts, `largest` the size of the largest cluster, `sd` the assumed standard deviation
    of one sample's value, `design_effect` its inflation by clusters, `depth` the distance from the assumed truth to the
    worst value (1 for a difference of two scores at a true difference of 0).
    """

    samples: int
    clusters: int
    largest: int
    sd: float
    design_effect: float
    alpha: float
    depth: float = 1.0

    def scaled(self, samples: int) -> "Design":
        """The same data set grown to `samples`, with clusters of the same sizes."""
        clusters = max(2, round(self.clusters * samples / self.samples))
        return Design(samples, clusters, self.largest, self.sd, self.design_effect, self.alpha, self.depth)


def power(design: Design, margin: float) -> float:
    """Probability that the lower bound clears -margin when the truth is at the assumed value.

    The bound is the estimate minus a distance that a Cornish-Fisher expansion gives: the unseen cluster moves it by
    `largest / (samples + largest)`, widens it, and skews it; the t quantile stands for the noise of the estimated
    spread. Tested against simulation.
    """
    if design.clusters < 2:
        return 0.0
    from scipy.special import ndtr, stdtrit

    error = design.sd * math.sqrt(design.design_effect / design.samples)
    unseen = design.depth * design.largest / (design.samples + design.largest)
    width = math.hypot(error, unseen)
    quantile = float(stdtrit(design.clusters - 1, 1 - design.alpha))
    skew = 2 * (unseen / width) ** 3
    distance = unseen + width * (quantile + (quantile**2 - 1) * skew / 6)
    return float(ndtr((margin - distance) / error))


def samples_needed(design: Design, margin: float, wanted: float) -> int | None:
    """The smallest size, with clusters like these, whose power reaches `wanted`; None when no size does."""
    if margin <= 0:
        return None
    high = 2
    while power(design.scaled(high), margin) < wanted:
        high *= 2
        if high > _NO_LIMIT:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(design.scaled(middle), margin) >= wanted else (middle, high)
    return high


def detectable(design: Design, wanted: float) -> float | None:
    """The smallest margin whose power reaches `wanted` (the minimum detectable effect); None when none up to 1 does."""
    if power(design, 1.0) < wanted:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(design, middle) >= wanted else (middle, high)
    return high
