"""Worlds in which the truth is known: two runs of a suite whose true difference is exactly `-drop`.

Each is as evaluations are: samples that depend on each other, few of them, nearly all of them tied, scores between 0
and 1, epochs, evidence that is missing where it hurts most.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evals.evidence import Evidence, Unit
from evals.gate_config import GateConfig, MetricConfig
from evals.lines import Manifest, Record
from evals.run_log import Log
from evals.schema import Answer, Failure, Score, cluster_key
from evals.stats import Cluster
from gateway.contracts import canonical

METRIC = "exact"
_DIGESTS = {arm: canonical.digest(f"simulated {arm}") for arm in ("candidate", "baseline", "suite", "data", "release")}
_ANSWER = Answer(text="x", finish_reason="stop", release="faq@2", release_digest=_DIGESTS["release"])
_MISSING = Failure("timeout", "no answer within 60 s")


@dataclass(frozen=True, slots=True)
class Draw:
    """Scores of both runs, (samples, epochs), NaN where evidence is missing; the cluster of each sample."""

    candidate: Any
    baseline: Any
    clusters: Any

    def evidence(self) -> tuple[Evidence, Evidence]:
        """As two logs would hold them: candidate, baseline."""
        return self._one("candidate", self.candidate), self._one("baseline", self.baseline)

    def clusters_of(self, *, best: bool = False) -> list[Cluster]:
        """Differences by cluster as the gate makes them of evidence: what is missing at its worst, or its best."""
        ours = np.nan_to_num(self.candidate, nan=float(best)).mean(axis=1)
        theirs = np.nan_to_num(self.baseline, nan=float(not best)).mean(axis=1)
        sums, sizes = np.bincount(self.clusters, ours - theirs), np.bincount(self.clusters)
        return [Cluster(total, size) for total, size in zip(sums.tolist(), sizes.tolist(), strict=True)]

    def _one(self, arm: str, scores: Any) -> Evidence:
        units = {}
        for number, (row, cluster) in enumerate(zip(scores.tolist(), self.clusters.tolist(), strict=True)):
            key = f"s{number:05}"
            records = tuple(_record(key, epoch, value) for epoch, value in enumerate(row))
            units[key] = Unit(key, cluster_key(key, f"c{cluster}"), (), records, len(row))
        manifest = Manifest(
            suite="simulated",
            suite_digest=_DIGESTS["suite"],
            dataset="simulated.jsonl",
            dataset_sha256=_DIGESTS["data"],
            samples=len(units),
            epochs=scores.shape[1],
            model="faq@2",
            params={},
            system=None,
            scorers=[{"name": METRIC}],
        )
        log = Log(Path(f"{arm}.jsonl"), manifest, (), True, _DIGESTS[arm], "", 0)
        return Evidence(log, units, (), "faq@2", _DIGESTS["release"], ())


def _record(key: str, epoch: int, value: float) -> Record:
    if value != value:
        return Record(id=key, digest="", epoch=epoch, outcome="harness_error", failure=_MISSING)
    return Record(id=key, digest="", epoch=epoch, outcome="scored", scores={METRIC: Score(value)}, answer=_ANSWER)


Drawn = Callable[[Any, float], Draw]
"""(numpy generator, drop) to two runs."""


@dataclass(frozen=True, slots=True)
class World:
    """`margin` is the gate's. `sd` and `design_effect` are the true ones of the difference at no drop, None where the
    plan of a gate makes no sense."""

    about: str
    draw: Drawn
    margin: float
    sd: float | None = None
    design_effect: float = 1.0

    def gate(self, **changed: Any) -> GateConfig:
        """A gate of one margin on this world."""
        metric = MetricConfig(
            metric=METRIC,
            test="noninferior",
            margin=self.margin,
            planned_sd=self.sd,
            planned_design_effect=self.design_effect,
        )
        values: dict[str, Any] = {
            "gate": "simulated",
            "suite": "simulated",
            "dataset_sha256": _DIGESTS["data"],
            "min_coverage": 0.9,
            "design": {"power": 0.5},
            "metrics": (metric,),
        }
        return GateConfig(**values | changed)


def _changes(rng: Any, sizes: Any, drop: float, changed: float, shared: float = 0.0) -> Draw:
    """0 and 1 that change between the runs with probability `changed`; clusters share a draw with odds `shared`.

    Two samples of a cluster then correlate by `shared` squared: the ICC.
    """
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    odds = [(changed + drop) / 2, (changed - drop) / 2, 1 - changed]
    moves = np.array([-1.0, 1.0, 0.0])
    own = rng.choice(moves, p=odds, size=clusters.size)
    together = rng.choice(moves, p=odds, size=len(sizes))[clusters]
    moved = np.where(rng.random(clusters.size) < shared, together, own)
    before = np.where(moved == 0.0, (rng.random(clusters.size) < 0.85).astype(float), (1.0 - moved) / 2)
    return Draw((before + moved)[:, None], before[:, None], clusters)


def _independent(samples: int, changed: float) -> Drawn:
    return lambda rng, drop: _changes(rng, np.ones(samples, dtype=int), drop, changed)


def _clustered(clusters: int, size: int, changed: float) -> Drawn:
    return lambda rng, drop: _changes(rng, np.full(clusters, size), drop, changed, 0.2**0.5)


def _uneven(rng: Any, drop: float) -> Draw:
    return _changes(rng, rng.choice([1, 2, 4, 25], p=[0.4, 0.3, 0.2, 0.1], size=80), drop, 0.3, 0.2**0.5)


def _rare(samples: int) -> Drawn:
    """Nearly every answer is the same in both runs, and what changes is worse; at no drop, as often better."""

    def draw(rng: Any, drop: float) -> Draw:
        return _changes(rng, np.ones(samples, dtype=int), drop, max(drop, 0.004))

    return draw


def _graded(rng: Any, drop: float) -> Draw:
    before = rng.uniform(0.45, 0.75, 120)
    after = before - drop + rng.uniform(-0.25, 0.25, 120)
    return Draw(after[:, None], before[:, None], np.arange(120))


def _skewed(rng: Any, drop: float) -> Draw:
    """Graded scores, most of them equal; a few answers lose nearly everything."""
    before = rng.uniform(0.9, 1.0, 150)
    lost = rng.random(150) < drop / 0.85
    return Draw((before - 0.85 * lost)[:, None], before[:, None], np.arange(150))


def _epochs(rng: Any, drop: float) -> Draw:
    odds = rng.uniform(0.3, 1.0, 150)[:, None]
    before = rng.random((150, 4)) < odds
    after = rng.random((150, 4)) < odds - drop
    return Draw(after.astype(float), before.astype(float), np.arange(150))


def _missing(rng: Any, drop: float) -> Draw:
    """One answer in fifty is missing: of the candidate where it was wrong, of the baseline where it was right."""
    whole = _changes(rng, np.ones(400, dtype=int), drop, 0.15)
    for scores, hidden in ((whole.candidate, 0.0), (whole.baseline, 1.0)):
        places = np.flatnonzero(scores[:, 0] == hidden)
        scores[rng.permutation(places)[:8], 0] = np.nan
    return whole


WORLDS: Mapping[str, World] = {
    "independent": World("300 samples, a tenth changes", _independent(300, 0.10), 0.06, 0.10**0.5),
    "clustered": World("60 clusters of 10, ICC 0.2", _clustered(60, 10, 0.2), 0.10, 0.2**0.5, 2.8),
    "uneven": World("80 clusters of 1 to 25, ICC 0.2", _uneven, 0.15),
    "small": World("30 samples", _independent(30, 0.25), 0.25),
    "too small": World("30 samples, a margin for 400", _independent(30, 0.10), 0.05),
    "few clusters": World("22 clusters of 6, ICC 0.2", _clustered(22, 6, 0.3), 0.20),
    "tied": World("60 samples, only the drop changes", _rare(60), 0.05),
    "tied, many": World("600 samples, only the drop changes", _rare(600), 0.01),
    "graded": World("120 scores between 0 and 1", _graded, 0.05, (0.5**2 / 12) ** 0.5),
    "skewed": World("150 scores, a few lose all", _skewed, 0.04),
    "epochs": World("150 samples, 4 epochs", _epochs, 0.08),
    "missing": World("400 samples, 2 % missing where it hurts", _missing, 0.08),
}
