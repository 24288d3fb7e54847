"""Slices: non-inferiority on the samples of every tag, each slice on its own evidence.

**Passing** needs no correction for the number of slices. A release passes only when every slice passes, which is an
intersection-union test (Berger 1982): a release that is bad on one slice passes that slice with probability at most
alpha, and hence the gate. What it costs is power: with k slices each has to have enough, and the planned power of all
together is less than that of any.

**Failing** does need one. With twenty slices and nothing wrong, one of them looks worse at 5 % more often than not. So
a slice is `fail` only where it is still proven worse after Holm's correction (1979) over all slices that were tested;
Holm's holds however the slices overlap. Worse on its own, but not after the correction, is `inconclusive`. It blocks
all the same and accuses nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from evals import compare
from evals.classical.multiple import adjusted
from evals.conditions import means
from evals.conditions.base import Case, Found, made, too_few, untestable
from evals.evidence import Evidence
from evals.gate_config import GateConfig, MetricConfig, SliceConfig
from evals.planning import plan, underpowered


@dataclass(frozen=True, slots=True)
class _Tested:
    case: Case
    found: Found
    p_worse: float | None = None


def test(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> tuple[list[Found], list[str]]:
    """The result of every slice, and what is only told."""
    tags = [tag for run in (candidate, baseline) if run is not None for unit in run.units.values() for tag in unit.tags]
    found = [_unknown(Case(gate, condition, candidate, baseline)) for condition in _unmatched(gate, tags)]
    tested, notes = list[_Tested](), list[str]()
    for entry, condition in gate.sliced(tags):
        case = Case(gate, condition, candidate, baseline)
        small = None if untestable(case) else _too_small(case)
        if small is None:
            tested.append(_Tested(case, means.test(case), _p_worse(case)))
        elif entry.else_ == "note":
            notes.append(f"slice {condition.label} was not tested: {small}")
        else:
            figures = means.shown(means.measured(case), plan(gate, condition, case.shape()), None)
            tested.append(_Tested(case, Found(made(case, "inconclusive", small, **figures))))
    return [*found, *_corrected(tested)], notes


def _unmatched(gate: GateConfig, tags: list[str]) -> Iterator[MetricConfig]:
    """A condition for every entry that no tag answers to: a slip of the pen would be a slice that always passes."""
    for entry in gate.slices:
        for tag in entry.matching(tags)[1]:
            for name in entry.metrics:
                yield _written(entry, name, tag)


def _written(entry: SliceConfig, name: str, tag: str) -> MetricConfig:
    return MetricConfig(
        metric=name, owner=entry.owner, tier=entry.tier, tag=tag, test="noninferior", margin=entry.margin
    )


def _unknown(case: Case) -> Found:
    tag = case.condition.tag
    what = (
        f"no sample has a tag that begins with {tag[:-1]!r}"
        if tag and tag.endswith("*")
        else f"no sample has the tag {tag!r}"
    )
    return Found(made(case, "invalid", f"{what}: mend the name, or take it out of `slices`"))


def _too_small(case: Case) -> str | None:
    """Why a slice is no evidence of its own."""
    samples, clusters, _ = case.shape()
    if few := too_few(case, samples, clusters):
        return few
    planned = plan(case.gate, case.condition, case.shape())
    return underpowered(case.gate, planned) if planned and planned.power < case.gate.design.power else None


def _p_worse(case: Case) -> float | None:
    if case.baseline is None or untestable(case):
        return None
    return compare.p_not_worse(case.candidate, case.baseline, case.condition.metric, case.condition.tag)


def _corrected(tested: list[_Tested]) -> Iterator[Found]:
    """The same, with `fail` only where it stands after the correction."""
    if all(one.found.result.verdict != "fail" for one in tested):
        yield from (one.found for one in tested)  # nothing to correct, and statsmodels takes a second to load
        return
    p_values = adjusted([one.p_worse for one in tested])
    count = sum(p is not None for p in p_values)
    for one, p in zip(tested, p_values, strict=True):
        result = one.found.result
        if result.verdict != "fail" or p is None:
            yield one.found
            continue
        holm = f"Holm over {count} slices: p = {p:.2g}"
        if p <= one.case.gate.design.alpha:
            yield Found(result.model_copy(update={"reason": f"{result.reason} ({holm})"}), one.found.flips)
        else:
            reason = f"it looks worse on its own (p = {one.p_worse:.2g}), and is not proven among so many ({holm})"
            yield Found(result.model_copy(update={"verdict": "inconclusive", "reason": reason}), one.found.flips)
