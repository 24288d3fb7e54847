"""What answers took: latency, cost and tokens of two runs, paired by sample, for `test: ratio`.

Two rules keep a bad release from looking fast or cheap:

- A candidate's answer that failed is infinitely slow, and a figure that nobody took is unknown. Neither is left out.
- A sample that the **baseline** failed says nothing of a ratio with it and is left out, on both sides. That depends on
  the baseline alone, so that no candidate can choose its samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from evals.evidence import Unit
from evals.lines import Record
from evals.schema import Answer
from evals.spending import amount

LEVELS: dict[str, float] = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
"""The quantities that are quantiles."""

FAILED = float("inf")
"""The latency of an answer that never came."""
LONGEST_S = 1e9
"""Thirty years: no answer took longer, so what says so was not measured."""


def latency(answer: Answer) -> float | None:
    """How many seconds an answer took, None where nobody measured it."""
    return answer.latency_s if 0.0 < answer.latency_s <= LONGEST_S else None


class Taken(NamedTuple):
    """One answer: what it took (None: unknown), and whether it passes, for `cost_per_ok`."""

    value: float | None
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample: its cluster, and what each epoch of both runs took."""

    cluster: str
    candidate: tuple[Taken, ...]
    baseline: tuple[Taken, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The samples of a comparison, those left out because the baseline failed them, and answers out of a cache."""

    pairs: tuple[Pair, ...]
    left_out: int
    cached: int

    def unknown(self) -> tuple[int, int]:
        """How many answers of the candidate and of the baseline carry no figure."""
        sides = ([t for p in self.pairs for t in p.candidate], [t for p in self.pairs for t in p.baseline])
        ours, theirs = (sum(taken.value is None for taken in side) for side in sides)
        return ours, theirs

    def failed(self) -> int:
        """How many answers of the candidate never came."""
        return sum(taken.value == FAILED for pair in self.pairs for taken in pair.candidate)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which quantity: its name, and for `cost_per_ok` the score and the value from which on a sample passes."""

    quantity: str
    score: str | None = None
    passing: float = 1.0


def paired(asked: Asked, units: Iterable[tuple[Unit, Unit]]) -> Pairs:
    """Pair what the answers of (candidate, baseline) took, in the order given."""
    made, left_out, cached = [], 0, 0
    for ours, theirs in units:
        cached += sum(r.answer is not None and r.answer.cached for r in (*ours.records, *theirs.records))
        if any(record.outcome == "system_error" for record in theirs.records):
            left_out += 1
            continue
        made.append(Pair(ours.cluster, _side(asked, ours, False), _side(asked, theirs, True)))
    return Pairs(tuple(made), left_out, cached)


def _side(asked: Asked, unit: Unit, kind: bool) -> tuple[Taken, ...]:
    """Every epoch of a sample; `kind` says what an unknown score counts as."""
    found = [Taken(_value(asked.quantity, record), _ok(asked, record, kind)) for record in unit.records]
    return (*found, *[Taken(None, kind)] * (unit.epochs - len(found)))


def _ok(asked: Asked, record: Record, kind: bool) -> bool:
    if asked.score is None:
        return True
    if record.outcome == "scored" and asked.score in record.scores:
        return record.scores[asked.score].value >= asked.passing - 1e-12
    return kind and record.outcome == "harness_error"


def _value(quantity: str, record: Record) -> float | None:
    answer = record.answer
    if record.outcome == "harness_error" and (answer is None or answer.finish_reason is None):
        return None
    if quantity.startswith("latency"):
        if record.outcome == "system_error":
            return FAILED
        return latency(answer) if answer else None
    if answer is None:
        return None
    if quantity.startswith("cost"):
        paid = amount(answer.cost)
        return None if paid is None else float(paid)
    return None if answer.output_tokens is None else float(answer.output_tokens)
