"""What every test of a condition takes and gives: one signature, `test(case) -> Found`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from evals.compare import shape
from evals.decision import Flips
from evals.evidence import UNKNOWN, Evidence, Interval, Unit
from evals.gate_config import GateConfig, MetricConfig
from gateway.contracts.verdict import Answer, MetricResult


@dataclass(frozen=True, slots=True)
class Case:
    """One condition of a gate, and the runs to test it on. `baseline` is None where no condition compares with one."""

    gate: GateConfig
    condition: MetricConfig
    candidate: Evidence
    baseline: Evidence | None

    def units(self) -> list[Unit]:
        """The samples that the condition is about, by id; of both runs."""
        everyone = {**(self.baseline.units if self.baseline else {}), **self.candidate.units}
        tag = self.condition.tag
        return [everyone[key] for key in sorted(everyone) if tag is None or tag in everyone[key].tags]

    def score(self, unit: Unit) -> Interval:
        """The candidate's score of a sample."""
        found = self.candidate.units.get(unit.id)
        return found.score(self.condition.metric, "candidate") if found else UNKNOWN

    def shape(self) -> tuple[int, int, int]:
        """(samples, clusters, size of the largest) of what the condition is about."""
        return shape(unit.cluster for unit in self.units())


@dataclass(frozen=True, slots=True)
class Found:
    """What a test says, and what else it saw: samples whose score changed, and notes."""

    result: MetricResult
    flips: Flips | None = None
    notes: tuple[str, ...] = ()


Tester = Callable[[Case], Found]


def made(case: Case, answer: Answer, reason: str, **figures: Any) -> MetricResult:
    """A result with what the condition itself says; `figures` are the other fields of `MetricResult`."""
    condition = case.condition
    said = {
        "metric": condition.label,
        "test": condition.test,
        "verdict": answer,
        "reason": reason,
        "owner": condition.owner,
        "tier": condition.tier,
        "margin": condition.margin,
        "at_least": condition.at_least,
        "max_ratio": condition.max_ratio,
        "max_failures": condition.max_regressed if condition.test == "golden" else condition.max_failures,
        "alpha": case.gate.design.alpha,
        "samples": 0,
        "clusters": 0,
    }
    return MetricResult.model_validate(said | figures)


def untestable(case: Case) -> Found | None:
    """An invalid result where the run cannot know: a score that it does not have, a tag that no sample has."""
    condition, known = case.condition, case.candidate.log.manifest.metrics()
    if condition.score is not None and condition.score not in known:
        which = f" {condition.of!r}" if condition.of else ""
        return Found(made(case, "invalid", f"the run has no such metric{which}; it has {', '.join(known)}"))
    if not case.units():
        return Found(made(case, "invalid", f"no sample has the tag {condition.tag!r}"))
    if condition.compares and case.baseline is None:
        return Found(made(case, "invalid", "there is no baseline to compare with"))
    return None


def too_few(case: Case, samples: int, clusters: int) -> str | None:
    """Why so little evidence decides nothing; None where it is enough."""
    least = case.condition.n_min
    if least is not None and samples < least:
        return f"{samples} samples, the condition asks for {least}: add samples"
    if clusters < case.gate.min_clusters:
        return f"{clusters} clusters, the gate asks for {case.gate.min_clusters}: add independent samples"
    return None


def some(ids: Iterable[str], most: int = 10) -> str:
    """Ids in a sentence, not too many of them."""
    listed = list(ids)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
