"""`noninferior` and `absolute`: the mean of a score, by the bound of `stats`."""

from typing import Any

from evals import compare, stats
from evals.compare import Measure
from evals.conditions.base import Case, Found, made, too_few, untestable
from evals.planning import Plan, plan, underpowered
from gateway.contracts.verdict import Answer


def test(case: Case) -> Found:
    """Pass when the lower bound reaches the bar; fail when the upper one shows it worse; never by the estimate."""
    if (wrong := untestable(case)) is not None:
        return wrong
    measure = measured(case)
    planned = plan(case.gate, case.condition, (measure.samples, measure.clusters, measure.largest))
    answer, reason, needed = _judge(case, measure, planned)
    flips = measure.flips if case.condition.test == "noninferior" else None
    figures = shown(measure, planned, needed)
    return Found(made(case, answer, reason, **figures), flips, _risen(case, measure))


def measured(case: Case) -> Measure:
    """The metric of a case that can be tested."""
    condition, alpha = case.condition, case.gate.design.alpha
    if condition.test == "noninferior" and case.baseline is not None:
        found = compare.paired(case.candidate, case.baseline, condition.metric, alpha=alpha, tag=condition.tag)
    else:
        found = compare.absolute(case.candidate, condition.metric, alpha=alpha, tag=condition.tag)
    if found is None:
        raise ValueError(f"{condition.label}: no sample to measure")
    return found


def shown(measure: Measure, planned: Plan | None, needed: int | None) -> dict[str, Any]:
    """The figures of a measure, as fields of a result."""
    return {
        "estimate": measure.estimate,
        "lower": measure.lower,
        "upper": measure.upper,
        "samples": measure.samples,
        "clusters": measure.clusters,
        "missing_candidate": measure.missing_candidate,
        "missing_baseline": measure.missing_baseline,
        "candidate_score": measure.candidate_score,
        "baseline_score": measure.baseline_score,
        "planned_power": planned.power if planned else None,
        "samples_needed": needed,
    }


def _judge(case: Case, measure: Measure, planned: Plan | None) -> tuple[Answer, str, int | None]:
    condition = case.condition
    if planned is not None and planned.power < case.gate.design.power:
        return "invalid", underpowered(case.gate, planned), planned.samples_needed
    if few := too_few(case, measure.samples, measure.clusters):
        return "inconclusive", few, None
    bar = -condition.margin if condition.margin is not None else condition.at_least or 0.0
    worse = 0.0 if condition.margin is not None else bar
    if measure.lower >= bar:
        return "pass", f"the lower bound {measure.lower:.4f} is at least {bar:g}", None
    if measure.upper < worse:
        return "fail", f"the upper bound {measure.upper:.4f} is below {worse:g}: proven worse", None
    return undecided(case, measure, bar)


def undecided(case: Case, measure: Measure, bar: float) -> tuple[Answer, str, int | None]:
    """An inconclusive test: how many samples it would take."""
    margin = case.condition.margin
    start = f"{bar:g} lies between the bounds {measure.lower:.4f} and {measure.upper:.4f}"
    if measure.estimate < bar:
        return "inconclusive", f"{start}; the estimate itself is below it, more samples will hardly help", None
    noise = measure.spread or stats.Spread(1e-9, 1.0)
    difference = margin is not None
    design = stats.Design(
        measure.samples,
        max(2, measure.clusters),
        measure.largest,
        noise.sd,
        max(noise.design_effect, 1e-6),
        case.gate.design.alpha,
        1.0 if difference else measure.estimate,
    )
    room = margin if margin is not None else measure.estimate - bar
    needed = stats.samples_needed(design, room, case.gate.design.power)
    truth = "true difference of 0" if difference else f"true mean of {measure.estimate:.4f}"
    if needed is None:
        return "inconclusive", f"{start}; no number of samples with clusters like these would do", None
    if needed <= measure.samples:
        return "inconclusive", f"{start}; this size would do at a {truth}, so look at what changed", needed
    return "inconclusive", f"{start}; about {needed} samples are needed at a {truth}", needed


def _risen(case: Case, measure: Measure) -> tuple[str, ...]:
    """A rise that nobody explained is a finding: more often a broken scorer than a better model."""
    most = case.condition.max_rise
    if most is None or measure.estimate <= most or measure.lower <= 0.0:
        return ()
    told = (
        f"{case.condition.label} rose by {measure.estimate:.4f}, more than max_rise {most:g}: look at the samples that "
        "improved, for a rise without a reason is often a scorer or a data set that broke"
    )
    return (told,)
