"""`golden`: samples that may never regress. No statistics: each of them is an argument on its own.

Without `at_least` a sample regresses when its score, the mean of its epochs, lies below the baseline's. That is strict
on purpose, and right for answers that do not waver (temperature 0). A model that is asked several times and wavers
loses an epoch now and then without having got worse; for it the gate names the score that a golden sample has to reach,
`at_least`, and the baseline plays no part.

Missing evidence counts as regressed: what may never break has to be seen whole.
"""

from evals.conditions.base import Case, Found, made, some, untestable
from evals.decision import Flips
from evals.evidence import UNKNOWN, Unit

_EPSILON = 1e-12


def test(case: Case) -> Found:
    """`fail` when more than `max_regressed` golden samples regressed, with their ids."""
    if (wrong := untestable(case)) is not None:
        return wrong
    units, most = case.units(), case.condition.max_regressed or 0
    ours = [case.score(unit) for unit in units]
    bars = [_bar(case, unit) for unit in units]
    regressed = [u.id for u, (low, _), bar in zip(units, ours, bars, strict=True) if low < bar - _EPSILON]
    missing = [u.id for u, (low, high) in zip(units, ours, strict=True) if high - low > _EPSILON and u.id in regressed]
    count = f"{len(regressed)} of {len(units)} golden samples regressed, {most} may"
    lack = f" (evidence is missing of {some(missing)})" if missing else ""
    bad = len(regressed) > most
    result = made(
        case,
        "fail" if bad else "pass",
        f"{count}: {some(regressed)}{lack}" if regressed else count,
        estimate=None,
        failures=len(regressed),
        samples=len(units),
        clusters=case.shape()[1],
        missing_candidate=len(missing),
        candidate_score=sum(low for low, _ in ours) / len(units),
        baseline_score=None if case.condition.at_least is not None else sum(bars) / len(bars),
    )
    return Found(result, Flips(regressed=tuple(regressed)))


def _bar(case: Case, unit: Unit) -> float:
    """What a sample has to reach: `at_least`, or the most that the baseline may have had."""
    if case.condition.at_least is not None:
        return case.condition.at_least
    found = case.baseline.units.get(unit.id) if case.baseline is not None else None
    return found.score(case.condition.metric, "baseline")[1] if found else UNKNOWN[1]
