"""Where the noise of a mean score comes from: the samples, the sampling of answers, the judge.

The model is nested and random: y = mean + sample_i + sampling_ij + judge_ijk, over samples i, epochs j, and the single
judgements k that a score is the mean of. The components are estimated by the method of moments on unweighted means,
which is unbiased when samples differ in their noise (they do: a hard yes-or-no question is noisier than an easy one)
and when epochs or votes are unequal in number, and which is the usual analysis of variance where they are not:

    judge     J = mean over scores of s_ij^2,          s_ij^2 the variance of the votes of one score
    sampling  S = mean over samples of (s_i^2 - mean_j s_ij^2 / V_ij),   s_i^2 the variance of the scores of a sample
    sample    A = s^2 - mean over samples of s_i^2 / K_i,                s^2 the variance of the samples' means

    SE^2 = (A + S / K + J / (K V)) / n        (Miller 2024, arXiv 2411.00640, section 3.2, with a judge added)

Of a difference of two runs the samples' differences take the place of the scores; S and J are the sums of both runs'.
An estimate below zero is shown as zero. The samples are taken for independent: with clusters SE is larger.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MORE = 2
"""What advice is given for: so many times the samples, epochs or votes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The score of one epoch, and the judgements it is the mean of (none, where it is no mean)."""

    value: float
    votes: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Components of variance of one sample's score, in the square of the metric's unit.

    `epochs` and `votes` are the harmonic means that the standard error divides by. `sampling` is None with one epoch
    each (it is part of `sample` then), `judge` with one judgement each (part of `sampling`).
    """

    samples: int
    epochs: float
    votes: float
    sample: float
    sampling: float | None
    judge: float | None

    @property
    def telling(self) -> bool:
        """Whether repeats of any kind tell more than one source of noise apart."""
        return self.sampling is not None or self.judge is not None

    def standard_error(self, *, samples: float = 1.0, epochs: float = 1.0, votes: float = 1.0) -> float:
        """Of the mean, with so many times the samples, epochs and votes."""
        per_sample = self.sample
        per_sample += (self.sampling or 0.0) / (self.epochs * epochs)
        per_sample += (self.judge or 0.0) / (self.epochs * epochs * self.votes * votes)
        return math.sqrt(per_sample / (self.samples * samples))

    def shares(self) -> dict[str, float | None]:
        """The part of SE^2 that each source has: 1 in all; None where it cannot be told from the one above it."""
        parts = {
            "sample": self.sample,
            "sampling": None if self.sampling is None else self.sampling / self.epochs,
            "judge": None if self.judge is None else self.judge / (self.epochs * self.votes),
        }
        whole = sum(part for part in parts.values() if part is not None)
        if whole <= 0.0:
            return {name: None if part is None else 0.0 for name, part in parts.items()}
        return {name: None if part is None else part / whole for name, part in parts.items()}

    def advice(self) -> dict[str, float]:
        """The standard error of the mean with twice as many samples, epochs or votes, where that is known."""
        found = {"now": self.standard_error(), "samples": self.standard_error(samples=MORE)}
        if self.sampling is not None:
            found["epochs"] = self.standard_error(epochs=MORE)
        if self.judge is not None:
            found["votes"] = self.standard_error(votes=MORE)
        return found


def split(samples: Sequence[Sequence[Cell]]) -> Split | None:
    """The components of a run: for each sample the scores of its epochs, at least one. None below two samples."""
    return _split([(cells,) for cells in samples])


def split_difference(pairs: Sequence[tuple[Sequence[Cell], Sequence[Cell]]]) -> Split | None:
    """The components of a difference: for each sample the scores of both runs, at least one each."""
    return _split(pairs)


def _split(samples: Sequence[tuple[Sequence[Cell], ...]]) -> Split | None:
    if len(samples) < 2:
        return None
    arms = range(len(samples[0]))
    noises = [_noise([sample[arm] for sample in samples]) for arm in arms]
    means = [_signed([_mean([cell.value for cell in cells]) for cells in sample]) for sample in samples]
    between = _variance(means)
    known = [noise.within for noise in noises if noise.within is not None]
    judges = [noise.judge for noise in noises if noise.judge is not None]
    samplings = [noise.sampling for noise in noises if noise.sampling is not None]
    return Split(
        samples=len(samples),
        epochs=round(_mean([noise.epochs for noise in noises]), 9),
        votes=round(_mean([noise.votes for noise in noises]), 9),
        sample=max(0.0, between - sum(known)),
        sampling=max(0.0, sum(samplings)) if samplings else None,
        judge=sum(judges) if judges else None,
    )


@dataclass(frozen=True, slots=True)
class _Noise:
    """Of one run: `within` is the mean of s_i^2 / K_i, what the epochs add to the variance of the samples' means."""

    epochs: float
    votes: float
    within: float | None
    sampling: float | None
    judge: float | None


def _noise(samples: Sequence[Sequence[Cell]]) -> _Noise:
    voted = [_variance(cell.votes) for cells in samples for cell in cells if len(cell.votes) > 1]
    judge = _mean(voted) if voted else None
    repeated = [cells for cells in samples if len(cells) > 1]
    sampling = within = None
    if repeated:
        noises = [_variance([cell.value for cell in cells]) for cells in repeated]
        judged = _mean([_mean([_judge_noise(cell, judge) for cell in cells]) for cells in repeated])
        usual = _mean(noises)
        sampling = usual - judged
        # A sample of one epoch is taken for as noisy as the others.
        shares = [noise / len(cells) for noise, cells in zip(noises, repeated, strict=True)]
        within = _mean(shares + [usual] * (len(samples) - len(repeated)))
    elif judge is not None:
        within = _mean([_judge_noise(cell, judge) for cells in samples for cell in cells])
    epochs = 1.0 / _mean([1.0 / len(cells) for cells in samples])
    votes = 1.0 / _mean([1.0 / max(1, len(cell.votes)) for cells in samples for cell in cells])
    return _Noise(epochs, votes, within, sampling, judge)


def _judge_noise(cell: Cell, judge: float | None) -> float:
    """The variance that the judge adds to one score: from its own votes, else from those of the others."""
    if judge is None:
        return 0.0
    own = _variance(cell.votes) if len(cell.votes) > 1 else judge
    return own / max(1, len(cell.votes))


def _signed(means: Sequence[float]) -> float:
    """A run's mean, or the first minus the second."""
    return means[0] - sum(means[1:])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    centre = _mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
