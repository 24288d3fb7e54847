"""How quantities spread over the answers of each arm: latency, cost and tokens, on bins that both arms share.

Quantiles are empirical ones: the smallest measured value that at least that share of the answers does not exceed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evals.agreement import quantile
from evals.evidence import Evidence
from evals.quantities import latency
from evals.report.view import Quantity, Spread
from evals.schema import Answer, Arm
from evals.spending import amount

BINS = 40
SHOWN = 0.99
"""The bins reach to this quantile of the arm with the larger one; what lies above is counted in the last bin."""
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity of an answer. `free` ones are nothing for an answer from the cache, which is left out then."""

    name: str
    unit: str
    of: Callable[[Answer], float | None]
    free: bool


def _cost(answer: Answer) -> float | None:
    paid = amount(answer.cost)
    return None if paid is None else float(paid)


MEASURED = (
    Measured("Latency", "s", latency, True),
    Measured("Cost of an answer", "", _cost, True),
    Measured("Output tokens", "tokens", lambda answer: answer.output_tokens, False),
)


def quantities(runs: Mapping[Arm, Evidence]) -> tuple[Quantity, ...]:
    """Every quantity that at least one answer carries."""
    answers = {arm: _answers(run) for arm, run in runs.items()}
    found = (_quantity(measured, answers) for measured in MEASURED)
    return tuple(one for one in found if one is not None)


def _answers(run: Evidence) -> list[Answer]:
    """Of every result that is evidence."""
    records = (record for unit in run.units.values() for record in unit.records)
    return [r.answer for r in records if r.answer is not None and r.outcome != "harness_error"]


def _quantity(measured: Measured, answers: Mapping[Arm, Sequence[Answer]]) -> Quantity | None:
    values: dict[Arm, list[float]] = {}
    cached: dict[Arm, int] = {}
    for arm, found in answers.items():
        counted = [answer for answer in found if not (measured.free and answer.cached)]
        known = [measured.of(answer) for answer in counted]
        values[arm] = [value for value in known if value is not None]
        cached[arm] = len(found) - len(counted)
    filled = {arm: listed for arm, listed in values.items() if listed}
    if not filled:
        return None
    start, width = _bins([(min(listed), quantile(listed, SHOWN)) for listed in filled.values()])
    spreads = tuple(
        Spread(
            arm=arm,
            count=len(listed),
            cached=cached[arm],
            unknown=len(answers[arm]) - cached[arm] - len(listed),
            mean=math.fsum(listed) / len(listed),
            quantiles={name: quantile(listed, at) for name, at in QUANTILES.items()},
            counts=_counts(listed, start, width),
        )
        for arm, listed in filled.items()
    )
    return Quantity(measured.name, measured.unit, start, width, spreads)


def _bins(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where the bins begin, which is zero unless that would hide everything in a few of them, and how wide they are."""
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    start = 0.0 if low < high / 2 else low
    return start, (high - start) / (BINS - 1) or abs(high) / BINS or 1.0


def _counts(values: Sequence[float], start: float, width: float) -> tuple[int, ...]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int((value - start) / width)))] += 1
    return tuple(counts)
