"""What a gate can show with a data set, before anything is run: power, the smallest margin, the samples it takes.

All metrics of a gate have to pass. Each may then be tested at alpha without a correction, for a bad release has to get
past the very test that it is bad at (intersection-union; Berger 1982, Technometrics 24(4), 295-300). The price is paid
by good releases: they have to be lucky in every metric at once, and the chance of that is less than any single power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals import stats
from evals.gate_config import GateConfig, MetricConfig

Shape = tuple[int, int, int]
"""Samples, clusters, size of the largest cluster."""
LEAST_SD = 1e-6
"""No noise at all, as far as a plan can tell; with less of it, nothing would be divided by."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What a pilot showed of one metric: sd of a sample's value (for `noninferior` of its difference), the design
    effect (>= 1), and the mean score of the candidate."""

    sd: float
    design_effect: float
    mean: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a data set of this shape can show.

    `power` is at a true difference of 0, or at the mean that the gate expects. `detectable` is the smallest margin with
    the power asked for; of an absolute test, the highest floor. `samples_needed` is what the declared margin or floor
    needs (None: no number suffices). `alone` is the power if every sample were a cluster of its own.
    """

    samples: int
    clusters: int
    largest: int
    power: float
    detectable: float | None
    samples_needed: int | None
    alone: float | None = None


def plan(gate: GateConfig, metric: MetricConfig, shape: Shape, noise: Noise | None = None) -> Plan | None:
    """The plan of one metric; None when nothing is known of its noise or its truth. The gate's own words come first."""
    if metric.margin is not None:
        sd = metric.planned_sd or (noise.sd if noise else None)
        return None if sd is None else _plan(gate, metric, shape, noise, (sd, metric.margin, 1.0))
    if metric.at_least is not None:
        return _floor(gate, metric, metric.at_least, shape, noise)
    return None


def _floor(gate: GateConfig, metric: MetricConfig, floor: float, shape: Shape, noise: Noise | None) -> Plan | None:
    """An absolute test at the mean that is expected. Without a planned sd it is the largest that scores with this mean
    can have, that of a score which is 0 or 1."""
    mean = metric.expected if metric.expected is not None else noise.mean if noise else None
    if mean is None:
        return None
    sd = metric.planned_sd or (noise.sd if noise and metric.expected is None else math.sqrt(mean * (1 - mean)))
    found = _plan(gate, metric, shape, noise, (sd, mean - floor, mean))
    highest = None if found.detectable is None or found.detectable > mean else mean - found.detectable
    return Plan(found.samples, found.clusters, found.largest, found.power, highest, found.samples_needed, found.alone)


def _plan(
    gate: GateConfig, metric: MetricConfig, shape: Shape, noise: Noise | None, test: tuple[float, float, float]
) -> Plan:
    """`test` is (sd, room between truth and bar, distance from the truth to the worst value)."""
    samples, clusters, largest = shape
    if samples < 2 or clusters < 2:
        return Plan(samples, clusters, largest, 0.0, None, None)
    sd, room, depth = test
    effect = metric.planned_design_effect
    if metric.planned_sd is None and noise is not None:
        effect = max(effect, noise.design_effect)
    sd = max(sd, LEAST_SD)
    design = stats.Design(samples, clusters, largest, sd, effect, gate.design.alpha, depth)
    alone = stats.Design(samples, samples, 1, sd, 1.0, gate.design.alpha, depth)
    wanted = gate.design.power
    return Plan(
        samples,
        clusters,
        largest,
        stats.power(design, room) if room > 0 else 0.0,
        stats.detectable(design, wanted),
        stats.samples_needed(design, room, wanted),
        stats.power(alone, room) if clusters < samples and room > 0 else None,
    )


def underpowered(gate: GateConfig, planned: Plan) -> str:
    """Why a plan is refused, and what would do: more samples, a wider margin, or samples that stand alone."""
    advice = (
        f"{planned.samples_needed} samples are needed" if planned.samples_needed else "no number of samples would do"
    )
    ways = [f"{advice} for this margin"]
    if planned.detectable is not None:
        ways.append(f"these samples would do for {planned.detectable:.4f}")
    if planned.alone is not None and planned.alone >= gate.design.power:
        ways.append(f"as many samples without clusters would have the power {planned.alone:.2f}")
    return (
        f"planned power is {planned.power:.2f} with {planned.samples} samples in {planned.clusters} clusters, the gate "
        f"asks for {gate.design.power:g}: {'; '.join(ways)}"
    )


@dataclass(frozen=True, slots=True)
class Joint:
    """The chance that a release as good as its baseline passes every metric, from what is known of each alone.

    `least` and `most` are Frechet's bounds, which hold however the metrics hang together; `independent` is the product,
    `correlated` takes the correlations of a pilot (None without one). `of` is how many metrics have a plan.
    """

    least: float
    independent: float
    most: float
    of: int
    correlated: float | None = None


def joint(powers: Sequence[float]) -> Joint | None:
    """The bounds and the product of the metrics' powers; None where no metric has a plan."""
    if not powers:
        return None
    lost = math.fsum(1 - power for power in powers)
    return Joint(max(0.0, 1 - lost), math.prod(powers), min(powers), len(powers))


@dataclass(frozen=True, slots=True)
class Failures:
    """What a count of failures can show.

    `bound` is the failure rate that `allowed` failures among `samples` still exclude at confidence 1 - alpha (Clopper
    and Pearson; about 3 / n for none). `tolerated` is the true rate at which the test is passed with the power asked
    for. `power` is the probability to pass at the rate that is expected, None where none is.
    """

    samples: int
    allowed: int
    bound: float
    tolerated: float
    power: float | None


def failures(gate: GateConfig, allowed: int, samples: int, rate: float | None, clusters: int | None = None) -> Failures:
    """The plan of a test that counts failures. No samples: the bound is 1, the power 0.

    The bound takes clusters (of about one size) as units, each failure in another one; the powers are those of
    independent failures.
    """
    if samples < 1:
        return Failures(samples, allowed, 1.0, 0.0, 0.0)
    units, failed = clusters or samples, min(allowed, samples)
    outcomes = [
        stats.Cluster(len(range(unit, failed, units)), len(range(unit, samples, units))) for unit in range(units)
    ]
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        good = stats.at_most(allowed, samples, middle) >= gate.design.power
        low, high = (middle, high) if good else (low, middle)
    return Failures(
        samples,
        allowed,
        stats.upper_bound(outcomes, best=1.0, alpha=gate.design.alpha),
        low,
        None if rate is None else stats.at_most(allowed, samples, rate),
    )
