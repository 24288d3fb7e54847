"""Measures: a metric of one run, or of two runs paired by sample id, with bounds that hold whatever is missing.

The unit is the sample (epochs averaged), the samples of a cluster stand together, and the number of samples is that of
the data set, never of the answers. Where evidence is missing the estimate and the lower bound take the worst value that
it could have, the upper bound the best one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from evals import stats, variance
from evals.decision import Flips, Slice
from evals.evidence import UNKNOWN, Evidence, Interval, Unit
from evals.schema import OUTCOMES, Outcome
from evals.spending import amount

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


def p_not_worse(candidate: Evidence, baseline: Evidence, metric: str, tag: str | None = None) -> float:
    """The p-value of "the candidate is not worse", missing values at their best: below alpha exactly where the upper
    bound of `paired` is below 0. Raises ValueError without a sample."""
    units = _tagged({**baseline.units, **candidate.units}, tag)
    if not units:
        raise ValueError(f"expected a sample with the tag {tag!r}, found none")
    best = [_score(candidate, u, metric)[1] - _baseline_score(baseline, u, metric)[0] for u in units]
    clusters = stats.grouped([unit.cluster for unit in units], [-value for value in best])
    return stats.tail(clusters, at=0.0, worst=-1.0)


def differences(candidate: Evidence, baseline: Evidence, metric: str) -> list[stats.Cluster]:
    """What the estimate of `paired` is the mean of: differences by cluster, missing values at their worst."""
    units = _tagged({**baseline.units, **candidate.units}, None)
    worst = [_score(candidate, u, metric)[0] - _baseline_score(baseline, u, metric)[1] for u in units]
    return stats.grouped([unit.cluster for unit in units], worst)


def slices(candidate: Evidence, baseline: Evidence | None, metrics: Iterable[str]) -> tuple[Slice, ...]:
    """Estimates by tag: paired differences, or the candidate's means when there is no baseline."""
    found: dict[str, list[Slice]] = {}
    units = _tagged(candidate.units, None)
    for metric in dict.fromkeys(metrics):
        values: dict[str, list[float]] = {}
        for unit in units:
            value = unit.score(metric, "candidate")[0]
            if baseline is not None:
                value -= _baseline_score(baseline, unit, metric)[1]
            for tag in dict.fromkeys(unit.tags):
                values.setdefault(tag, []).append(value)
        found[metric] = [Slice(metric, tag, len(v), math.fsum(v) / len(v)) for tag, v in sorted(values.items())]
    return tuple(part for parts in found.values() for part in parts)


def noise(run: Evidence, metric: str) -> variance.Split | None:
    """Where the noise of a run's mean comes from, of what is known; None below two samples."""
    cells = [_cells(unit, metric) for unit in run.units.values()]
    return variance.split([known for known in cells if known])


def noise_between(candidate: Evidence, baseline: Evidence, metric: str) -> variance.Split | None:
    """The same of the difference of two runs, over the samples that both have scores of."""
    both = [(unit, baseline.units[key]) for key, unit in candidate.units.items() if key in baseline.units]
    pairs = [(_cells(ours, metric), _cells(theirs, metric)) for ours, theirs in both]
    return variance.split_difference([pair for pair in pairs if all(pair)])


def _cells(unit: Unit, metric: str) -> list[variance.Cell]:
    """The known scores of a sample, an error of the system among them as 0."""
    found: list[variance.Cell] = []
    for record in unit.records:
        if record.outcome == "system_error":
            found.append(variance.Cell(0.0))
        elif record.outcome == "scored" and metric in record.scores:
            found.append(variance.Cell(record.scores[metric].value, record.scores[metric].votes))
    return found


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
    bottom, top = stats.grouped(keys, lows), stats.grouped(keys, highs)
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


@dataclass(frozen=True, slots=True)
class Account:
    """What a run cost and how its samples ended. `cost` is None when no answer carried one; `failures` by kind.

    `from_cache` counts answers of the harness's own cache: their tokens count, and cost nothing.
    """

    outcomes: dict[Outcome, int]
    failures: dict[str, int]
    truncated: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: Decimal | None
    uncosted: int
    from_cache: int = 0


def account(run: Evidence) -> Account:
    """Add up a run. Retried answers that never arrived are not in it."""
    outcomes, failures = dict.fromkeys(OUTCOMES, 0), dict[str, int]()
    tokens, truncated, cached, uncosted, cost = [0, 0, 0], 0, 0, 0, None
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
        paid = amount(answer.cost)
        cached += answer.cached
        uncosted += paid is None and not answer.cached
        cost = cost if paid is None else (cost or Decimal(0)) + paid
    return Account(outcomes, failures, truncated, tokens[0], tokens[1], tokens[2], cost, uncosted, cached)
