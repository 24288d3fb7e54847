"""Waivers: somebody answers, by name and for a time, for a condition that did not hold.

A waiver takes `fail` and `inconclusive` where they block a release. It never takes `invalid`: there nobody knows what
they would answer for. A waived release has the verdict `waived`, never `pass`, and the verdict does not outlive the
waiver.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evals.gate_config import GateConfig, WaiverConfig
from gateway.contracts.verdict import MetricResult, Waiver


@dataclass(frozen=True, slots=True)
class Waived:
    """Results after the waivers: those that were taken, what is told of the others, and mistakes among them."""

    results: tuple[MetricResult, ...]
    used: tuple[Waiver, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def blocks(result: MetricResult) -> bool:
    """Whether a result alone keeps a release from passing; an advisory one never does, unless it is invalid."""
    if result.verdict == "invalid":
        return True
    if result.tier == "critical":
        return result.verdict in ("fail", "inconclusive")
    return result.tier == "supporting" and result.verdict == "fail"


def apply(gate: GateConfig, results: Sequence[MetricResult], now: datetime) -> Waived:
    """Take the gate's waivers into account; `now` decides which of them have expired."""
    after, used, notes, problems = list(results), list[Waiver](), list[str](), list[str]()
    for waiver in gate.waivers:
        about = [position for position, result in enumerate(after) if _takes(waiver, result)]
        name = f"the waiver of {waiver.metric} by {waiver.owner}"
        if not about:
            problems.append(f"{name}: no condition of this run is called so; it has {_labels(results)}")
        elif now >= waiver.expires:
            notes.append(f"{name} expired on {waiver.expires.astimezone(UTC):%Y-%m-%d} and no longer counts")
        elif not any(blocks(after[position]) and after[position].verdict != "invalid" for position in about):
            notes.append(f"{name} was not used: {_why(after[about[0]])}")
        else:
            used.append(_signed(waiver))
            for position in about:
                if blocks(after[position]):
                    after[position] = _waived(after[position], waiver)
    return Waived(tuple(after), tuple(used), tuple(notes), tuple(problems))


def _takes(waiver: WaiverConfig, result: MetricResult) -> bool:
    return waiver.metric == result.metric and waiver.test in (None, result.test)


def _labels(results: Sequence[MetricResult]) -> str:
    return ", ".join(dict.fromkeys(result.metric for result in results)) or "none"


def _why(result: MetricResult) -> str:
    if result.verdict == "invalid":
        return f"{result.metric} is invalid, and no waiver takes that"
    if result.verdict == "pass":
        return f"{result.metric} passes; remove the waiver"
    return f"{result.metric} is {result.tier}, and as {result.verdict} it blocks nothing"


def _signed(waiver: WaiverConfig) -> Waiver:
    return Waiver(
        metric=waiver.metric,
        test=waiver.test,
        owner=waiver.owner,
        reason=waiver.reason,
        expires=waiver.expires.astimezone(UTC),
    )


def _waived(result: MetricResult, waiver: WaiverConfig) -> MetricResult:
    until = f"{waiver.expires.astimezone(UTC):%Y-%m-%d}"
    reason = f"{result.verdict}, waived by {waiver.owner} until {until} ({waiver.reason}): {result.reason}"
    return result.model_copy(update={"verdict": "waived", "reason": reason})
