"""Regressions planted in answers: some samples get what somebody else answered, and the real scorers judge it.

A share f of the samples gets other answers. Their mean score is p' where the model's own is p, so that the mean of the
whole falls by f (p - p'): with f = drop / (p - p') by the drop that was asked for, which is measured and not assumed.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from evals.dataset import Dataset
from evals.evidence import Evidence, Unit
from evals.gate_config import MetricConfig
from evals.lines import Record
from evals.runner import judged
from evals.schema import Score, outcome_of
from evals.scorers.base import Scorer, Services
from evals.selftest.drawing import tagged
from gateway.contracts.errors import InputError

Replacements = Mapping[str, Unit]
"""By sample id, the sample with other answers and their scores."""
_TRIES = 100


class Replaces(Protocol):
    """Where other answers come from."""

    async def replacements(self, run: Evidence, draws: Mapping[str, float], share: float) -> Replacements:
        """Other answers to the samples whose number in `draws` is below `share`."""
        ...


@dataclass(frozen=True, slots=True)
class Swapped:
    """The answer to another sample of another cluster: fluent, of the right kind, and about something else."""

    data: Dataset
    scorers: Mapping[str, Scorer]
    services: Services
    rng: random.Random

    async def replacements(self, run: Evidence, draws: Mapping[str, float], share: float) -> Replacements:
        """Every chosen sample with the answers to another one, judged. Raises InputError where there is no other."""
        donors = [unit for _, unit in sorted(run.units.items()) if not unit.missing and any(map(_said, unit.records))]
        samples = {sample.id: sample for sample in self.data.samples}
        found: dict[str, Unit] = {}
        for key in sorted(run.units):
            if draws[key] >= share:
                continue
            unit, donor = run.units[key], self._donor(donors, run.units[key])
            records = []
            for record, other in zip(unit.records, donor.records, strict=False):
                answer = other.answer
                if answer is None:
                    records.append(record)
                    continue
                scores, failure = await judged(samples[key], answer, self.scorers, self.services, dict[str, Score]())
                outcome = outcome_of(failure.kind) if failure else "scored"
                changed = {"answer": answer, "scores": scores, "failure": failure, "outcome": outcome}
                records.append(msgspec.structs.replace(record, **changed))
            found[key] = replace(unit, records=tuple(records))
        return found

    def _donor(self, donors: list[Unit], unit: Unit) -> Unit:
        for _ in range(_TRIES if donors else 0):
            donor = self.rng.choice(donors)
            if donor.cluster != unit.cluster:
                return donor
        raise InputError("answers cannot be swapped: no two clusters were answered; name a worse model with --broken")


@dataclass(frozen=True, slots=True)
class Broken:
    """What another model answered to the same samples, of a run of its own."""

    run: Evidence

    async def replacements(self, run: Evidence, draws: Mapping[str, float], share: float) -> Replacements:
        """The other model's answers to every chosen sample."""
        return {key: self.run.units[key] for key in run.units if draws[key] < share and key in self.run.units}


def _said(record: Record) -> bool:
    return record.answer is not None


def drawn(run: Evidence, rng: random.Random) -> dict[str, float]:
    """A number in [0, 1) for each sample: which ones a share takes. A larger share takes those of a smaller one too."""
    return {key: rng.random() for key in sorted(run.units)}


def share_of(run: Evidence, other: Replacements, metric: MetricConfig, drop: float) -> float | None:
    """The share of samples that has to be replaced for the mean to fall by `drop`; None when all would not do.

    `other` are the replacements of all samples.
    """
    units = [unit for key, unit in run.units.items() if tagged(unit, metric) and key in other]
    if not units:
        return None
    gap = sum(u.score(metric.metric, "candidate")[0] - other[u.id].score(metric.metric, "candidate")[0] for u in units)
    return drop * len(units) / gap if gap > 0 and drop * len(units) <= gap else None


def planted(
    run: Evidence, other: Replacements, metric: MetricConfig, draws: Mapping[str, float], share: float
) -> Evidence:
    """The run with the replacements of a share of the samples that a condition is about."""
    units = {
        key: other[key] if draws[key] < share and key in other and tagged(unit, metric) else unit
        for key, unit in run.units.items()
    }
    return replace(run, units=units)
