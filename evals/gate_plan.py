"""The plan of a whole gate: every condition on its samples, what is refused, and the joint chance to pass.

A condition is refused when no result of a run could make it pass reliably: its samples are too few for its margin, too
few to count at all, or not there. One whose noise nobody declared or measured is not refused, and is said to be blind.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from evals.compare import shape
from evals.dataset import Dataset
from evals.gate_config import GateConfig, MetricConfig
from evals.planning import Failures, Joint, Noise, Plan, Shape, failures, joint, plan, underpowered
from evals.schema import cluster_key

Key = tuple[str, str]
"""A condition: label of the metric, and test."""
_MOST_TAGS = 12
_MEANS = ("noninferior", "absolute")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, planned. `power` is None where it is not known; `refused` says why, and what would do."""

    metric: str
    test: str
    owner: str
    tier: str
    asks: str
    samples: int
    clusters: int
    largest: int
    power: float | None = None
    detectable: float | None = None
    samples_needed: int | None = None
    failures: Failures | None = None
    refused: str | None = None
    note: str = ""

    @property
    def key(self) -> Key:
        """Its label and its test."""
        return self.metric, self.test


@dataclass(frozen=True, slots=True)
class GatePlan:
    """All conditions of a gate, and the joint chance of those that have a plan.

    `chances` are those of single conditions to let a good release through; `unknown` are slices that no sample is in.
    """

    conditions: tuple[Condition, ...]
    chances: Mapping[Key, float]
    joint: Joint | None
    unknown: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """Why the gate is refused; empty when it is not."""
        return (*(f"{each.metric}: {each.refused}" for each in self.conditions if each.refused), *self.unknown)

    def correlated(self, chance: float | None) -> "GatePlan":
        """The same with the joint chance that a pilot's correlations give, drawn at random: never beyond the bounds."""
        if self.joint is None:
            return self
        inside = None if chance is None else min(self.joint.most, max(self.joint.least, chance))
        return replace(self, joint=replace(self.joint, correlated=inside))


def of_dataset(gate: GateConfig, data: Dataset, noises: Mapping[Key, Noise] | None = None) -> GatePlan:
    """Plan every condition of a gate on a data set, its slices and golden samples too. `noises` are a pilot's."""
    tags = sorted({tag for sample in data.samples for tag in sample.tags})
    conditions = [_planned(gate, metric, data, noises or {}) for metric in gate.named()]
    for entry, metric in gate.sliced(tags):
        condition = _planned(gate, metric, data, noises or {})
        if condition.refused and (entry.else_ == "note" or entry.tier != "critical"):
            condition = replace(condition, power=None, refused=None, note=f"only told: {condition.refused}")
        conditions.append(condition)
    unknown = [f"slices: no sample has a tag {tag!r}" for each in gate.slices for tag in each.matching(tags)[1]]
    counted = {each.key: _chance(gate, each) for each in conditions}
    chances = {key: chance for key, chance in counted.items() if chance is not None}
    return GatePlan(tuple(conditions), chances, joint(list(chances.values())), tuple(unknown))


def _planned(gate: GateConfig, metric: MetricConfig, data: Dataset, noises: Mapping[Key, Noise]) -> Condition:
    found = shape(cluster_key(sample.id, sample.cluster) for sample in data.tagged(metric.tag))
    condition = _KINDS[metric.test](gate, metric, found, noises.get((metric.label, metric.test)))
    if not found[0]:
        return replace(condition, power=0.0, refused=_nowhere(metric.tag, data))
    few = "; ".join(_few(gate, metric, condition))
    return _weak(metric, replace(condition, power=0.0), few) if few else condition


def _few(gate: GateConfig, metric: MetricConfig, condition: Condition) -> Iterator[str]:
    """Why there is too little to test: every result is inconclusive then."""
    if metric.n_min is not None and condition.samples < metric.n_min:
        yield f"{condition.samples} samples, and n_min is {metric.n_min}: add samples"
    if metric.test in _MEANS and condition.clusters < gate.min_clusters:
        yield (
            f"{condition.clusters} clusters, the gate asks for {gate.min_clusters}: add independent samples, or test "
            "less finely"
        )


def _weak(metric: MetricConfig, condition: Condition, reason: str) -> Condition:
    """A condition whose every result would be inconclusive: refused where that blocks, told where it does not."""
    if metric.tier == "critical":
        return replace(condition, refused="; ".join(filter(None, (reason, condition.refused))))
    return replace(condition, note=f"{metric.tier}, so it blocks nothing: {reason}")


def _chance(gate: GateConfig, condition: Condition) -> float | None:
    """The chance that a condition lets a good release through; None where it is not known, or decides nothing.

    A supporting one stops only what is proven worse, which no more than alpha of good releases are.
    """
    if condition.tier == "advisory" or condition.power is None:
        return None
    return max(condition.power, 1 - gate.design.alpha) if condition.tier == "supporting" else condition.power


def _nowhere(tag: str | None, data: Dataset) -> str:
    if tag is None:
        return "the data set is empty"
    tags = sorted({each for sample in data.samples for each in sample.tags})
    listed = ", ".join(tags[:_MOST_TAGS]) + (" and more" if len(tags) > _MOST_TAGS else "")
    return f"no sample has the tag {tag!r}; the data set has {listed or 'no tags'}"


def _condition(metric: MetricConfig, asks: str, found: Shape) -> Condition:
    return Condition(metric.label, metric.test, metric.owner, metric.tier, asks, *found)


def _bounded(gate: GateConfig, condition: Condition, planned: Plan | None, blind: str) -> Condition:
    """A test of a mean: its plan, and whether it is refused. Without power the gate calls it invalid, in any tier."""
    if planned is None:
        return replace(condition, note=blind)
    return replace(
        condition,
        power=planned.power,
        detectable=planned.detectable,
        samples_needed=planned.samples_needed,
        refused=underpowered(gate, planned) if planned.power < gate.design.power else None,
    )


def _noninferior(gate: GateConfig, metric: MetricConfig, found: Shape, noise: Noise | None) -> Condition:
    condition = _condition(metric, f"not worse by {metric.margin:g}", found)
    blind = "no plan: its noise is unknown; measure it with --pilot and write planned_sd"
    return _warned(metric, noise, _bounded(gate, condition, plan(gate, metric, found, noise), blind))


def _absolute(gate: GateConfig, metric: MetricConfig, found: Shape, noise: Noise | None) -> Condition:
    condition = _condition(metric, f"mean >= {metric.at_least:g}", found)
    blind = "no plan: nobody says what mean to expect; write expected, or give --pilot"
    return _warned(metric, noise, _bounded(gate, condition, plan(gate, metric, found, noise), blind))


def _warned(metric: MetricConfig, noise: Noise | None, condition: Condition) -> Condition:
    """A pilot that contradicts the plan is told; the gate's own words are what was planned."""
    if noise is None or metric.planned_sd is None:
        return condition
    declared = metric.planned_sd**2 * metric.planned_design_effect
    shown = noise.sd**2 * max(1.0, noise.design_effect)
    if shown <= declared * 1.1:
        return condition
    return replace(condition, note=f"the pilot is noisier than planned: its variance is {shown / declared:.2f} times")


def _max_failures(gate: GateConfig, metric: MetricConfig, found: Shape, noise: Noise | None) -> Condition:
    allowed = metric.max_failures or 0
    condition = _condition(metric, f"failures <= {allowed}", found)
    rate = None if metric.expected is None else 1 - metric.expected
    counted = failures(gate, allowed, condition.samples, rate, condition.clusters)
    blind = "no plan: nobody says what share passes; write expected" if rate is None else ""
    condition = replace(condition, failures=counted, power=counted.power, note=blind)
    if counted.power is None or counted.power >= gate.design.power:
        return condition
    weak = (
        f"a release that fails {rate:.4f} of the time passes with probability {counted.power:.2f}, the gate asks for "
        f"{gate.design.power:g}: allow more failures; {allowed} of {counted.samples} suit a true rate of "
        f"{counted.tolerated:.5f}"
    )
    return _weak(metric, condition, weak)


def _ratio(gate: GateConfig, metric: MetricConfig, found: Shape, noise: Noise | None) -> Condition:
    condition = _condition(metric, f"ratio <= {metric.max_ratio:g}", found)
    return replace(condition, note="no plan: how much the answers' time and cost vary is not known before they come")


def _golden(gate: GateConfig, metric: MetricConfig, found: Shape, noise: Noise | None) -> Condition:
    condition = _condition(metric, f"regressed <= {metric.max_regressed}", found)
    return replace(condition, note="no plan: one golden sample that wavers fails it; ask them at temperature 0")


_KINDS: dict[str, Callable[[GateConfig, MetricConfig, Shape, Noise | None], Condition]] = {
    "noninferior": _noninferior,
    "absolute": _absolute,
    "max_failures": _max_failures,
    "ratio": _ratio,
    "golden": _golden,
}
