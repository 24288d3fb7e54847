"""What the mean of people's verdicts would have been: estimates that correct a judge's known errors.

**Rogan and Gladen** (1978) invert the judge's sensitivity q1 and specificity q0, measured on m1 passing and m0 failing
labelled samples, for a share p of n samples that the judge passed:

    theta = (p + q0 - 1) / (q0 + q1 - 1)
    Var = [p(1-p)/n + (1-theta)^2 q0(1-q0)/m0 + theta^2 q1(1-q1)/m1] / (q0 + q1 - 1)^2

The interval is Lang and Reiczigel's (2014; Lee et al. 2025, arXiv 2511.21140): z^2 pseudo-samples for p, two for each
of q0 and q1, and a shift that removes the skew. It holds only where the judge errs as it did on the labelled samples.

**Prediction-powered inference** (PPI++; Angelopoulos et al. 2023, arXiv 2311.01453) needs no such belief: with labels Y
on n of the samples themselves and the judge's values f on all,

    theta = lambda mean(f on N unlabelled) + mean(Y - lambda f)
    Var = lambda^2 Var(f)/N + Var(Y - lambda f)/n,    lambda = Cov(Y, f) / ((1 + n/N) Var f), clipped to [0, 1]

Its interval counts two more labels, one error of the judge in each direction: on labels that all agree with the judge
the formula alone would know its errors exactly. The labelled samples have to be a random part of the run. For a gate
take the difference of two arms with labels on the outputs of both: a judge's bias cancels only if it is the same on
both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Corrected:
    """An estimate and its interval, in the metric's unit. `error` is the formula's standard error.

    `weight` is lambda, or the judge's Youden index.
    """

    value: float
    lower: float
    upper: float
    error: float
    weight: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge on labelled samples: of `positives` that people pass it passed `q1`, of `negatives` it failed `q0`."""

    q1: float
    positives: int
    q0: float
    negatives: int

    @property
    def youden(self) -> float:
        """q0 + q1 - 1: 0 for a judge that guesses, 1 for one that never errs."""
        return self.q0 + self.q1 - 1.0

    def smoothed(self) -> "Calibration":
        """The same with one more of each kind of answer on each side."""
        q1 = (self.positives * self.q1 + 1) / (self.positives + 2)
        q0 = (self.negatives * self.q0 + 1) / (self.negatives + 2)
        return Calibration(q1, self.positives + 2, q0, self.negatives + 2)


def z_of(alpha: float, *, two_sided: bool = True) -> float:
    """The normal quantile of an interval at confidence 1 - alpha, or of each of two one-sided bounds."""
    return NormalDist().inv_cdf(1 - alpha / 2 if two_sided else 1 - alpha)


def variance(p: float, n: float, theta: float, judge: Calibration) -> float:
    """The variance of Rogan and Gladen's estimate by the delta method."""
    noise = p * (1 - p) / n
    noise += (1 - theta) ** 2 * judge.q0 * (1 - judge.q0) / judge.negatives
    noise += theta**2 * judge.q1 * (1 - judge.q1) / judge.positives
    return noise / judge.youden**2


def rogan_gladen(p: float, n: int, judge: Calibration, *, alpha: float = 0.05, two_sided: bool = True) -> Corrected:
    """The share that people would have passed, in [0, 1].

    Raises ValueError for a judge that is no better than guessing, and for a share that it cannot have given.
    """
    _usable(judge, n)
    z = z_of(alpha, two_sided=two_sided)
    theta = (p + judge.q0 - 1) / judge.youden
    centre, error = _adjusted(p, n, judge, z)
    low, high = _clip(centre - z * error), _clip(centre + z * error)
    if low == high:
        raise ValueError(
            f"the judge passed {p:.3f} of the answers, and by its error rates between {1 - judge.q0:.3f} and "
            f"{judge.q1:.3f} was possible: it errs otherwise on these answers, label some of them"
        )
    return Corrected(_clip(theta), min(low, _clip(theta)), max(high, _clip(theta)), error, judge.youden)


def _adjusted(p: float, n: int, judge: Calibration, z: float) -> tuple[float, float]:
    """(centre, standard error) of the adjusted interval."""
    known, size = judge.smoothed(), n + z * z
    share = (n * p + z * z / 2) / size
    theta = (share + known.q0 - 1) / known.youden
    shift = (
        2
        * z
        * z
        * (
            theta * known.q1 * (1 - known.q1) / known.positives
            - (1 - theta) * known.q0 * (1 - known.q0) / known.negatives
        )
    )
    return theta + shift, math.sqrt(variance(share, size, theta, known))


def ppi_mean(
    unlabelled: Sequence[float],
    labelled: Sequence[tuple[float, float]],
    *,
    alpha: float = 0.05,
    two_sided: bool = True,
    weight: float | None = None,
) -> Corrected:
    """The mean of Y over all samples: judge's values where there is no label, (Y, judge's value) where there is.

    `weight` fixes lambda; 0 uses the labels alone. Raises ValueError below two labels.
    """
    n, many = len(labelled), len(unlabelled)
    if n < 2:
        raise ValueError(f"expected at least two labelled samples of the run, found {n}: label more of them")
    truths, guesses = [y for y, _ in labelled], [f for _, f in labelled]
    pooled = _variance([*guesses, *unlabelled])
    if weight is None:
        chosen = _covariance(truths, guesses) / ((1 + n / many) * pooled) if many and pooled > 0 else 0.0
        weight = _clip(chosen)
    if not many:
        weight = 0.0
    rest = [y - weight * f for y, f in labelled]
    value = (weight * math.fsum(unlabelled) / many if many else 0.0) + math.fsum(rest) / n
    guessed = weight**2 * (_variance(unlabelled) if many > 1 else pooled) / many if many else 0.0
    error = math.sqrt(guessed + _variance(rest) / n)
    width = z_of(alpha, two_sided=two_sided) * math.sqrt(guessed + _variance([*rest, 1.0, -weight]) / n)
    return Corrected(value, value - width, value + width, error, weight)


def ppi_difference(
    candidate: Mapping[str, float],
    baseline: Mapping[str, float],
    candidate_labels: Mapping[str, float],
    baseline_labels: Mapping[str, float],
    *,
    alpha: float = 0.05,
    two_sided: bool = True,
) -> Corrected:
    """Candidate minus baseline, paired by sample id: judge's values of both arms, and labels of both arms' outputs.

    Only samples that both runs have count, and as labelled only those with a label for both outputs. Raises ValueError.
    """
    shared = sorted(candidate.keys() & baseline.keys())
    known = [key for key in shared if key in candidate_labels and key in baseline_labels]
    pairs = [(candidate_labels[key] - baseline_labels[key], candidate[key] - baseline[key]) for key in known]
    rest = [candidate[key] - baseline[key] for key in shared if key not in set(known)]
    return ppi_mean(rest, pairs, alpha=alpha, two_sided=two_sided)


def _usable(judge: Calibration, n: int) -> None:
    if n < 1 or judge.positives < 1 or judge.negatives < 1:
        raise ValueError(
            f"expected samples, and labels of both kinds; found {n} samples, {judge.positives} labelled pass and "
            f"{judge.negatives} labelled fail"
        )
    if judge.youden <= 0 or judge.smoothed().youden <= 0:
        raise ValueError(
            f"this judge is no better than guessing (sensitivity {judge.q1:.3f}, specificity {judge.q0:.3f}): its "
            "verdicts cannot be corrected, change the rubric or the model"
        )


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


def _variance(values: Sequence[float]) -> float:
    return _covariance(values, values)


def _covariance(xs: Sequence[float], ys: Sequence[float]) -> float:
    """With n - 1 below; 0 below two values."""
    if len(xs) < 2:
        return 0.0
    mean_x, mean_y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / (len(xs) - 1)
