"""What a pilot shows about a gate's noise, before the gate is run: standard deviations, design effects, correlations.

A pilot is a run of the suite, of two arms or beside a second run. It decides nothing, so it may be partial.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import yaml

from evals import compare, stats
from evals.evidence import Evidence, Unit
from evals.gate_config import GateConfig, MetricConfig
from evals.gate_plan import Key
from evals.numerics import numpy
from evals.planning import Noise

DRAWS = 100_000
"""Of the joint chance: its standard error is at most 0.0016."""
_FEW = 30
"""With fewer clusters than this the pilot's own standard deviation is off by an eighth or more."""
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Pilot:
    """`noises` by condition, `lines` of YAML for the gate's `metrics`, `notes` for people, `residuals` by condition: of
    each cluster (in one order for all) its sum less what the mean would make of it."""

    noises: Mapping[Key, Noise]
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    residuals: Mapping[Key, Sequence[float]]


def measure(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> Pilot:
    """Measure what a gate has to plan with. Never raises: what the pilot does not show is in the notes."""
    noises: dict[Key, Noise] = {}
    residuals: dict[Key, Sequence[float]] = {}
    lines, notes = [], [*_about(gate, candidate, baseline)]
    tags = {tag for unit in candidate.units.values() for tag in unit.tags}
    slices = [metric for _, metric in gate.sliced(tags)]
    for metric in (*gate.named(), *slices):
        key, found = (metric.label, metric.test), _spread(metric, candidate, baseline)
        if isinstance(found, str):
            notes.append(f"{metric.label}: {found}")
            continue
        noises[key] = found
        residuals[key] = _residuals(metric, candidate, baseline)
        if metric not in slices:
            lines.append(_line(metric, found))
    return Pilot(noises, tuple(lines), tuple(notes), residuals)


def _about(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> list[str]:
    notes = []
    if candidate.log.manifest.dataset_sha256 != gate.dataset_sha256:
        notes.append("the pilot is of another data set than the gate's: its noise may be another")
    clusters = len({unit.cluster for unit in candidate.units.values()})
    if clusters < _FEW:
        notes.append(f"the pilot has {clusters} clusters: its noise is itself a rough guess, plan with more of it")
    if baseline is not None and baseline.release_digest == candidate.release_digest is not None:
        notes.append(
            "both sides of the pilot are one release: a changed release flips more answers than sampling alone does"
        )
    return notes


def _spread(metric: MetricConfig, candidate: Evidence, baseline: Evidence | None) -> Noise | str:
    """The noise of one condition, or why the pilot does not show it."""
    if metric.test not in ("noninferior", "absolute"):
        return f"a pilot's noise is of no use to the test {metric.test!r}"
    if metric.metric not in candidate.log.manifest.metrics():
        return f"the pilot has no such metric; it has {', '.join(candidate.log.manifest.metrics())}"
    if metric.test == "noninferior":
        if baseline is None:
            return "the pilot has one arm, and a margin needs two: give --pilot-baseline"
        found = compare.paired(candidate, baseline, metric.metric, alpha=0.05, tag=metric.tag)
    else:
        found = compare.absolute(candidate, metric.metric, alpha=0.05, tag=metric.tag)
    if found is None:
        return f"no sample of the pilot has the tag {metric.tag!r}"
    if found.spread is None:
        return "all values of the pilot are equal, which shows no noise: take a larger pilot, or another release"
    return Noise(found.spread.sd, found.spread.design_effect, found.candidate_score)


def _residuals(metric: MetricConfig, candidate: Evidence, baseline: Evidence | None) -> list[float]:
    values = [
        _value(metric, unit, baseline) if metric.tag is None or metric.tag in unit.tags else None
        for unit in candidate.units.values()
    ]
    known = [value for value in values if value is not None]
    centre = math.fsum(known) / len(known)
    keys = [unit.cluster for unit in candidate.units.values()]
    off = [0.0 if value is None else value - centre for value in values]
    return [cluster.total for cluster in stats.grouped(keys, off)]


def _value(metric: MetricConfig, unit: Unit, baseline: Evidence | None) -> float:
    ours = unit.score(metric.metric, "candidate")[0]
    if metric.test != "noninferior" or baseline is None:
        return ours
    theirs = baseline.units.get(unit.id)
    return ours - (theirs.score(metric.metric, "baseline")[1] if theirs else 1.0)


def _line(metric: MetricConfig, noise: Noise) -> str:
    """A condition as YAML: all that the gate says of it, with the pilot's figures rounded to the careful side."""
    said = metric.model_dump(mode="json", exclude_defaults=True)
    if metric.test == "absolute":
        said["expected"] = math.floor(noise.mean * 1000) / 1000
    said["planned_sd"] = min(1.0, math.ceil(noise.sd * 1000) / 1000)
    said["planned_design_effect"] = max(1.0, math.ceil(noise.design_effect * 100) / 100)
    flow = yaml.safe_dump(said, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return f"- {flow.rstrip()}"


def chance(powers: Mapping[Key, float], pilot: Pilot, rng: Any) -> float | None:
    """The chance to pass every condition at once, when their estimates hang together as the pilot's do.

    A Gaussian copula: normal variables with the pilot's correlations (over clusters), each of which is below its
    threshold with the power that was planned. `rng` is a numpy Generator. None where the pilot lacks a condition.
    """
    keys = list(powers)
    if not keys or any(key not in pilot.residuals for key in keys):
        return None
    np = numpy()
    rows = np.array([pilot.residuals[key] for key in keys])
    lengths = np.sqrt((rows**2).sum(axis=1))
    rows = rows / np.maximum(lengths, _LEAST)[:, None]
    correlation = rows @ rows.T
    np.fill_diagonal(correlation, 1.0)
    draws = rng.multivariate_normal(np.zeros(len(keys)), correlation, size=DRAWS, method="eigh")
    normal = NormalDist()
    bars = [normal.inv_cdf(min(1 - 1e-12, max(1e-12, powers[key]))) for key in keys]
    return float((draws <= np.array(bars)).all(axis=1).mean())
