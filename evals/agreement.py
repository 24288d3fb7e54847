"""How far a judge agrees with people: shares, kappa, alpha, each with bounds that hold for few samples too.

Every row is one labelled sample with two bounds on what the judge may have said: both are its verdict where there is
one. Where the judge failed, `low` is the verdict that agrees least and `high` the one that agrees most. Lower bounds
are made of the first and upper bounds of the second, so that a judge cannot gain by failing.

**Shares** (sensitivity, specificity, accuracy) take the bound of `stats`, which is Clopper and Pearson's exact one
where each sample is a cluster of its own.

**Kappa and alpha** have no exact bound. They take the bootstrap over clusters together with one cluster that nobody
saw, as large as the largest, in which the judge is always wrong (for the upper bound: always right). It is the same
device as in `stats`; without it perfect agreement on ten samples would have the interval [1, 1].

krippendorff, an optional dependency, is loaded on the first call.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evals import stats

RESAMPLES, ALPHA_RESAMPLES = 2000, 400
_Rows = Sequence["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled sample: values in [0, 1], what the judge said at worst and at best, and its cluster.

    `others` are single people's labels, when several gave one.
    """

    label: float
    low: float
    high: float
    cluster: str
    others: tuple[float, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the judge gave no verdict."""
        return self.low != self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; `samples` is what it was made of. The value is that of the worst case."""

    value: float
    lower: float
    upper: float
    samples: int


def furthest(label: float, values: Sequence[float]) -> float:
    """The value that agrees least with a label."""
    return max(values, key=lambda value: (abs(value - label), -value))


def share(rows: _Rows, holds: Callable[[float, float], bool], alpha: float) -> Estimate | None:
    """The share of rows for which `holds(label, verdict)`; None without a row. `alpha` is for each bound."""
    if not rows:
        return None
    low = _clusters(rows, [float(holds(row.label, row.low)) for row in rows])
    high = _clusters(rows, [float(holds(row.label, row.high)) for row in rows])
    bounds = stats.lower_bound(low, worst=0.0, alpha=alpha), stats.upper_bound(high, best=1.0, alpha=alpha)
    return Estimate(stats.mean(low), *bounds, len(rows))


def mean(lows: Sequence[float], highs: Sequence[float], clusters: Sequence[str], alpha: float) -> Estimate | None:
    """The mean of values in [0, 1] that are known to lie between two bounds each; None without one."""
    if not lows:
        return None
    bottom, top = stats.grouped(clusters, lows), stats.grouped(clusters, highs)
    bounds = stats.lower_bound(bottom, worst=0.0, alpha=alpha), stats.upper_bound(top, best=1.0, alpha=alpha)
    return Estimate(stats.mean(bottom), *bounds, len(lows))


def _clusters(rows: _Rows, values: Sequence[float]) -> list[stats.Cluster]:
    return stats.grouped([row.cluster for row in rows], values)


def cohens_kappa(pairs: Sequence[tuple[float, float]], weights: Sequence[float] | None = None) -> float | None:
    """Cohen's kappa of (label, verdict) with quadratic weights of disagreement (Cohen 1968); rows may have weights.

    With two categories the quadratic weights are those of the unweighted kappa (Cohen 1960). None when chance alone
    would agree on everything: then nothing can be said.
    """
    given = [1.0] * len(pairs) if weights is None else weights
    total = math.fsum(given)
    if total <= 0.0:
        return None
    observed = math.fsum(w * (a - b) ** 2 for (a, b), w in zip(pairs, given, strict=True)) / total
    # Over independent margins E(a - b)^2 is the two variances and the squared distance of the means.
    mean_a = math.fsum(w * a for (a, _), w in zip(pairs, given, strict=True)) / total
    mean_b = math.fsum(w * b for (_, b), w in zip(pairs, given, strict=True)) / total
    var_a = math.fsum(w * (a - mean_a) ** 2 for (a, _), w in zip(pairs, given, strict=True)) / total
    var_b = math.fsum(w * (b - mean_b) ** 2 for (_, b), w in zip(pairs, given, strict=True)) / total
    expected = var_a + var_b + (mean_a - mean_b) ** 2
    return None if expected <= 1e-12 else 1.0 - observed / expected


class _Cells:
    """Rows counted by (label, verdict) in each cluster; the last cluster is the unseen one."""

    def __init__(self, rows: _Rows, verdicts: Sequence[float], unseen: Sequence[tuple[float, float]]) -> None:
        counted: dict[str, Counter[tuple[float, float]]] = {}
        for row, verdict in zip(rows, verdicts, strict=True):
            counted.setdefault(row.cluster, Counter())[(row.label, verdict)] += 1
        largest = max(cells.total() for cells in counted.values())
        self.pairs = sorted({pair for cells in counted.values() for pair in cells} | set(unseen))
        at = {pair: position for position, pair in enumerate(self.pairs)}
        groups = [[(at[pair], float(count)) for pair, count in counted[key].items()] for key in sorted(counted)]
        extra = [(at[pair], count * largest / len(unseen)) for pair, count in Counter(unseen).items()]
        self.groups = [*groups, extra]

    def draw(self, rng: random.Random) -> float | None:
        """Kappa under one draw of weights."""
        totals = [0.0] * len(self.pairs)
        for group in self.groups:
            weight = rng.expovariate(1.0)
            for position, count in group:
                totals[position] += weight * count
        return cohens_kappa(self.pairs, totals)


def kappa(
    rows: _Rows, values: Sequence[float], alpha: float, rng: random.Random, *, resamples: int = RESAMPLES
) -> Estimate | None:
    """Cohen's kappa of labels and verdicts, weighted by squared distance; `values` are the scale. None if undefined.

    The bounds are quantiles over exponential weights of the clusters (the Bayesian bootstrap, Rubin 1981).
    """
    point = cohens_kappa([(row.label, row.low) for row in rows])
    if point is None:
        return None
    unseen_low = [(row.label, furthest(row.label, values)) for row in rows]
    unseen_high = [(row.label, row.label) for row in rows]
    low, high = (
        _Cells(rows, [row.low for row in rows], unseen_low),
        _Cells(rows, [row.high for row in rows], unseen_high),
    )
    lows = [low.draw(rng) for _ in range(resamples)]
    highs = [high.draw(rng) for _ in range(resamples)]
    lower = quantile([-1.0 if low is None else low for low in lows], alpha)
    upper = quantile([1.0 if high is None else high for high in highs], 1 - alpha)
    return Estimate(point, min(lower, point), max(upper, point), len(rows))


def krippendorffs_alpha(units: Sequence[Sequence[float]], *, ordinal: bool) -> float | None:
    """Krippendorff's alpha of ratings, one list of ratings for each unit (of any lengths); None if undefined."""
    import krippendorff

    domain = sorted({rating for unit in units for rating in unit})
    if len(domain) < 2 or not any(len(unit) > 1 for unit in units):
        return None
    counts = [[list(unit).count(value) for value in domain] for unit in units]
    level: Literal["ordinal", "nominal"] = "ordinal" if ordinal else "nominal"
    found = float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))
    return found if math.isfinite(found) else None


@dataclass(frozen=True, slots=True)
class Units:
    """Ratings of the same samples, unit by unit: as they are, and as an unseen sample like it could be."""

    seen: Sequence[Sequence[float]]
    unseen: Sequence[Sequence[float]]


def judge_units(rows: _Rows, values: Sequence[float]) -> tuple[Units, Units]:
    """The ratings of label and judge, for the lower and for the upper bound; `values` are the scale."""
    low = [(row.label, row.low) for row in rows], [(row.label, furthest(row.label, values)) for row in rows]
    high = [(row.label, row.high) for row in rows], [(row.label, row.label) for row in rows]
    return Units(*low), Units(*high)


def human_units(rows: _Rows, values: Sequence[float]) -> tuple[Units, Units]:
    """The ratings of people among themselves, of samples that several labelled."""
    several = [row for row in rows if len(row.others) > 1]
    seen = [row.others for row in several]
    apart = [(min(values), max(values)) for _ in several]
    return Units(seen, apart), Units(seen, [(row.label, row.label) for row in several])


def alpha_interval(
    low: Units, high: Units, clusters: Sequence[str], *, ordinal: bool, alpha: float, rng: random.Random
) -> Estimate | None:
    """Krippendorff's alpha; the bounds are quantiles over clusters drawn with replacement. None if undefined."""
    point = krippendorffs_alpha(low.seen, ordinal=ordinal)
    if point is None:
        return None
    lows = _resampled(low, clusters, ordinal, rng)
    highs = _resampled(high, clusters, ordinal, rng)
    lower = quantile([-1.0 if one is None else one for one in lows], alpha)
    upper = quantile([1.0 if one is None else one for one in highs], 1 - alpha)
    return Estimate(point, min(lower, point), max(upper, point), len(low.seen))


def _resampled(units: Units, clusters: Sequence[str], ordinal: bool, rng: random.Random) -> list[float | None]:
    members: dict[str, list[Sequence[float]]] = {}
    for unit, cluster in zip(units.seen, clusters, strict=True):
        members.setdefault(cluster, []).append(unit)
    groups = [members[name] for name in sorted(members)]
    largest = max(len(group) for group in groups)
    found = []
    for _ in range(ALPHA_RESAMPLES):
        drawn: list[Sequence[float]] = []
        for _ in range(len(groups) + 1):
            at = rng.randrange(len(groups) + 1)
            drawn += groups[at] if at < len(groups) else rng.choices(units.unseen, k=largest)
        found.append(krippendorffs_alpha(drawn, ordinal=ordinal))
    return found


def quantile(values: Sequence[float], at: float) -> float:
    """The empirical quantile: the smallest value that at least a share `at` of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(at * len(ordered)) - 1))]
