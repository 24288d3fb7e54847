"""Evidence drawn anew from a run of A against A, and regressions of a known size planted in it.

Clusters are drawn with replacement, as many as there are, and for each of them a coin decides which arm plays the
candidate. Where both arms are one release they are exchangeable, so that the true difference is exactly 0, whatever the
two runs happened to show; and a draw differs from the next as one data set of this kind does from another.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from evals.evidence import Evidence, Unit
from evals.gate_config import GateConfig, MetricConfig
from evals.lines import Record
from evals.schema import Score
from gateway.contracts import canonical
from gateway.contracts.errors import InputError

Pair = tuple[Unit, Unit | None]
"""A sample in both arms; the second is None where the gate compares with no baseline."""
_LEFT_OUT = ("golden", "waivers")
PLANTED = Score(0.0, "a regression planted by the self-test")


@dataclass(frozen=True, slots=True)
class Source:
    """What evidence is drawn from: the samples by cluster, and the runs that give draws everything but samples."""

    clusters: tuple[tuple[Pair, ...], ...]
    candidate: Evidence
    baseline: Evidence | None

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(map(len, self.clusters))


def halves(run: Evidence) -> tuple[Evidence, Evidence]:
    """Two arms out of one run: the first half of its epochs and the second one, an odd last one left out.

    Raises InputError for a run of one epoch.
    """
    half = run.log.manifest.epochs // 2
    if half == 0:
        raise InputError(
            f"{str(run.log.path)!r} asked every sample once: two arms of one release are needed: give a second run "
            "with --baseline, or run with --epochs 2"
        )
    return _part(run, 0, half), _part(run, half, half)


def _part(run: Evidence, first: int, count: int) -> Evidence:
    def of(unit: Unit) -> Unit:
        return replace(unit, records=tuple(r for r in unit.records if first <= r.epoch < first + count), epochs=count)

    manifest = msgspec.structs.replace(run.log.manifest, epochs=count)
    log = replace(run.log, manifest=manifest, digest=canonical.digest([run.log.digest, first]))
    return replace(run, log=log, units={key: of(unit) for key, unit in run.units.items()})


def source(candidate: Evidence, baseline: Evidence | None) -> Source:
    """Pair two runs. Raises InputError when they do not hold the same samples."""
    if baseline is not None and (apart := candidate.units.keys() ^ baseline.units.keys()):
        raise InputError(f"{len(apart)} samples are in one of the runs only, such as {min(apart)!r}: run both again")
    found: dict[str, list[Pair]] = {}
    for key in sorted(candidate.units):
        unit = candidate.units[key]
        found.setdefault(unit.cluster, []).append((unit, baseline.units[key] if baseline is not None else None))
    return Source(tuple(tuple(found[key]) for key in sorted(found)), candidate, baseline)


def draw(origin: Source, rng: random.Random) -> tuple[Evidence, Evidence | None]:
    """Candidate and baseline of one repetition, of the shape of the real ones."""
    ours: dict[str, Unit] = {}
    theirs: dict[str, Unit] = {}
    for number in range(len(origin.clusters)):
        cluster = origin.clusters[rng.randrange(len(origin.clusters))]
        swapped = rng.random() < 0.5
        for one, other in cluster:
            first, second = (other, one) if swapped and other is not None else (one, other)
            name, key = f"{one.id} #{number}", f"{one.cluster} #{number}"
            ours[name] = Unit(name, key, one.tags, first.records, first.epochs)
            if second is not None:
                theirs[name] = Unit(name, key, one.tags, second.records, second.epochs)
    baseline = None if origin.baseline is None else _with(origin.baseline, theirs, "drawn baseline")
    return _with(origin.candidate, ours, "drawn candidate"), baseline


def _with(run: Evidence, units: Mapping[str, Unit], what: str) -> Evidence:
    manifest = msgspec.structs.replace(run.log.manifest, samples=len(units))
    return replace(run, log=replace(run.log, manifest=manifest, digest=canonical.digest(what)), units=dict(units))


def planned_drop(metric: MetricConfig, level: float) -> float | None:
    """How much the mean has to fall from `level` to the edge of what the condition allows: its margin, or to its floor.

    None for a condition of another kind, and where the level lies below the edge.
    """
    drop = metric.margin if metric.test == "noninferior" else None
    if metric.test == "absolute" and metric.at_least is not None:
        drop = level - metric.at_least
    return drop if drop is not None and 0.0 < drop <= level else None


def level(origin: Source, metric: MetricConfig) -> float | None:
    """The mean score of both arms together, of what is known; None when no sample has the condition's tag."""
    found = [
        unit.score(metric.metric, "candidate")[0]
        for cluster in origin.clusters
        for pair in cluster
        for unit in pair
        if unit is not None and tagged(unit, metric)
    ]
    return sum(found) / len(found) if found else None


def tagged(unit: Unit, metric: MetricConfig) -> bool:
    """Whether a condition is about a sample."""
    return metric.tag is None or metric.tag in unit.tags


def spoiled(candidate: Evidence, metric: MetricConfig, share: float, rng: random.Random) -> Evidence:
    """The candidate with a random share of its samples scoring 0: its mean falls by `share` of itself."""
    units = {
        key: _zero(unit, metric.metric) if tagged(unit, metric) and rng.random() < share else unit
        for key, unit in candidate.units.items()
    }
    return replace(candidate, units=units)


def _zero(unit: Unit, metric: str) -> Unit:
    def of(record: Record) -> Record:
        if metric not in record.scores:
            return record
        return msgspec.structs.replace(record, scores={**record.scores, metric: PLANTED})

    return replace(unit, records=tuple(map(of, unit.records)))


def statistical(gate: GateConfig) -> tuple[GateConfig, tuple[str, ...]]:
    """The gate without what is not about chance, and the names of what was left out.

    A golden sample that is drawn twice or not at all is no golden sample, and a waiver is somebody's word.
    """
    gone = tuple(name for name in _LEFT_OUT if getattr(gate, name, ()))
    return gate.model_copy(update=dict.fromkeys(gone, ())), gone


def alone(gate: GateConfig, metric: MetricConfig) -> GateConfig:
    """The gate with one condition: what it says of a regression planted for it, without the work of the others."""
    rest = {"slices": ()} if "slices" in type(gate).model_fields else {}
    return gate.model_copy(update={"metrics": (metric,), **rest})
