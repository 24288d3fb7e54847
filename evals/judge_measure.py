"""Measuring a judge: every labelled answer is judged once, as a run would, and compared with what people said.

    for each labelled sample that the log has no verdict for: examine -> record
    records + labels -> figures -> card

A judge's failure is a record like any other. It counts as wrong, whichever way wrong is, in every lower bound.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

from evals import agreement
from evals.agreement import Estimate, Row
from evals.judge_card import Card, Figure, Figures, JudgeOfCard, LabelsOfCard, SliceFigures, Step
from evals.labels import Labelled, LabelSet
from evals.lines import Record
from evals.pacing import side_by_side
from evals.runner import Doubts
from evals.schema import Answer, Failure, Score, Unjudged, cluster_key
from evals.scorers.base import Scorer
from evals.services import JudgeServices
from gateway.contracts.errors import InputError

FLIPS = "order_flips"
"""The name under which a record of a measurement keeps the share of votes that the order flipped."""
_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)


class Writes(Protocol):
    """What is needed of a log."""

    existing: tuple[Record, ...]

    def write(self, record: Record) -> None:
        """Append one record."""
        ...


@dataclass(slots=True)
class Measuring:
    """One judge on one set of labels. `metric` is the score's name; `concurrency` samples are under way at a time.

    The judge is the system here: the release and the engine of a record are those that judged.
    """

    metric: str
    scorer: Scorer
    labels: LabelSet
    services: JudgeServices
    log: Writes
    concurrency: int
    on_record: Callable[[Record], None] = field(default=lambda record: None)
    _doubts: Doubts = field(init=False)

    def __post_init__(self) -> None:
        self._doubts = Doubts(any(record.outcome == "scored" for record in self.log.existing))

    def todo(self) -> Iterator[Labelled]:
        """The samples that have no verdict yet."""
        done = {record.id for record in self.log.existing if record.outcome == "scored"}
        return (one for one in self.labels.samples if one.id not in done)

    async def execute(self) -> None:
        """Work until every sample has a record.

        Raises InputError when the judge has no verdict on any of the first answers: then it is not the answers, and
        each further one would cost as much; and when the log cannot be written. Nothing else is a reason.
        """
        todo = self.todo()
        await side_by_side(self.concurrency, lambda: self._work(todo))
        self._doubts.check()

    async def _work(self, todo: Iterator[Labelled]) -> None:
        for one in todo:
            if self._doubts.enough:
                return
            record = await self._examine(one)
            self._doubts.add(record.failure)
            self.log.write(record)
            self.on_record(record)

    async def _examine(self, one: Labelled) -> Record:
        about: dict[str, Any] = {"id": one.id, "digest": self.labels.digests[one.id], "tags": one.tags}
        about["cluster"] = one.cluster
        try:
            found = await self.scorer.examine(one.sample(), one.said(), self.services)
        except Unjudged as error:
            return Record(**about, outcome="harness_error", failure=Failure(error.kind, str(error)))
        except _ERRORS as error:
            failure = Failure("scorer_crashed", f"{type(error).__name__}: {error}")
            return Record(**about, outcome="harness_error", failure=failure)
        scores = {self.metric: found.score}
        if found.flips is not None:
            scores[FLIPS] = Score(found.flips)
        return Record(**about, outcome="scored", scores=scores, answer=self._judged_by(one))

    def _judged_by(self, one: Labelled) -> Answer:
        last = self.services.bill.last
        if last is None:
            return one.said()
        return msgspec.structs.replace(
            one.said(), release=last.release, release_digest=last.release_digest, fingerprint=last.fingerprint
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """The values in [0, 1] that a verdict can have, and from which on it counts as pass.

    `labels` are what people may say, with values in [0, 1]. `pairwise`: only wins and losses have a side; what people
    called a tie is neither pass nor fail.
    """

    labels: Mapping[str | int | float, float]
    threshold: float = 0.5
    pairwise: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """The values, from the lowest to the highest."""
        return tuple(sorted(set(self.labels.values())))

    def nearest(self, value: float) -> float:
        """The verdict that a mean of votes stands for; of two that are as near, the lower one."""
        return min(self.values, key=lambda known: (round(abs(known - value), 9), known))

    def passes(self, value: float) -> bool:
        """Whether a label or verdict counts as pass."""
        return value == 1.0 if self.pairwise else value >= self.threshold

    def fails(self, value: float) -> bool:
        """Whether a label or verdict counts as fail."""
        return value == 0.0 if self.pairwise else value < self.threshold


def scale_of(scorer: Scorer, threshold: float = 0.5) -> Scale:
    """The scale of a judge."""
    values = scorer.label_values()
    return Scale(values, threshold, pairwise=0.5 in values)


def scale_of_card(card: Card) -> Scale:
    """The scale that a card was made with."""
    values = card.labels.label_values()
    return Scale(values, card.labels.threshold, pairwise=0.5 in values)


def figures(
    records: Sequence[Record], labels: LabelSet, metric: str, scale: Scale, *, alpha: float, seed: int
) -> tuple[Figures, tuple[SliceFigures, ...]]:
    """All figures, each bound at confidence 1 - alpha, and those by tag. Same inputs and seed, same figures."""
    found = {record.id: record for record in records if record.outcome == "scored"}
    rows = {one.id: _row(one, found.get(one.id), labels, metric, scale) for one in labels.samples}
    listed, rng = list(rows.values()), random.Random(seed)  # noqa: S311 - resampling, no secret
    ordinal = len(scale.values) > 2
    low, high = agreement.judge_units(listed, scale.values)
    keys = [row.cluster for row in listed]
    people_low, people_high = agreement.human_units(listed, scale.values)
    several = [row.cluster for row in listed if len(row.others) > 1]
    options: dict[str, Any] = {"ordinal": ordinal, "alpha": alpha, "rng": rng}
    whole = Figures(
        **_sides(listed, scale, alpha),
        kappa=_figure(agreement.kappa(listed, scale.values, alpha, rng)),
        alpha=_figure(agreement.alpha_interval(low, high, keys, **options)),
        human_alpha=_figure(agreement.alpha_interval(people_low, people_high, several, **options)),
        flip_rate=_flip_rate(found, labels, alpha),
        self_consistency=_consistency(found, labels, metric, alpha),
    )
    tags = sorted({tag for one in labels.samples for tag in one.tags})
    slices = []
    for tag in tags:
        chosen = [rows[one.id] for one in labels.samples if tag in one.tags]
        slices.append(SliceFigures(tag=tag, samples=len(chosen), **_sides(chosen, scale, alpha)))
    return whole, tuple(slices)


def judged_by(records: Sequence[Record], path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(releases, engine fingerprints) that judged. Raises InputError when there are several releases."""
    answers = [record.answer for record in records if record.answer is not None and record.outcome == "scored"]
    releases = sorted({f"{one.release} {one.release_digest}" for one in answers if one.release_digest})
    if len(releases) > 1 or (releases and any(one.release_digest is None for one in answers)):
        raise InputError(
            f"{str(path)!r}: several releases judged ({', '.join(releases)}): a card is of one; ask the judge by a "
            "release's pinned name, and measure it again with --fresh"
        )
    return tuple(releases), tuple(sorted({one.fingerprint for one in answers if one.fingerprint}))


def make_card(
    *,
    metric: str,
    judge: JudgeOfCard,
    labels: LabelSet,
    split: str | None,
    records: Sequence[Record],
    scale: Scale,
    now: datetime,
    lifetime: timedelta,
    harness: str,
    seed: int = 0,
    confidence: float = 0.95,
) -> Card:
    """The card of a finished measurement."""
    whole, slices = figures(records, labels, metric, scale, alpha=(1 - confidence) / 2, seed=seed)
    judged = {record.id for record in records if record.outcome == "scored"}
    about = LabelsOfCard(
        name=labels.path.name,
        digest=labels.digest,
        split=split,
        samples=len(labels.samples),
        clusters=len({cluster_key(one.id, one.cluster) for one in labels.samples}),
        failures=sum(one.id not in judged for one in labels.samples),
        threshold=scale.threshold,
        scale=tuple(Step(label=label, value=value) for label, value in scale.labels.items()),
    )
    return Card(
        metric=metric,
        judge=judge,
        labels=about,
        confidence=confidence,
        figures=whole,
        slices=slices,
        created=now,
        expires=now + lifetime,
        harness=harness,
    )


def _row(one: Labelled, record: Record | None, labels: LabelSet, metric: str, scale: Scale) -> Row:
    truth, people = labels.truth[one.id], labels.people[one.id]
    if record is None:
        return Row(truth, agreement.furthest(truth, scale.values), truth, cluster_key(one.id, one.cluster), people)
    verdict = scale.nearest(record.scores[metric].value)
    return Row(truth, verdict, verdict, cluster_key(one.id, one.cluster), people)


def _sides(rows: Sequence[Row], scale: Scale, alpha: float) -> dict[str, Figure | None]:
    passed = [row for row in rows if scale.passes(row.label)]
    failed = [row for row in rows if scale.fails(row.label)]

    def right(label: float, verdict: float) -> bool:
        return (scale.passes(label), scale.fails(label)) == (scale.passes(verdict), scale.fails(verdict))

    return {
        "tpr": _figure(agreement.share(passed, right, alpha)),
        "tnr": _figure(agreement.share(failed, right, alpha)),
        "accuracy": _figure(agreement.share(rows, lambda label, verdict: label == verdict, alpha)),
    }


def _flip_rate(found: dict[str, Record], labels: LabelSet, alpha: float) -> Figure | None:
    """None where no verdict has an order; a failure counts as flipped in the value and in the upper bound."""
    steady = {key: 1.0 - record.scores[FLIPS].value for key, record in found.items() if FLIPS in record.scores}
    figure = _mean(steady, labels, alpha)
    if figure is None:
        return None
    value, lower, upper = (round(1.0 - one, 6) for one in (figure.value, figure.upper, figure.lower))
    return Figure(value=value, lower=lower, upper=upper, samples=figure.samples)


def _consistency(found: dict[str, Record], labels: LabelSet, metric: str, alpha: float) -> Figure | None:
    """The share of pairs of votes on one answer that are equal; None for a single vote."""
    equal: dict[str, float] = {}
    for key, record in found.items():
        pairs = list(itertools.combinations(record.scores[metric].votes, 2))
        if pairs:
            equal[key] = sum(a == b for a, b in pairs) / len(pairs)
    return _mean(equal, labels, alpha)


def _mean(values: dict[str, float], labels: LabelSet, alpha: float) -> Figure | None:
    """The mean over all labelled samples, in [0, 1] where the value is missing; None where all are."""
    if not values:
        return None
    lows = [values.get(one.id, 0.0) for one in labels.samples]
    highs = [values.get(one.id, 1.0) for one in labels.samples]
    return _figure(agreement.mean(lows, highs, [cluster_key(one.id, one.cluster) for one in labels.samples], alpha))


def _figure(estimate: Estimate | None) -> Figure | None:
    if estimate is None:
        return None
    rounded = {name: round(getattr(estimate, name), 6) for name in ("value", "lower", "upper")}
    return Figure(**rounded, samples=estimate.samples)
