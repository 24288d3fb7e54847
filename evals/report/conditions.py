"""The rows of a report: the conditions of a gate, or the metrics of a comparison or a run, with what they ask for."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from evals import compare
from evals.compare import Measure
from evals.decision import Decision
from evals.evidence import Evidence
from evals.report.texts import clean
from evals.report.view import Condition, Slice
from evals.summary import TWO_SIDED
from gateway.contracts.verdict import MetricResult

MOST_SLICES = 120
"""Slices with an interval of their own, at most: those with the most samples."""


def of_decision(decision: Decision) -> tuple[Condition, ...]:
    """One row for each condition of a gate, in the gate's order."""
    owners = decision.owners or ("",) * len(decision.metrics)
    found = []
    for result, owner in zip(decision.metrics, owners, strict=True):
        line, words = _asked(result)
        row = Condition(
            label=result.metric,
            test=result.test,
            verdict=result.verdict,
            reason=result.reason,
            owner=result.owner or owner,
            tier=result.tier,
            estimate=result.estimate,
            lower=result.lower,
            upper=result.upper,
            line=line,
            asked=words,
            lower_is_better=result.test in ("ratio", "max_failures", "golden"),
            baseline=result.baseline_score,
            candidate=result.candidate_score,
            samples=result.samples,
            clusters=result.clusters,
            missing=(result.missing_candidate, result.missing_baseline),
            power=result.planned_power,
            failures=result.failures,
        )
        found.append(row)
    return tuple(found)


def _asked(result: MetricResult) -> tuple[float | None, str]:
    """The line that decides, in the unit of the estimate, and the condition in words."""
    if result.test == "noninferior" and result.margin is not None:
        return -result.margin, f"not worse than the baseline by more than {result.margin:g}"
    if result.test == "absolute" and result.at_least is not None:
        return result.at_least, f"at least {result.at_least:g}"
    if result.test == "ratio" and result.max_ratio is not None:
        return result.max_ratio, f"at most {result.max_ratio:g} times the baseline"
    if result.max_failures is None:
        return None, ""
    if result.test == "golden":
        return None, f"at most {result.max_failures} of the golden samples worse"
    share = result.max_failures / result.samples if result.samples else None
    return share, f"at most {result.max_failures} failures"


def of_measures(measures: Mapping[str, Measure], *, paired: bool) -> tuple[Condition, ...]:
    """One row for each metric that was measured; nothing is asked of it."""
    return tuple(
        Condition(
            label=name,
            test="noninferior" if paired else "absolute",
            verdict=None,
            reason="",
            owner="",
            tier="",
            estimate=found.estimate,
            lower=found.lower,
            upper=found.upper,
            line=None,
            asked="",
            lower_is_better=False,
            baseline=found.baseline_score,
            candidate=found.candidate_score,
            samples=found.samples,
            clusters=found.clusters,
            missing=(found.missing_candidate, found.missing_baseline),
            power=None,
        )
        for name, found in measures.items()
    )


def slices(candidate: Evidence, baseline: Evidence | None, metrics: Iterable[str]) -> tuple[tuple[Slice, ...], int]:
    """Metrics by tag, the worst first, each with its 95 % interval; and how many were left out, the smallest ones."""
    members: dict[str, list[str]] = {}
    for sample_id, unit in candidate.units.items():
        for tag in dict.fromkeys(unit.tags):
            members.setdefault(tag, []).append(sample_id)
    names = list(dict.fromkeys(metrics))
    room = MOST_SLICES // max(1, len(names))
    tags = sorted(members, key=lambda tag: (-len(members[tag]), tag))
    rows: list[Slice] = []
    for tag in tags[:room]:
        theirs = _only(baseline, members[tag]) if baseline else None
        rows += _of_tag(_only(candidate, members[tag]), theirs, tag, names)
    rows.sort(key=lambda row: (row.estimate, row.metric, row.tag))
    return tuple(rows), max(0, len(tags) - room) * len(names)


def _of_tag(candidate: Evidence, baseline: Evidence | None, tag: str, metrics: Iterable[str]) -> Iterable[Slice]:
    for metric in metrics:
        found = _measure(candidate, baseline, metric)
        if found is not None:
            scores = (found.baseline_score, found.candidate_score)
            yield Slice(metric, clean(tag), found.samples, *scores, found.estimate, found.lower, found.upper)


def _measure(candidate: Evidence, baseline: Evidence | None, metric: str) -> Measure | None:
    if baseline is None:
        return compare.absolute(candidate, metric, alpha=TWO_SIDED)
    return compare.paired(candidate, baseline, metric, alpha=TWO_SIDED)


def _only(run: Evidence, ids: Iterable[str]) -> Evidence:
    return replace(run, units={each: run.units[each] for each in ids if each in run.units})
