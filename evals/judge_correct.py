"""Raw and corrected means of a metric that a judge gave, side by side.

raw: what the run says, with missing verdicts at worst (see `compare`). Rogan and Gladen: with the card's error rates.
PPI++: with people's labels on the run's own answers. With a baseline the same for the difference of the two runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evals import compare, corrections
from evals.corrections import Calibration, Corrected
from evals.evidence import Evidence
from evals.judge_card import Card
from evals.judge_measure import Scale, scale_of_card
from evals.labels import LabelSet
from gateway.contracts.errors import InputError


@dataclass(frozen=True, slots=True)
class Arm:
    """One run, and people's labels in [0, 1] on its own answers, by sample id."""

    run: Evidence
    labels: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One estimate with its interval; without one, `note` says why."""

    name: str
    value: float | None
    lower: float | None
    upper: float | None
    note: str = ""


def check(card: Card, run: Evidence, metric: str) -> None:
    """Raise InputError unless the card is of the judge that gave this metric."""
    manifest = run.log.manifest
    if metric not in manifest.metrics():
        raise InputError(f"{run.log.path.name!r} has no metric {metric!r}; it has {', '.join(manifest.metrics())}")
    found = manifest.judges.get(metric)
    if found != card.judge.digest:
        raise InputError(
            f"{run.log.path.name!r}: {metric!r} was judged by {found or 'nobody that its manifest names'}, and the "
            f"card is of {card.judge.digest}: error rates of another judge correct nothing"
        )


def arm(run: Evidence, labels: LabelSet | None) -> Arm:
    """A run with labels on its answers. Raises InputError for a label of another sample, or of another answer."""
    for one in labels.samples if labels else ():
        unit = run.units.get(one.id)
        said = {record.answer.text for record in unit.records if record.answer is not None} if unit else set()
        if unit is None or (one.answer is not None and one.answer not in said):
            what = "sample" if unit is None else "such answer to sample"
            raise InputError(f"{run.log.path.name!r} has no {what} {one.id!r}: label this run's own answers")
    return Arm(run, labels.truth if labels else {})


def estimates(card: Card, arm: Arm, metric: str, *, alpha: float) -> list[Line]:
    """Raw and corrected means of one run, each interval at confidence 1 - alpha."""
    scale = scale_of_card(card)
    measured = compare.absolute(arm.run, metric, alpha=alpha / 2)
    if measured is None:
        raise InputError(f"{arm.run.log.path.name!r} holds no sample")
    lines = [Line("raw", measured.estimate, measured.lower, measured.upper)]
    values = _values(arm.run, metric)
    try:
        share, judge = _share(arm.run, metric, scale), _calibration(card)
        lines.append(_line("Rogan-Gladen", corrections.rogan_gladen(share, len(values), judge, alpha=alpha)))
    except ValueError as error:
        lines.append(Line("Rogan-Gladen", None, None, None, str(error)))
    if arm.labels:
        known = [(arm.labels[key], value) for key, value in sorted(values.items()) if key in arm.labels]
        rest = [value for key, value in sorted(values.items()) if key not in arm.labels]
        lines.append(_ppi(known, rest, alpha))
    return lines


def differences(candidate: Arm, baseline: Arm, metric: str, *, alpha: float) -> list[Line]:
    """Candidate minus baseline: raw, and by PPI++ where people labelled outputs of both."""
    measured = compare.paired(candidate.run, baseline.run, metric, alpha=alpha / 2)
    if measured is None:
        raise InputError("the two runs hold no sample")
    lines = [Line("raw difference", measured.estimate, measured.lower, measured.upper)]
    ours, theirs = _values(candidate.run, metric), _values(baseline.run, metric, missing=1.0)
    try:
        found = corrections.ppi_difference(ours, theirs, candidate.labels, baseline.labels, alpha=alpha)
        lines.append(_line("PPI++ difference", found))
    except ValueError as error:
        lines.append(Line("PPI++ difference", None, None, None, str(error)))
    return lines


def _ppi(known: list[tuple[float, float]], rest: list[float], alpha: float) -> Line:
    try:
        return _line("PPI++", corrections.ppi_mean(rest, known, alpha=alpha))
    except ValueError as error:
        return Line("PPI++", None, None, None, str(error))


def _line(name: str, found: Corrected) -> Line:
    return Line(name, found.value, found.lower, found.upper)


def _values(run: Evidence, metric: str, missing: float = 0.0) -> dict[str, float]:
    """The score of each sample; missing evidence at worst, which for a baseline is 1."""
    if missing == 0.0:
        return {key: unit.score(metric, "candidate")[0] for key, unit in run.units.items()}
    return {key: unit.score(metric, "baseline")[1] for key, unit in run.units.items()}


def _share(run: Evidence, metric: str, scale: Scale) -> float:
    """The share of answers that the judge passed; missing evidence did not pass."""
    if scale.pairwise:
        raise ValueError("a pairwise verdict has three values: this correction is for pass and fail")
    verdicts = [
        scale.passes(scale.nearest(record.scores[metric].value))
        for unit in run.units.values()
        for record in unit.records
        if record.outcome == "scored" and metric in record.scores
    ]
    return sum(verdicts) / max(1, len(run.units) * run.log.manifest.epochs)


def _calibration(card: Card) -> Calibration:
    tpr, tnr = card.figures.tpr, card.figures.tnr
    if tpr is None or tnr is None:
        raise ValueError("the card has no tpr or no tnr: its labels are of one kind")
    return Calibration(tpr.value, tpr.samples, tnr.value, tnr.samples)
