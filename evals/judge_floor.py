"""What a gate asks of judges: a card, of this judge, still fresh, whose lower bounds reach the floors.

A metric that a judge gave is worth what the judge is worth. So a gate that tests one without a card is invalid, unless
it says `judges_unmeasured: allow`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evals import judge_card
from evals.durations import span
from evals.evidence import Evidence
from evals.gate_config import GateConfig
from evals.judge_card import Card, Figure
from evals.judge_config import JudgeFloor
from evals.lines import Manifest
from evals.scorers import known
from evals.scorers.base import Scorer
from gateway.contracts.verdict import Reference

_AGAIN = "measure it again with `evals judge measure`"


def load_cards(gate: GateConfig, folder: Path) -> dict[str, Card]:
    """The cards that a gate names, by metric; paths are taken from `folder`. Raises DocumentError."""
    return {floor.metric: judge_card.load(folder / floor.card) for floor in gate.judges}


def problems(gate: GateConfig, runs: Iterable[Evidence], cards: Mapping[str, Card], now: datetime) -> Iterable[str]:
    """Why the judges of these runs cannot carry a verdict, in sentences for people."""
    return problems_of(gate, [Judges.of(run.log.manifest) for run in runs], cards, now)


@dataclass(frozen=True, slots=True)
class Judges:
    """The judges of a run, made or to come: the digest of each by metric, and the scorers as the manifest has them."""

    digests: Mapping[str, str]
    scorers: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, manifest: Manifest) -> "Judges":
        """Those of a run's manifest."""
        return cls(manifest.judges, manifest.scorers)


def problems_of(gate: GateConfig, runs: Sequence[Judges], cards: Mapping[str, Card], now: datetime) -> Iterable[str]:
    """The same for runs of which only the judges are known, such as one that has not begun."""
    tested = set(gate.scores())
    floors = {floor.metric: floor for floor in gate.judges}
    judged = {metric for one in runs for metric in _judged(one)}
    for metric in sorted(tested | floors.keys()):
        digests = sorted({one.digests.get(metric, "an unnamed judge") for one in runs})
        floor = floors.get(metric)
        if floor is None:
            if metric in judged and gate.judges_unmeasured == "refuse":
                yield (
                    f"the metric {metric!r} is a judge's, and the gate names no card of it: run `evals judge measure "
                    f"SUITE LABELS --metric {metric} --out judge-card.yaml` and list the card under `judges`; for a "
                    "metric whose scale people cannot label, write `judges_unmeasured: allow`"
                )
        elif metric not in tested:
            yield f"judges names {metric!r}, and no metric of the gate is called so"
        else:
            yield from (f"judge of {metric!r}: {one}" for one in _of_card(floor, cards.get(metric), digests, now))


def _judged(run: Judges) -> set[str]:
    """The metrics that a judge gave: those with its digest, and those whose scorer asks one."""
    table, found = known(), set(run.digests)
    for spec in run.scorers:
        kind = table.get(str(spec["name"]), Scorer)
        if kind.judging is not Scorer.judging:
            found.add(str(spec.get("as") or spec["name"]))
    return found


def _of_card(floor: JudgeFloor, card: Card | None, digests: list[str], now: datetime) -> Iterable[str]:
    if card is None:
        yield f"its card {floor.card!r} was not read: give the gate as a file"
        return
    if floor.card_digest not in (None, card.digest()):
        yield f"the card {floor.card!r} is {card.digest()}, and the gate pins {floor.card_digest}"
    if card.metric != floor.metric:
        yield f"the card is of the metric {card.metric!r}"
    for digest in digests:
        if digest != card.judge.digest:
            yield f"the run was judged by {digest}, and the card is of {card.judge.digest}: another judge; {_AGAIN}"
    if card.created > now:
        yield f"the card is dated {card.created:%Y-%m-%d}, in the future"
    if card.expired(now):
        yield f"the card expired on {card.expires:%Y-%m-%d}: {_AGAIN}"
    if now - card.created > span(floor.max_age):
        yield f"the card is of {card.created:%Y-%m-%d}, older than {floor.max_age}: {_AGAIN}"
    yield from _below(floor, card)


def _below(floor: JudgeFloor, card: Card) -> Iterable[str]:
    figures = card.figures
    asked = (("tpr", floor.min_tpr), ("tnr", floor.min_tnr), ("kappa", floor.min_kappa))
    for name, least in asked:
        figure: Figure | None = getattr(figures, name)
        if figure is None:
            yield f"the card has no {name}: its labels are of one kind; label answers of both"
        elif figure.lower < least:
            yield (
                f"{name} is {figure.value:.3f} with the lower bound {figure.lower:.3f} on {figure.samples} samples, "
                f"and the gate asks for {least:g}: label more samples, or improve the rubric"
            )
    if floor.max_flip_rate is not None:
        flips = figures.flip_rate
        if flips is None:
            yield "the card has no flip_rate: only a pairwise judge has one; leave max_flip_rate out"
        elif flips.upper > floor.max_flip_rate:
            yield (
                f"the order flips {flips.value:.3f} of its verdicts, with the upper bound {flips.upper:.3f}, and the "
                f"gate allows {floor.max_flip_rate:g}"
            )


def references(cards: Mapping[str, Card]) -> tuple[Reference, ...]:
    """The cards as a verdict names them: by metric, with their digests."""
    return tuple(Reference(name=metric, digest=card.digest()) for metric, card in sorted(cards.items()))


def notes(gate: GateConfig, cards: Mapping[str, Card]) -> Iterable[str]:
    """Which cards a decision rests on."""
    for metric, card in sorted(cards.items()):
        yield f"judge of {metric!r}: {card.judge.model}, card {card.digest()}, until {card.expires:%Y-%m-%d}"
    if gate.judges_unmeasured == "allow":
        yield "judges_unmeasured: allow: verdicts of judges without a card were taken as they are"
