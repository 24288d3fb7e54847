"""`ratio`: what answers take (latency, cost, tokens), as a multiple of what the baseline's take; lower is better.

Pass when the upper bound is at most `max_ratio`, fail when the lower bound lies above it, inconclusive between. Figures
that are missing take the worst value for the upper bound and the best one for the lower: of a quantile that costs a
little, a mean has no worst value, and nothing is decided. So neither a lost nor a failed answer ever helps.
"""

from collections.abc import Sequence
from math import inf

from evals.classical import ratios
from evals.classical.ratios import Ratio
from evals.conditions.base import Case, Found, made, too_few, untestable
from evals.evidence import Unit
from evals.quantities import FAILED, LEVELS, Asked, Pair, Pairs, Taken, paired
from gateway.contracts.verdict import Answer


def test(case: Case) -> Found:
    """Compare one quantity of two runs."""
    if (wrong := untestable(case)) is not None:
        return wrong
    condition = case.condition
    pairs = paired(Asked(condition.metric, condition.of, condition.passing), _both(case))
    if problem := _unusable(case, pairs):
        return Found(made(case, "invalid", problem))
    clusters = _clusters(pairs)
    samples, ours_unknown, theirs_unknown = len(pairs.pairs), *pairs.unknown()
    found = _bounds(case, clusters, pairs)
    answer, reason = _judge(case, found, pairs, len(clusters))
    left = f"; {pairs.left_out} samples are left out, the baseline failed them" if pairs.left_out else ""
    result = made(
        case,
        answer,
        reason + left,
        estimate=_finite(found.estimate),
        lower=_finite(found.lower),
        upper=_finite(found.upper),
        samples=samples,
        clusters=len(clusters),
        missing_candidate=ours_unknown,
        missing_baseline=theirs_unknown,
        candidate_score=_finite(found.candidate),
        baseline_score=_finite(found.baseline),
    )
    return Found(result)


def _both(case: Case) -> list[tuple[Unit, Unit]]:
    ours, theirs = case.candidate.units, case.baseline.units if case.baseline is not None else {}
    return [(ours[unit.id], theirs[unit.id]) for unit in case.units() if unit.id in ours and unit.id in theirs]


def _unusable(case: Case, pairs: Pairs) -> str | None:
    """Why these answers are no evidence of what answers take."""
    quantity = case.condition.metric
    answers = sum(len(pair.candidate) for pair in pairs.pairs)
    if len(pairs.pairs) + pairs.left_out != len(case.units()):
        return "the runs hold different samples"
    if pairs.cached:
        return f"{pairs.cached} answers come out of a cache, and say nothing of {quantity}: run without --cache"
    if not pairs.pairs:
        return "the baseline failed every sample: there is nothing to compare with"
    if answers in pairs.unknown():
        return f"no answer carries what {quantity} is made of: a gateway with prices puts costs on its answers"
    at_once = {run.log.manifest.concurrency for run in (case.candidate, case.baseline) if run is not None} - {None}
    if quantity.startswith("latency") and len(at_once) > 1:
        listed = " and ".join(str(number) for number in sorted(at_once, key=str))
        return f"the runs had {listed} requests under way at a time, and a latency depends on it: run both alike"
    return None


def _clusters(pairs: Pairs) -> list[list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs.pairs:
        found.setdefault(pair.cluster, []).append(pair)
    return [found[key] for key in sorted(found)]


def _bounds(case: Case, clusters: Sequence[Sequence[Pair]], pairs: Pairs) -> Ratio:
    """The worst ratio and its upper bound, with the lower bound of the best one."""
    level, alpha = LEVELS.get(case.condition.metric), case.gate.design.alpha
    ours, theirs = ([[t for pair in cluster for t in side(pair)] for cluster in clusters] for side in (_ours, _theirs))
    lacking = pairs.unknown() != (0, 0)
    if level is not None:
        worst = ratios.of_quantiles(_filled(ours, FAILED), _filled(theirs, 0.0), level, alpha=alpha)
        best = (
            ratios.of_quantiles(_filled(ours, 0.0), _filled(theirs, FAILED), level, alpha=alpha) if lacking else worst
        )
        return Ratio(worst.estimate, best.lower, worst.upper, worst.candidate, worst.baseline)
    if pairs.unknown()[0] or pairs.failed():
        return Ratio(None, None, None, None, None)
    found = ratios.of_means(_summed(ours), _summed(theirs), alpha=alpha)
    lower = None if lacking else found.lower
    return Ratio(found.estimate, lower, found.upper, found.candidate, found.baseline, found.same)


def _ours(pair: Pair) -> tuple[Taken, ...]:
    return pair.candidate


def _theirs(pair: Pair) -> tuple[Taken, ...]:
    return pair.baseline


def _filled(side: Sequence[Sequence[Taken]], unknown: float) -> list[list[float]]:
    return [[unknown if taken.value is None else taken.value for taken in cluster] for cluster in side]


def _summed(side: Sequence[Sequence[Taken]]) -> list[tuple[float, float]]:
    """Sums, an unknown value as nothing, and how many answers count."""
    return [(sum(taken.value or 0.0 for taken in c), float(sum(taken.ok for taken in c))) for c in side]


def _judge(case: Case, found: Ratio, pairs: Pairs, clusters: int) -> tuple[Answer, str]:
    condition, most = case.condition, case.condition.max_ratio or 0.0
    if few := too_few(case, len(pairs.pairs), clusters):
        return "inconclusive", few
    level = LEVELS.get(condition.metric)
    if level is not None and clusters < (least := ratios.least_clusters(level, case.gate.design.alpha)):
        return "inconclusive", f"{clusters} clusters: a bound on {condition.metric} takes at least {least}"
    if found.estimate is None and (lost := _lost(case, pairs)):
        return "inconclusive", lost
    if found.baseline in (0.0, inf):
        nothing = "0" if found.baseline == 0.0 else "infinite, none of its answers passes"
        return "inconclusive", f"the baseline's {condition.metric} is {nothing}: there is no ratio to it"
    figures = f"{_short(found.candidate)} against {_short(found.baseline)}"
    if found.upper is not None and found.upper <= most:
        same = "; every cluster has the same ratio" if found.same else ""
        return "pass", f"{figures}: the upper bound {found.upper:.4f} is at most {most:g}{same}"
    if found.lower is not None and found.lower > most:
        return "fail", f"{figures}: the lower bound {_short(found.lower)} is above {most:g}: proven worse"
    bounds = f"{most:g} lies between the bounds {_short(found.lower)} and {_short(found.upper)}"
    return "inconclusive", f"{figures}: {bounds}; more samples, or a steadier machine, would tell"


def _lost(case: Case, pairs: Pairs) -> str | None:
    """Why a mean is unknown: figures that are missing, answers that never came."""
    unknown, failed = pairs.unknown()[0], pairs.failed()
    if case.condition.metric in LEVELS or not unknown + failed:
        return None
    parts = [f"{unknown} answers carry no figure"] if unknown else []
    parts += [f"{failed} answers never came"] if failed else []
    lost = " and ".join(parts)
    return f"{lost}, and a mean has no worst value for them: run again with the same --out, or gate a quantile"


def _short(value: float | None) -> str:
    return "unknown" if value is None else "infinite" if value == inf else f"{value:.4g}"


def _finite(value: float | None) -> float | None:
    """A verdict is JSON, which has no infinity; the reason tells it."""
    return None if value == inf else value
