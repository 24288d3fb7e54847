"""Measures: a metric of one run, or of two runs paired by sample id, with bounds that hold whatever is missing.

The unit is the sample (epochs averaged), the samples of a cluster stand together, and the number of samples is that of
the data set, never of the answers. Where evidence is missing the estimate and the lower bound take the worst value that
it could have, the upper bound the best one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from evals import stats
from evals.decision import Flips, Slice
from evals.evidence import UNKNOWN, Evidence, Interval, Unit
from evals.schema import OUTCOMES, Outcome

_EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric, measured. `estimate`, `lower` and `upper` are in the metric's unit; missing counts are samples.

    `candidate_score` takes missing values as 0 and `baseline_score` as 1, so that their difference is the estimate.
    """

    estimate: float
    lower: float
    upper: float
    samples: int
    clusters: int
    largest: int
    missing_candidate: int
    missing_baseline: int
    candidate_score: float
    baseline_score: float | None
    spread: stats.Spread | None
    flips: Flips = field(default_factory=Flips)


def shape(keys: Iterable[str]) -> tuple[int, int, int]:
    """(samples, clusters, size of the largest) of cluster keys, one for each sample."""
    sizes: dict[str, int] = {}
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    return sum(sizes.values()), len(sizes), max(sizes.values(), default=0)


def absolute(run: Evidence, metric: str, *, alpha: float, tag: str | None = None) -> Measure | None:
    """The mean score of a run, each bound at confidence 1 - alpha. None when no sample has the tag."""
    units = _tagged(run.units, tag)
    scores = [unit.score(metric, "candidate") for unit in units]
    return _measure(units, scores, (0.0, 1.0), alpha) if units else None


def paired(
    candidate: Evidence, baseline: Evidence, metric: str, *, alpha: float, tag: str | None = None
) -> Measure | None:
    """Candidate minus baseline by sample id. A sample that only one run has is missing in the other."""
    everyone = {**baseline.units, **candidate.units}
    units = _tagged(everyone, tag)
    if not units:
        return None
    ours = [_score(candidate, unit, metric) for unit in units]
    theirs = [_baseline_score(baseline, unit, metric) for unit in units]
    differences = [(c[0] - b[1], c[1] - b[0]) for c, b in zip(ours, theirs, strict=True)]
    measured = _measure(units, differences, (-1.0, 1.0), alpha)
    changed = list(zip(units, differences, strict=True))
    return Measure(
        estimate=measured.estimate,
        lower=measured.lower,
        upper=measured.upper,
        samples=measured.samples,
        clusters=measured.clusters,
        largest=measured.largest,
        missing_candidate=_missing(ours),
        missing_baseline=_missing(theirs),
        candidate_score=sum(low for low, _ in ours) / len(units),
        baseline_score=sum(high for _, high in theirs) / len(units),
        spread=measured.spread,
        flips=Flips(
            regressed=tuple(unit.id for unit, (_, high) in changed if high < -_EPSILON),
            improved=tuple(unit.id for unit, (low, _) in changed if low > _EPSILON),
        ),
    )


def slices(candidate: Evidence, baseline: Evidence | None, metrics: Iterable[str]) -> tuple[Slice, ...]:
    """Estimates by tag: paired differences, or the candidate's means when there is no baseline."""
    tags = sorted({tag for unit in candidate.units.values() for tag in unit.tags})
    found: list[Slice] = []
    for metric in dict.fromkeys(metrics):
        for tag in tags:
            units = _tagged(candidate.units, tag)
            low = sum(unit.score(metric, "candidate")[0] for unit in units)
            if baseline is not None:
                low -= sum(_baseline_score(baseline, unit, metric)[1] for unit in units)
            found.append(Slice(metric, tag, len(units), low / len(units)))
    return tuple(found)


def _tagged(units: Mapping[str, Unit], tag: str | None) -> list[Unit]:
    """Units in the order of their ids, so that nothing depends on the order of a log."""
    return [units[key] for key in sorted(units) if tag is None or tag in units[key].tags]


def _score(run: Evidence, unit: Unit, metric: str) -> Interval:
    found = run.units.get(unit.id)
    return found.score(metric, "candidate") if found else UNKNOWN


def _baseline_score(run: Evidence, unit: Unit, metric: str) -> Interval:
    found = run.units.get(unit.id)
    return found.score(metric, "baseline") if found else UNKNOWN


def _missing(intervals: Sequence[Interval]) -> int:
    return sum(high - low > _EPSILON for low, high in intervals)


def _measure(units: Sequence[Unit], intervals: Sequence[Interval], span: Interval, alpha: float) -> Measure:
    keys = [unit.cluster for unit in units]
    lows, highs = [low for low, _ in intervals], [high for _, high in intervals]
    bottom, top = _clusters(keys, lows), _clusters(keys, highs)
    samples, clusters, largest = shape(keys)
    estimate = stats.mean(bottom)
    return Measure(
        estimate=estimate,
        lower=stats.lower_bound(bottom, worst=span[0], alpha=alpha),
        upper=stats.upper_bound(top, best=span[1], alpha=alpha),
        samples=samples,
        clusters=clusters,
        largest=largest,
        missing_candidate=_missing(intervals),
        missing_baseline=0,
        candidate_score=estimate,
        baseline_score=None,
        spread=stats.spread(lows, bottom),
    )


def _clusters(keys: Sequence[str], values: Sequence[float]) -> list[stats.Cluster]:
    grouped: dict[str, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        grouped.setdefault(key, []).append(value)
    return [stats.Cluster(sum(grouped[key]), len(grouped[key])) for key in sorted(grouped)]


@dataclass(frozen=True, slots=True)
class Account:
    """What a run cost and how its samples ended. `cost` is None when no answer carried one; `failures` by kind."""

    outcomes: dict[Outcome, int]
    failures: dict[str, int]
    truncated: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: Decimal | None
    uncosted: int


def account(run: Evidence) -> Account:
    """Add up a run. Retried answers that never arrived are not in it."""
    outcomes, failures = dict.fromkeys(OUTCOMES, 0), dict[str, int]()
    tokens, truncated, uncosted, cost = [0, 0, 0], 0, 0, None
    for record in (record for unit in run.units.values() for record in unit.records):
        outcomes[record.outcome] += 1
        if record.failure is not None:
            failures[record.failure.kind] = failures.get(record.failure.kind, 0) + 1
        answer = record.answer
        if answer is None:
            continue
        truncated += answer.finish_reason == "length"
        for position, count in enumerate((answer.input_tokens, answer.output_tokens, answer.cached_tokens)):
            tokens[position] += count or 0
        amount = _amount(answer.cost)
        uncosted += amount is None
        cost = cost if amount is None else (cost or Decimal(0)) + amount
    return Account(outcomes, failures, truncated, tokens[0], tokens[1], tokens[2], cost, uncosted)


def _amount(text: str | None) -> Decimal | None:
    try:
        amount = Decimal(text) if text else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() else None
