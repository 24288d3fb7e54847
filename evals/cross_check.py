"""Two runs by the standard tests, for who wants to see what they say beside the gate's bound. It decides nothing.

They see the samples that both runs have a score of and nothing of what is missing, and lean on approximations that the
bound does without (see `evals.stats`). A p-value above 0.05 is no proof that nothing got worse.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from evals.classical.flips import mcnemar
from evals.classical.means import MeanTest, clustered
from evals.classical.multiple import adjusted
from evals.classical.proportions import wilson
from evals.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Mean:
    """The paired difference by the cluster-robust t test: estimate and 95 % interval in the metric's unit, p of "0"."""

    mean: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """One metric. `rates` by arm are (passed, Wilson's lower, upper) and `flips` (fell, rose), None where it is graded.

    `mcnemar` and `holm` are p-values, the second adjusted over the `tested` metrics; `noninferior` and `equivalent` are
    those of a margin. None wherever a test cannot know.
    """

    metric: str
    samples: int
    rates: Mapping[str, tuple[float, float, float]] | None
    flips: tuple[int, int] | None
    mcnemar: float | None
    t: Mean | None
    noninferior: float | None
    equivalent: float | None
    cautions: tuple[str, ...]
    holm: float | None = None
    tested: int = 0

    @property
    def p(self) -> float | None:
        """The p-value that counts among the metrics: McNemar's of 0 and 1, the t test's of graded scores."""
        return self.mcnemar if self.flips is not None else self.t.p if self.t is not None else None

    def as_values(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values


def cross_checks(
    candidate: Evidence, baseline: Evidence, metrics: Iterable[str], *, margin: float | None = None
) -> tuple[CrossCheck, ...]:
    """Every metric, with p-values adjusted for their number by Holm's method. `margin` is in the metrics' unit."""
    found = [_check(candidate, baseline, metric, margin) for metric in metrics]
    tested = sum(check.p is not None for check in found)
    holm = adjusted([check.p for check in found])
    return tuple(replace(check, holm=p, tested=tested) for check, p in zip(found, holm, strict=True))


def _check(candidate: Evidence, baseline: Evidence, metric: str, margin: float | None) -> CrossCheck:
    pairs, keys, missing = [], [], 0
    everyone = candidate.units.keys() | baseline.units.keys()
    for key in sorted(everyone):
        ours, theirs = candidate.units.get(key), baseline.units.get(key)
        if ours is not None and theirs is not None:
            (low, high), (worst, best) = ours.score(metric, "candidate"), theirs.score(metric, "baseline")
            if low == high and worst == best:
                pairs.append((low, worst))
                keys.append(ours.cluster)
    missing = len(everyone) - len(pairs)
    test = clustered([ours - theirs for ours, theirs in pairs], keys)
    binary = bool(pairs) and all(value in (0.0, 1.0) for pair in pairs for value in pair)
    fell, rose = sum(ours < theirs for ours, theirs in pairs), sum(ours > theirs for ours, theirs in pairs)
    flipped = mcnemar(fell, rose) if binary else None
    cautions = [f"{missing} samples without both scores are left out"] if missing else []
    if binary and len(set(keys)) < len(keys):
        cautions.append(
            f"McNemar and Wilson take the samples for independent, and they stand in {len(set(keys))} clusters"
        )
    return CrossCheck(
        metric=metric,
        samples=len(pairs),
        rates=_rates(pairs) if binary else None,
        flips=(fell, rose) if binary else None,
        mcnemar=flipped.exact if flipped is not None else None,
        t=_mean(test),
        noninferior=test.above(-margin) if test is not None and margin is not None else None,
        equivalent=test.equivalent(margin) if test is not None and margin is not None else None,
        cautions=tuple(cautions),
    )


def _mean(test: MeanTest | None) -> Mean | None:
    return Mean(test.mean, *test.interval(), test.differs()) if test is not None else None


def _rates(pairs: list[tuple[float, float]]) -> dict[str, tuple[float, float, float]]:
    found = {}
    for position, arm in enumerate(("candidate", "baseline")):
        passed = round(sum(pair[position] for pair in pairs))
        interval = wilson(passed, len(pairs))
        if interval is not None:
            found[arm] = (passed / len(pairs), *interval)
    return found
