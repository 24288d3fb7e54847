"""One sample with everything that was asked, answered and said of it, from one run or from two."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evals.evidence import Evidence, Role, Unit
from evals.lines import Record
from evals.report import words
from evals.report.texts import call, clean, cut, ending, prompt
from evals.report.view import Case, Judged, Message, Moved, Piece, SampleView, Shown
from evals.schema import Answer, Arm, Sample


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one sample is shown: characters of a text and of a passage, passages, and epochs."""

    text: int
    passage: int
    passages: int
    epochs: int


EVERYTHING = Room(text=1_000_000, passage=1_000_000, passages=1_000, epochs=1_000)
PAGE = Room(text=4_000, passage=700, passages=6, epochs=3)


def sample(
    sample_id: str, runs: Mapping[Arm, Evidence], about: Sample | None, metrics: Sequence[str], kind: Case, room: Room
) -> SampleView:
    """A sample of the runs, which stand by the part they play. `about` is None where the data set is not at hand."""
    units = {arm: run.units[sample_id] for arm, run in runs.items() if sample_id in run.units}
    epochs = sorted({record.epoch for unit in units.values() for record in unit.records})
    shown = _chosen(epochs, units, room.epochs)
    tags = next((unit.tags for unit in units.values()), ())
    clusters = {record.cluster for unit in units.values() for record in unit.records}
    return SampleView(
        id=clean(sample_id),
        kind=kind,
        moved=tuple(moved(sample_id, runs, metric) for metric in metrics),
        tags=tuple(map(clean, tags)),
        cluster=next((clean(name) for name in clusters if name), None),
        prompt=prompt(about, room.text) if about else (),
        references=tuple(ending(text, room.text) for text in about.references()) if about else (),
        pairs=tuple(_pair(epoch, units, room) for epoch in shown),
        epochs_left_out=len(epochs) - len(shown),
    )


def moved(sample_id: str, runs: Mapping[Arm, Evidence], metric: str) -> Moved:
    """The sample's score in both runs, as the gate counts it; None where evidence is missing."""
    return Moved(metric, _score(sample_id, runs, metric, "baseline"), _score(sample_id, runs, metric, "candidate"))


def _score(sample_id: str, runs: Mapping[Arm, Evidence], metric: str, role: Role) -> float | None:
    unit = runs[role].units.get(sample_id) if role in runs else None
    low, high = unit.score(metric, role) if unit else (0.0, 1.0)
    return low if high - low < 1e-9 else None


def _chosen(epochs: Sequence[int], units: Mapping[Arm, Unit], most: int) -> list[int]:
    """The epochs in which the scores lie furthest apart, in their order."""
    if len(epochs) <= most:
        return list(epochs)
    apart = {epoch: _apart([_of(unit, epoch) for unit in units.values()]) for epoch in epochs}
    return sorted(sorted(epochs, key=lambda epoch: (-apart[epoch], epoch))[:most])


def _apart(records: Sequence[Record | None]) -> float:
    values = [sum(s.value for s in record.scores.values()) if record else 0.0 for record in records]
    return max(values, default=0.0) - min(values, default=0.0)


def _of(unit: Unit, epoch: int) -> Record | None:
    return next((record for record in unit.records if record.epoch == epoch), None)


def _pair(epoch: int, units: Mapping[Arm, Unit], room: Room) -> tuple[Shown, ...]:
    """The answers of one epoch, baseline first, with what differs marked where there are two."""
    arms: tuple[Arm, ...] = ("baseline", "candidate")
    found = [(arm, _of(units[arm], epoch)) for arm in arms if arm in units]
    shown = [_shown(arm, epoch, record, room) for arm, record in found]
    if len(shown) == 2:
        texts = ["".join(piece.text for piece in one.pieces) for one in shown]
        left, right = words.compared(*texts)
        return replace(shown[0], pieces=left), replace(shown[1], pieces=right)
    return tuple(shown)


def _shown(arm: Arm, epoch: int, record: Record | None, room: Room) -> Shown:
    answer = record.answer if record else None
    text, left_out = cut(answer.text, room.text) if answer else ("", 0)
    failure = record.failure if record else None
    return Shown(
        arm=arm,
        epoch=epoch,
        outcome=record.outcome if record else "no result",
        failure=f"{failure.kind}: {ending(failure.message, room.text)}" if failure else "",
        pieces=(Piece("same", text),) if text else (),
        cut=left_out,
        scores=tuple(_judged(record, room)) if record else (),
        turns=tuple(ending(turn, room.text) for turn in answer.turns) if answer else (),
        tool_calls=tuple(ending(call(one), room.text) for one in answer.tool_calls) if answer else (),
        passages=tuple(_passages(answer, room)) if answer else (),
        facts=tuple(facts(record)) if record else (),
    )


def _judged(record: Record, room: Room) -> Iterable[Judged]:
    for metric, score in record.scores.items():
        yield Judged(metric, score.value, ending(score.explanation, room.text), tuple(score.votes))


def _passages(answer: Answer, room: Room) -> Iterable[Message]:
    found = answer.passages or []
    for passage in found[: room.passages]:
        similar = "" if passage.score is None else f", similarity {passage.score:.3f}"
        yield Message(clean(passage.id) + similar, ending(passage.text, room.passage))
    if len(found) > room.passages:
        yield Message("and more", f"{len(found) - room.passages} further passages are not shown")


def facts(record: Record) -> Iterable[str]:
    """Figures of one result, in words."""
    answer = record.answer
    if answer is None:
        return
    if answer.cached:
        yield "from the harness's cache: no latency, no cost"
    else:
        yield f"{answer.latency_s:.3f} s"
        yield f"cost {answer.cost}" if answer.cost else "no cost reported"
    if answer.input_tokens is not None or answer.output_tokens is not None:
        cached = f" ({answer.cached_tokens} cached)" if answer.cached_tokens else ""
        yield f"{_count(answer.input_tokens)} tokens in{cached}, {_count(answer.output_tokens)} out"
    if answer.finish_reason:
        yield f"ended by {clean(answer.finish_reason)}"
    if record.attempts > 1:
        yield f"at attempt {record.attempts}"
    if answer.release:
        yield f"from {clean(answer.release)}"


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"
