"""What a gate can show with a data set, before anything is run: power, the smallest margin, the samples it takes."""

from dataclasses import dataclass

from evals import stats
from evals.gate_config import GateConfig, MetricConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """What a data set of this shape can show: power at a true difference of 0, the smallest margin with the power asked
    for, and the samples that the declared margin needs (None: no number suffices)."""

    samples: int
    clusters: int
    largest: int
    power: float
    detectable: float | None
    samples_needed: int | None


def plan(gate: GateConfig, metric: MetricConfig, shape: tuple[int, int, int]) -> Plan | None:
    """The plan of a non-inferiority metric on (samples, clusters, largest cluster); None when it declares no noise."""
    if metric.margin is None or metric.planned_sd is None:
        return None
    samples, clusters, largest = shape
    if samples < 2 or clusters < 2:
        return Plan(samples, clusters, largest, 0.0, None, None)
    design = stats.Design(
        samples, clusters, largest, metric.planned_sd, metric.planned_design_effect, gate.design.alpha
    )
    wanted = gate.design.power
    return Plan(
        samples,
        clusters,
        largest,
        stats.power(design, metric.margin),
        stats.detectable(design, wanted),
        stats.samples_needed(design, metric.margin, wanted),
    )


def underpowered(gate: GateConfig, planned: Plan) -> str:
    """Why a plan is refused, and what would do."""
    advice = (
        f"{planned.samples_needed} samples are needed" if planned.samples_needed else "no number of samples would do"
    )
    return (
        f"planned power is {planned.power:.2f} with {planned.samples} samples in {planned.clusters} clusters, the gate "
        f"asks for {gate.design.power:g}: {advice} for this margin"
    )
