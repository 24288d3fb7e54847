"""Which samples a report shows: those that got worse, then those that got better, or the lowest of a single run.

A page holds a bounded number of them and a bounded amount of text, and says how many it leaves out. The largest changes
come first; among equal ones the sample's digest decides, so that what is shown is no corner of the data set.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.dataset import Dataset
from evals.decision import Flips
from evals.evidence import Evidence
from evals.report.answers import PAGE, Room, moved, sample
from evals.report.view import Case, Cases, Moved, SampleView, Shown
from evals.schema import Arm

MOST: Mapping[Case, int] = {"regressed": 200, "improved": 100, "lowest": 100}
MOST_CHARACTERS = 2_500_000
"""Of all shown samples together, so that no page is heavier than a few megabytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many samples of each kind, how many characters in all, and how much of each sample."""

    most: Mapping[Case, int]
    characters: int = MOST_CHARACTERS
    room: Room = PAGE


LIMITS = Limits(MOST)


def changed(
    flips: Mapping[str, Flips],
    runs: Mapping[Arm, Evidence],
    data: Dataset | None,
    limits: Limits = LIMITS,
) -> tuple[Cases, ...]:
    """The samples that regressed in any metric, then those that only improved. `flips` are by metric or its label."""
    fell: dict[str, list[str]] = {}
    rose: dict[str, list[str]] = {}
    for label, found in flips.items():
        metric = label.partition("[")[0]
        for ids, into in ((found.regressed, fell), (found.improved, rose)):
            for each in ids:
                into.setdefault(each, []).append(metric)
    better = {each: metrics for each, metrics in rose.items() if each not in fell}
    worse = {each: [*metrics, *rose.get(each, ())] for each, metrics in fell.items()}
    return _all({"regressed": worse, "improved": better}, runs, data, limits)


def lowest(
    metrics: Sequence[str], runs: Mapping[Arm, Evidence], data: Dataset | None, limits: Limits = LIMITS
) -> tuple[Cases, ...]:
    """The samples of a single run whose scores are lowest; none that has the full score everywhere."""
    run = runs["candidate"]
    low = {
        each: list(metrics)
        for each, unit in run.units.items()
        if any(unit.score(metric, "candidate")[0] < 1.0 for metric in metrics)
    }
    return _all({"lowest": low}, runs, data, limits)


def _all(
    wanted: Mapping[Case, Mapping[str, Sequence[str]]],
    runs: Mapping[Arm, Evidence],
    data: Dataset | None,
    limits: Limits,
) -> tuple[Cases, ...]:
    samples = {one.id: one for one in data.samples} if data else {}
    left, made = limits.characters, []
    for kind, metrics in wanted.items():
        shown: list[SampleView] = []
        for each in _ordered(metrics, runs, limits.most[kind]):
            view = sample(each, runs, samples.get(each), list(dict.fromkeys(metrics[each])), kind, limits.room)
            left -= _size(view)
            if left < 0 and shown:
                break
            shown.append(view)
        made.append(Cases(kind, tuple(shown), len(metrics)))
    return tuple(made)


def _ordered(metrics: Mapping[str, Sequence[str]], runs: Mapping[Arm, Evidence], most: int) -> list[str]:
    """The ids of the largest changes, or of the lowest scores of a single run."""
    weights = {each: sum(_weight(moved(each, runs, metric)) for metric in metrics[each]) for each in metrics}
    digests = {each: _digest(each, runs) for each in metrics}
    return sorted(metrics, key=lambda each: (-weights[each], digests[each]))[:most]


def _weight(found: Moved) -> float:
    before = 1.0 if found.baseline is None else found.baseline
    return abs(before - (0.0 if found.candidate is None else found.candidate))


def _digest(sample_id: str, runs: Mapping[Arm, Evidence]) -> str:
    units = (run.units.get(sample_id) for run in runs.values())
    return next((unit.records[0].digest for unit in units if unit and unit.records), sample_id)


def _size(view: SampleView) -> int:
    texts = [message.text for message in view.prompt] + list(view.references)
    return sum(map(len, texts)) + sum(map(len, _texts(shown for pair in view.pairs for shown in pair)))


def _texts(answers: Iterable[Shown]) -> Iterable[str]:
    for shown in answers:
        yield from (piece.text for piece in shown.pieces)
        yield from (score.explanation for score in shown.scores)
        yield from (passage.text for passage in shown.passages)
        yield from (shown.failure, *shown.turns, *shown.tool_calls)
