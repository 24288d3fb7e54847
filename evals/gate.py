"""The gate: from the evidence of two runs to a verdict about one release digest.

In order of strength: `invalid` (the evidence cannot carry a verdict), `fail` (proven worse), `inconclusive` (not enough
evidence), `waived` (somebody answers for what did not hold), `pass`. All critical conditions must pass: an
intersection-union test, so that each may be tested at alpha and the chance that a bad release passes stays below alpha,
without a correction for their number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from evals import compare, conditions, judge_floor, waivers
from evals.conditions.base import Found
from evals.decision import Decision, Flips
from evals.evidence import Evidence, from_cache, rescored
from evals.gate_config import GateConfig
from evals.judge_card import Card
from evals.waivers import Waived
from gateway.contracts.release import ReleaseManifest
from gateway.contracts.verdict import Answer, MetricResult, Predicate, Reference, Verdict

_STRENGTH: tuple[Answer, ...] = ("pass", "waived", "inconclusive", "fail", "invalid")
EXIT_CODES: dict[Answer, int] = {"pass": 0, "waived": 0, "fail": 1, "inconclusive": 2, "invalid": 3}


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
    """Test every condition of a gate and sum up. Same inputs, same decision; never raises for what the runs hold.

    `cards` are the judges' cards by metric (`judge_floor.load_cards`).
    """
    compared = baseline if gate.needs_baseline else None
    runs = [run for run in (candidate, compared) if run is not None]
    measured = cards or {}
    found, told = conditions.test_all(gate, candidate, compared) if _comparable(gate, candidate, compared) else ([], [])
    after = waivers.apply(gate, [one.result for one in found], now) if found else Waived(())
    problems = (
        *_problems(gate, candidate, compared, manifest),
        *judge_floor.problems(gate, runs, measured, now),
        *after.problems,
    )
    answer = overall(after.results, problems)
    notes = (
        *_unused(baseline, compared),
        *_notes(gate, candidate, compared),
        *judge_floor.notes(gate, measured),
        *told,
        *(note for one in found for note in one.notes),
        *_told(after.results),
        *after.notes,
    )
    decision = Decision(
        gate=gate.gate,
        answer=answer,
        reason=_reason(after.results, problems, answer) + from_cache(candidate, compared),
        metrics=after.results,
        problems=problems,
        notes=notes,
        release=candidate.release,
        release_digest=candidate.release_digest,
        baseline=compared.release if compared else None,
        owners=tuple(result.owner for result in after.results),
        flips=_flips(found),
        slices=compare.slices(candidate, compared, _measured(gate, candidate)) if found else (),
        waivers=after.used,
    )
    return _with_verdict(decision, gate, candidate, compared, now, harness, measured)


def overall(results: Sequence[MetricResult], problems: Sequence[str] = ()) -> Answer:
    """What single results come to: invalid in any tier is invalid, and only a critical condition makes a pass."""
    if problems or not any(result.tier == "critical" for result in results):
        return "invalid"
    counted = [r.verdict for r in results if r.tier == "critical" or waivers.blocks(r) or r.verdict == "waived"]
    return max(counted, key=_STRENGTH.index)


def _reason(results: Sequence[MetricResult], problems: Sequence[str], answer: Answer) -> str:
    deciding = [r for r in results if r.verdict == answer and (r.tier != "advisory" or answer == "invalid")]
    if answer in ("fail", "inconclusive"):
        deciding = [result for result in deciding if waivers.blocks(result)]
    return "; ".join(problems) or "; ".join(f"{r.metric}: {r.reason}" for r in deciding)


def _told(results: Sequence[MetricResult]) -> Iterable[str]:
    """What did not hold and blocks nothing."""
    for result in results:
        if result.verdict in ("fail", "inconclusive") and not waivers.blocks(result):
            yield f"{result.metric} ({result.tier}) is {result.verdict}, which blocks nothing"


def _flips(found: Sequence[Found]) -> dict[str, Flips]:
    """By label, in the order of the conditions; of two that are called the same, those of the first."""
    by_label: dict[str, Flips] = {}
    for one in found:
        if one.flips is not None:
            by_label.setdefault(one.result.metric, one.flips)
    return by_label


def _measured(gate: GateConfig, run: Evidence) -> list[str]:
    """The scores that the gate reads and the run has."""
    return [name for name in gate.scores() if name in run.log.manifest.metrics()]


def _unused(baseline: Evidence | None, compared: Evidence | None) -> Iterable[str]:
    if baseline is not None and compared is None:
        yield "the baseline was not used: no metric of the gate compares with one"


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
        if gate.baseline == "same_run" and baseline.log.digest != candidate.log.digest:
            yield (
                "the gate wants both releases in one run, and the baseline is of another: run again with `evals run "
                "--baseline MODEL`, and give that log with --run"
            )
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
    if gate.max_retried is not None and run.retried > gate.max_retried:
        yield (
            f"{run.retried:.2%} of the results took more than one attempt, the gate allows {gate.max_retried:.2%}: "
            "what is asked again is drawn anew; mend what made the requests fail, and run into another log"
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


def _notes(gate: GateConfig, candidate: Evidence, baseline: Evidence | None) -> Iterable[str]:
    margins = [m for m in gate.metrics if m.test == "noninferior"]
    if any(metric.planned_sd is None for metric in margins):
        yield "the gate had no plan: its power was not known before the run"
    if candidate.log.manifest.imported is not None and candidate.release is None:
        yield "no verdict is written: the results were imported without --release, and nothing says who answered"
    if baseline is not None and baseline.release_digest == candidate.release_digest is not None:
        yield "candidate and baseline are the same release: this measures the noise of the gate itself"


def _with_verdict(
    decision: Decision,
    gate: GateConfig,
    candidate: Evidence,
    baseline: Evidence | None,
    now: datetime,
    harness: str,
    cards: Mapping[str, Card],
) -> Decision:
    if candidate.release is None or candidate.release_digest is None:
        return decision
    manifest, created = candidate.log.manifest, now.astimezone(UTC)
    ends = [*(waiver.expires for waiver in decision.waivers), *(card.expires for card in cards.values())]
    predicate = Predicate(
        verdict=decision.answer,
        reason=decision.reason,
        created=created,
        expires=min([created + gate.lifetime, *(moment.astimezone(UTC) for moment in ends if moment > created)]),
        gate=Reference(name=gate.gate, digest=gate.digest()),
        suite=Reference(name=manifest.suite, digest=manifest.suite_digest),
        dataset=Reference(name=manifest.dataset, digest=manifest.dataset_sha256),
        candidate_run=Reference(name=candidate.name, digest=candidate.log.digest),
        baseline=_release(baseline),
        baseline_run=Reference(name=baseline.name, digest=baseline.log.digest) if baseline else None,
        metrics=decision.metrics,
        judges=judge_floor.references(cards),
        waivers=decision.waivers,
        engine_fingerprints=candidate.fingerprints,
        harness=harness,
    )
    verdict = Verdict(release=candidate.release, release_digest=candidate.release_digest, predicate=predicate)
    return replace(decision, verdict=verdict)


def _release(run: Evidence | None) -> Reference | None:
    if run is None or run.release is None or run.release_digest is None:
        return None
    return Reference(name=run.release, digest=run.release_digest)
