"""A run as figures: for people's tables, and as JSON values for scripts."""

from decimal import Context, Decimal
from typing import Any

import msgspec

from evals import compare, variance
from evals.evidence import Evidence
from evals.lines import Record
from evals.spending import Forecast, Projection, amount

TWO_SIDED = 0.025
"""For 95 % intervals, as two one-sided bounds."""
_SIX = Context(prec=6)


def measure_all(evidence: Evidence) -> dict[str, compare.Measure]:
    """Every metric of a run with its 95 % interval."""
    found = {name: compare.absolute(evidence, name, alpha=TWO_SIDED) for name in evidence.log.manifest.metrics()}
    return {name: measure for name, measure in found.items() if measure is not None}


def compare_all(candidate: Evidence, baseline: Evidence) -> dict[str, compare.Measure]:
    """Every metric that both runs have, candidate minus baseline, with its 95 % interval."""
    theirs = baseline.log.manifest.metrics()
    names = [name for name in candidate.log.manifest.metrics() if name in theirs]
    found = {name: compare.paired(candidate, baseline, name, alpha=TWO_SIDED) for name in names}
    return {name: measure for name, measure in found.items() if measure is not None}


def noises(evidence: Evidence) -> dict[str, variance.Split]:
    """Where the noise of each metric comes from, for those of which more than the whole can be told."""
    found = {name: compare.noise(evidence, name) for name in evidence.log.manifest.metrics()}
    return {name: split for name, split in found.items() if split is not None and split.telling}


def noises_between(candidate: Evidence, baseline: Evidence) -> dict[str, variance.Split]:
    """The same for differences."""
    found = {name: compare.noise_between(candidate, baseline, name) for name in candidate.log.manifest.metrics()}
    return {name: split for name, split in found.items() if split is not None and split.telling}


def projection(evidence: Evidence) -> Projection | None:
    """What the whole run costs at the costs so far; None for a complete one, and where too little is known."""
    forecast, manifest = Forecast(), evidence.log.manifest
    for unit in evidence.units.values():
        for record in unit.records:
            if record.outcome != "harness_error":
                forecast.add(amount(record.answer.cost) if record.answer else None)
    left = manifest.samples * manifest.epochs - forecast.count
    return forecast.project(left) if left > 0 else None


class Group(msgspec.Struct, frozen=True):
    """Results and their mean score; an error of the system scores 0, missing evidence has no part in it."""

    results: int
    mean: float


def retried(evidence: Evidence) -> dict[str, dict[str, Group]]:
    """By metric, the scores of results that came at the first try, and of those that were asked for again.

    Both groups are in every figure of the run. A gap between them is a warning: retries draw a new answer, at another
    moment, from the samples that happened to fail. Empty when nothing was retried.
    """
    records = [r for unit in evidence.units.values() for r in unit.records if r.outcome != "harness_error"]
    again = [record for record in records if record.attempts > 1]
    first = [record for record in records if record.attempts <= 1]
    if not again:
        return {}
    groups = {"first_try": first, "retried": again}
    return {
        metric: {name: _group(found, metric) for name, found in groups.items() if found}
        for metric in evidence.log.manifest.metrics()
    }


def _group(records: list[Record], metric: str) -> Group:
    return Group(len(records), sum(r.scores[metric].value for r in records if metric in r.scores) / len(records))


def summary(evidence: Evidence, baseline: Evidence | None = None) -> dict[str, Any]:
    """A run as JSON values; with its baseline arm, that one and the differences are in it."""
    counts, manifest = compare.account(evidence), evidence.log.manifest
    found = {
        "log": str(evidence.log.path),
        "suite": manifest.suite,
        "model": manifest.asked(evidence.arm),
        "release": evidence.release,
        "release_digest": evidence.release_digest,
        "engine_fingerprints": evidence.fingerprints,
        "dataset_sha256": manifest.dataset_sha256,
        "coverage": evidence.coverage,
        "problems": list(evidence.problems),
        "metrics": {name: _interval(measure) for name, measure in measure_all(evidence).items()},
        "noise": {name: noise_values(split) for name, split in noises(evidence).items()},
        "retried": msgspec.to_builtins(retried(evidence)),
        **msgspec.to_builtins(counts),
        "cost": money(counts.cost),
        "projected_cost": projection_values(projection(evidence)),
    }
    if baseline is not None:
        found["baseline"] = summary(baseline)
        found |= difference(evidence, baseline)
    return found


def difference(candidate: Evidence, baseline: Evidence) -> dict[str, Any]:
    """Two runs as JSON values: each metric's difference, and where its noise comes from."""
    measures = compare_all(candidate, baseline)
    return {
        "difference": {
            name: _interval(m) | {"fell": m.flips.regressed, "rose": m.flips.improved} for name, m in measures.items()
        },
        "difference_noise": {name: noise_values(s) for name, s in noises_between(candidate, baseline).items()},
    }


def noise_values(split: variance.Split) -> dict[str, Any]:
    """Components, shares and standard errors as JSON values."""
    return {
        "components": {"sample": split.sample, "sampling": split.sampling, "judge": split.judge},
        "shares": split.shares(),
        "standard_error": split.advice(),
        "samples": split.samples,
        "epochs": split.epochs,
        "votes": split.votes,
    }


def projection_values(found: Projection | None) -> dict[str, str | None] | None:
    """A projection as JSON values, to six digits."""
    if found is None:
        return None
    return {name: money(getattr(found, name).normalize(_SIX)) for name in ("total", "low", "high")}


def money(value: Decimal | None) -> str | None:
    """A sum as decimal text, exact."""
    return None if value is None else f"{value:f}"


def _interval(measure: compare.Measure) -> dict[str, Any]:
    found = {
        "mean": measure.estimate,
        "lower": measure.lower,
        "upper": measure.upper,
        "samples": measure.samples,
        "clusters": measure.clusters,
        "missing": measure.missing_candidate,
    }
    if measure.baseline_score is None:
        return found
    noise = measure.spread
    return found | {
        "candidate": measure.candidate_score,
        "baseline": measure.baseline_score,
        "missing_baseline": measure.missing_baseline,
        "sd": None if noise is None else noise.sd,
        "design_effect": None if noise is None else noise.design_effect,
    }
