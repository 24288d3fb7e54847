"""The gate: from the evidence of two runs to a verdict about one release digest.

In order of strength: `invalid` (the evidence cannot carry a verdict), `fail` (proven worse), `inconclusive` (not enough
evidence), `pass`. All metrics must pass: an intersection-union test, so that each may be tested at alpha and the chance
that a bad release passes stays below alpha, without a correction for their number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from evals import compare, judge_floor, stats
from evals.compare import Measure
from evals.decision import Decision
from evals.evidence import Evidence, from_cache, rescored
from evals.gate_config import GateConfig, MetricConfig
from evals.judge_card import Card
from evals.planning import Plan, plan, underpowered
from gateway.contracts.release import ReleaseManifest
from gateway.contracts.verdict import Answer, MetricResult, Predicate, Reference, Verdict

_STRENGTH: tuple[Answer, ...] = ("pass", "inconclusive", "fail", "invalid")
EXIT_CODES: dict[Answer, int] = {"pass": 0, "fail": 1, "inconclusive": 2, "invalid": 3}


def decide(
    gate: GateConfig,
    candidate: Evidence,
    baseline: Evidence | None,
    *,
    now: datetime,
    harness: str,
    manifest: ReleaseManifest | None = None,
    cards: Mapping[str, Card] | None = None,
) -> Decision:
    """Test every metric of a gate and sum up. Same inputs, same decision; never raises for what the runs hold.

    `cards` are the judges' cards by metric (`judge_floor.load_cards`).
    """
    compared = baseline if gate.needs_baseline else None
    unused = (
        ("the baseline was not used: no metric of the gate compares with one",) if baseline and not compared else ()
    )
    runs = [run for run in (candidate, compared) if run is not None]
    measured = cards or {}
    problems = (
        *_problems(gate, candidate, compared, manifest),
        *judge_floor.problems(gate, runs, measured, now),
    )
    results, flips = [], {}
    for metric in gate.metrics if _comparable(gate, candidate, compared) else ():
        result, measure = _test(gate, metric, candidate, compared)
        results.append(result)
        if measure is not None and metric.test == "noninferior":
            flips[metric.label] = measure.flips
    answers: list[Answer] = [result.verdict for result in results] + (["invalid"] if problems else [])
    answer: Answer = max(answers, key=_STRENGTH.index, default="invalid")
    reason = "; ".join(problems) or "; ".join(f"{r.metric}: {r.reason}" for r in results if r.verdict == answer)
    decision = Decision(
        gate=gate.gate,
        answer=answer,
        reason=reason + from_cache(candidate, compared),
        metrics=tuple(results),
        problems=problems,
        notes=(*unused, *_notes(gate, candidate, compared), *judge_floor.notes(gate, measured)),
        release=candidate.release,
        release_digest=candidate.release_digest,
        baseline=compared.release if compared else None,
        owners=tuple(metric.owner for metric in gate.metrics),
        flips=flips,
        slices=compare.slices(candidate, compared, [m.metric for m in gate.metrics]) if results else (),
    )
    return _with_verdict(decision, gate, candidate, compared, now, harness)


def _problems(
    gate: GateConfig, candidate: Evidence, baseline: Evidence | None, manifest: ReleaseManifest | None
) -> Iterable[str]:
    if gate.needs_baseline and baseline is None:
        yield "the gate compares with a baseline, and none was given: name its run with --baseline"
    for role, run in (("candidate", candidate), ("baseline", baseline)):
        if run is not None:
            yield from (f"{role}: {problem}" for problem in (*run.problems, *_of_gate(gate, run)))
    if baseline is not None:
        if (baseline.log.digest, baseline.arm) == (candidate.log.digest, candidate.arm):
            yield "candidate and baseline are the same run: a release compared with itself always passes"
        if baseline.log.manifest.suite_digest != candidate.log.manifest.suite_digest:
            yield "candidate and baseline ran with different params, scorers or samples: run both with the same suite"
        if changed := rescored(candidate, baseline):
            yield f"candidate and baseline were scored by different versions of {', '.join(changed)}: run both again"
    answered = (candidate.release, candidate.release_digest)
    if manifest is not None and None not in answered and (manifest.name, manifest.digest()) != answered:
        found = f"{manifest.name} {manifest.digest()}"
        yield f"the manifest is {found}, and the run was answered by {answered[0]} {answered[1]}"


def _of_gate(gate: GateConfig, run: Evidence) -> Iterable[str]:
    manifest = run.log.manifest
    if manifest.suite != gate.suite:
        yield f"the run is of suite {manifest.suite!r}, the gate of {gate.suite!r}"
    if manifest.dataset_sha256 != gate.dataset_sha256:
        yield f"the run used data set {manifest.dataset_sha256}, the gate is for {gate.dataset_sha256}"
    if gate.split not in (None, manifest.split):
        yield f"the run used {manifest.split or 'no split'}, the gate is for the split {gate.split!r}"
    if run.coverage < gate.min_coverage:
        yield (
            f"coverage is {run.coverage:.2%}, the gate asks for {gate.min_coverage:.2%}: evidence is missing; run "
            "again with the same --out, which asks for the missing samples only"
        )
    if run.cached and gate.cached == "refuse":
        yield (
            f"{run.cached} answers come from the harness's cache, which is no evidence of what the release answers "
            "now: run without --cache, or write `cached: allow` into the gate"
        )


def _comparable(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> bool:
    """Whether figures would mean anything: whole runs of one suite."""
    runs = [run for run in (candidate, baseline) if run is not None]
    whole = all(run.units and len(run.units) == run.log.manifest.samples for run in runs)
    same = len({run.log.manifest.suite_digest for run in runs}) == 1
    return whole and same and (baseline is not None or not gate.needs_baseline)


def _test(
    gate: GateConfig, metric: MetricConfig, candidate: Evidence, baseline: Evidence | None
) -> tuple[MetricResult, Measure | None]:
    alpha = gate.design.alpha
    known = candidate.log.manifest.metrics()
    if metric.metric not in known:
        return _invalid(gate, metric, f"the run has no such metric; it has {', '.join(known)}"), None
    if metric.test == "noninferior" and baseline is not None:
        measure = compare.paired(candidate, baseline, metric.metric, alpha=alpha, tag=metric.tag)
    else:
        measure = compare.absolute(candidate, metric.metric, alpha=alpha, tag=metric.tag)
    if measure is None:
        return _invalid(gate, metric, f"no sample has the tag {metric.tag!r}"), None
    planned = plan(gate, metric, (measure.samples, measure.clusters, measure.largest))
    verdict, reason, needed = _judge(gate, metric, measure, planned)
    return MetricResult(
        metric=metric.label,
        test=metric.test,
        verdict=verdict,
        reason=reason,
        estimate=measure.estimate,
        lower=measure.lower,
        upper=measure.upper,
        margin=metric.margin,
        at_least=metric.at_least,
        alpha=alpha,
        samples=measure.samples,
        clusters=measure.clusters,
        missing_candidate=measure.missing_candidate,
        missing_baseline=measure.missing_baseline,
        candidate_score=measure.candidate_score,
        baseline_score=measure.baseline_score,
        planned_power=planned.power if planned else None,
        samples_needed=needed,
    ), measure


def _invalid(gate: GateConfig, metric: MetricConfig, reason: str) -> MetricResult:
    return MetricResult(
        metric=metric.label,
        test=metric.test,
        verdict="invalid",
        reason=reason,
        margin=metric.margin,
        at_least=metric.at_least,
        alpha=gate.design.alpha,
        samples=0,
        clusters=0,
    )


def _judge(
    gate: GateConfig, metric: MetricConfig, measure: Measure, planned: Plan | None
) -> tuple[Answer, str, int | None]:
    if planned is not None and planned.power < gate.design.power:
        return "invalid", underpowered(gate, planned), planned.samples_needed
    if measure.clusters < gate.min_clusters:
        few = f"{measure.clusters} clusters, the gate asks for {gate.min_clusters}: add independent samples"
        return "inconclusive", few, None
    bar = -metric.margin if metric.margin is not None else metric.at_least or 0.0
    worse = 0.0 if metric.margin is not None else bar
    if measure.lower >= bar:
        return "pass", f"the lower bound {measure.lower:.4f} is at least {bar:g}", None
    if measure.upper < worse:
        return "fail", f"the upper bound {measure.upper:.4f} is below {worse:g}: proven worse", None
    return _open(gate, metric, measure, bar)


def _open(gate: GateConfig, metric: MetricConfig, measure: Measure, bar: float) -> tuple[Answer, str, int | None]:
    """An inconclusive test: how many samples it would take."""
    start = f"{bar:g} lies between the bounds {measure.lower:.4f} and {measure.upper:.4f}"
    if measure.estimate < bar:
        return "inconclusive", f"{start}; the estimate itself is below it, more samples will hardly help", None
    noise = measure.spread or stats.Spread(1e-9, 1.0)
    difference = metric.margin is not None
    design = stats.Design(
        measure.samples,
        max(2, measure.clusters),
        measure.largest,
        noise.sd,
        max(noise.design_effect, 1e-6),
        gate.design.alpha,
        1.0 if difference else measure.estimate,
    )
    room = metric.margin if metric.margin is not None else measure.estimate - bar
    needed = stats.samples_needed(design, room, gate.design.power)
    truth = "true difference of 0" if difference else f"true mean of {measure.estimate:.4f}"
    if needed is None:
        return "inconclusive", f"{start}; no number of samples with clusters like these would do", None
    if needed <= measure.samples:
        return "inconclusive", f"{start}; this size would do at a {truth}, so look at what changed", needed
    return "inconclusive", f"{start}; about {needed} samples are needed at a {truth}", needed


def _notes(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> Iterable[str]:
    if any(m.test == "noninferior" and m.planned_sd is None for m in gate.metrics):
        yield "the gate had no plan: its power was not known before the run"
    if baseline is not None and baseline.release_digest == candidate.release_digest is not None:
        yield "candidate and baseline are the same release: this measures the noise of the gate itself"


def _with_verdict(
    decision: Decision,
    gate: GateConfig,
    candidate: Evidence,
    baseline: Evidence | None,
    now: datetime,
    harness: str,
) -> Decision:
    if candidate.release is None or candidate.release_digest is None:
        return decision
    manifest, created = candidate.log.manifest, now.astimezone(UTC)
    predicate = Predicate(
        verdict=decision.answer,
        reason=decision.reason,
        created=created,
        expires=created + gate.lifetime,
        gate=Reference(name=gate.gate, digest=gate.digest()),
        suite=Reference(name=manifest.suite, digest=manifest.suite_digest),
        dataset=Reference(name=manifest.dataset, digest=manifest.dataset_sha256),
        candidate_run=Reference(name=candidate.name, digest=candidate.log.digest),
        baseline=_release(baseline),
        baseline_run=Reference(name=baseline.name, digest=baseline.log.digest) if baseline else None,
        metrics=decision.metrics,
        engine_fingerprints=candidate.fingerprints,
        harness=harness,
    )
    verdict = Verdict(release=candidate.release, release_digest=candidate.release_digest, predicate=predicate)
    return replace(decision, verdict=verdict)


def _release(run: Evidence | None) -> Reference | None:
    if run is None or run.release is None or run.release_digest is None:
        return None
    return Reference(name=run.release, digest=run.release_digest)
