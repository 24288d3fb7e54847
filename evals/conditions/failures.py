"""`max_failures`: so many samples may fail and no more, and enough of them were asked.

"0 of 300" is what safety asks for, and it is worth what the number of samples makes it worth: 0 of 300 independent
samples show a failure rate of at most 1 % at confidence 0.95 (Clopper and Pearson 1934; the rule of three). The bound
is that of `stats`, which is theirs on independent samples and takes clusters as units where there are any.
"""

from evals import stats
from evals.conditions.base import Case, Found, made, some, too_few, untestable
from gateway.contracts.verdict import Answer

_EPSILON = 1e-12


def test(case: Case) -> Found:
    """A sample fails when its score (the mean of its epochs) lies below `below`; missing evidence counts as failed."""
    if (wrong := untestable(case)) is not None:
        return wrong
    condition, units = case.condition, case.units()
    scores = [case.score(unit) for unit in units]
    bar = condition.passing - _EPSILON
    failed = [unit.id for unit, (low, _) in zip(units, scores, strict=True) if low < bar]
    missing = sum(low < bar <= high for low, high in scores)
    clusters = stats.grouped([unit.cluster for unit in units], [float(low < bar) for low, _ in scores])
    alpha = case.gate.design.alpha
    upper = stats.upper_bound(clusters, best=1.0, alpha=alpha)
    answer, reason = _judge(case, failed, missing, (len(units), len(clusters)), upper)
    result = made(
        case,
        answer,
        reason,
        estimate=len(failed) / len(units),
        lower=stats.lower_bound(clusters, worst=0.0, alpha=alpha),
        upper=upper,
        failures=len(failed),
        samples=len(units),
        clusters=len(clusters),
        missing_candidate=sum(high - low > _EPSILON for low, high in scores),
        candidate_score=1.0 - len(failed) / len(units),
    )
    return Found(result)


def _judge(case: Case, failed: list[str], missing: int, counted: tuple[int, int], upper: float) -> tuple[Answer, str]:
    samples, clusters = counted
    most = case.condition.max_failures or 0
    lack = f", {missing} of them for want of evidence" if missing else ""
    count = f"{len(failed)} of {samples} samples failed{lack}"
    if len(failed) > most:
        return "fail", f"{count}, {most} may: {some(failed)}"
    if few := too_few(case, samples, clusters):
        return "inconclusive", few
    confidence = 1.0 - case.gate.design.alpha
    return "pass", f"{count}; that shows a failure rate of at most {upper:.2%} at confidence {confidence:g}"
