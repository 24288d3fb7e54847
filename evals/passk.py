"""pass@k: the probability that at least one of k answers to a sample passes, estimated from n >= k epochs of it.

The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374): with c of n epochs passed, 1 - C(n-c, k) / C(n, k), the
mean over samples. Taking 1 - (1 - c/n)^k instead is biased downwards. An epoch passes when its score reaches a
threshold. Missing evidence has failed in the estimate and the lower bound, and has passed in the upper bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals import stats
from evals.evidence import Evidence, Unit
from gateway.contracts.errors import InputError


@dataclass(frozen=True, slots=True)
class PassAtK:
    """pass@k of one metric. All in [0, 1]; the bounds hold at 95 % together. `missing` counts samples."""

    metric: str
    k: int
    epochs: int
    estimate: float
    lower: float
    upper: float
    samples: int
    missing: int


def estimator(epochs: int, passed: int, k: int) -> float:
    """1 - C(epochs - passed, k) / C(epochs, k), in whole numbers until the one division. Raises ValueError."""
    if not 0 <= passed <= epochs:
        raise ValueError(f"expected between 0 and {epochs} passed epochs, found {passed}")
    if not 1 <= k <= epochs:
        raise ValueError(
            f"pass@{k} needs at least {max(k, 1)} epochs of every sample and k >= 1, found {epochs} epochs"
        )
    failing, ways = math.comb(epochs - passed, k), math.comb(epochs, k)
    return (ways - failing) / ways


def measure(run: Evidence, metric: str, k: int, *, threshold: float = 1.0, alpha: float = 0.025) -> PassAtK:
    """pass@k of a run, each bound at confidence 1 - alpha, clusters as units. Raises InputError.

    A sample that left no record in the log counts as missing in every epoch.
    """
    manifest = run.log.manifest
    if metric not in manifest.metrics():
        raise InputError(f"the run has no metric {metric!r}: its metrics are {', '.join(manifest.metrics())}")
    if not 1 <= k <= manifest.epochs:
        raise InputError(
            f"pass@{k} needs at least {max(k, 1)} epochs of every sample, and this run has {manifest.epochs}: "
            f"set `epochs: {max(k, 1)}` or more in the suite"
        )
    grouped: dict[str, list[tuple[float, float]]] = {}
    for unit in run.units.values():
        grouped.setdefault(unit.cluster, []).append(_bounds(unit, metric, k, threshold))
    absent = (manifest.limit or manifest.samples) - len(run.units)
    grouped |= {f"absent {number}": [(0.0, 1.0)] for number in range(absent)}
    values = [bounds for group in grouped.values() for bounds in group]
    if not values:
        raise InputError(f"{str(run.log.path)!r} holds no sample: there is nothing to measure")
    low = _clusters([[low for low, _ in grouped[key]] for key in sorted(grouped)])
    high = _clusters([[high for _, high in grouped[key]] for key in sorted(grouped)])
    return PassAtK(
        metric=metric,
        k=k,
        epochs=manifest.epochs,
        estimate=stats.mean(low),
        lower=stats.lower_bound(low, worst=0.0, alpha=alpha),
        upper=stats.upper_bound(high, best=1.0, alpha=alpha),
        samples=len(values),
        missing=sum(low < high for low, high in values),
    )


def _bounds(unit: Unit, metric: str, k: int, threshold: float) -> tuple[float, float]:
    """pass@k of a sample with every missing epoch failed, and with every one of them passed."""
    known = [record for record in unit.records if record.outcome != "harness_error"]
    scores = [r.scores[metric].value for r in known if r.outcome == "scored" and metric in r.scores]
    passed = sum(score >= threshold for score in scores)
    failed = sum(r.outcome == "system_error" for r in known) + len(scores) - passed
    return estimator(unit.epochs, passed, k), estimator(unit.epochs, unit.epochs - failed, k)


def _clusters(groups: Sequence[Sequence[float]]) -> list[stats.Cluster]:
    return [stats.Cluster(math.fsum(values), len(values)) for values in groups]
