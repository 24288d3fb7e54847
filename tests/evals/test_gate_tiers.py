"""What single conditions come to: tiers, retried answers, rises, judges' cards, and the laws over all tests."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import run_log
from evals.evidence import gather
from evals.gate import EXIT_CODES, decide, overall
from gateway.contracts.verdict import MetricResult

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FLOOR = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}
ANSWERS = ["pass", "waived", "inconclusive", "fail", "invalid"]


def scores(count: int, wrong: int = 0) -> dict[str, object]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)}


def ask(gate, candidate, baseline=None):
    return decide(gate, candidate, baseline, now=NOW, harness="test 1")


def result(answer: str, tier: str = "critical") -> MetricResult:
    return MetricResult(
        metric="exact", test="absolute", verdict=answer, tier=tier, reason="r", alpha=0.05, samples=9, clusters=9
    )


@given(
    st.lists(st.tuples(st.sampled_from(ANSWERS), st.sampled_from(["critical", "supporting", "advisory"])), max_size=6)
)
def test_only_critical_conditions_that_all_hold_make_a_pass(rows: list[tuple[str, str]]) -> None:
    answer = overall([result(*row) for row in rows])
    critical = [verdict for verdict, tier in rows if tier == "critical"]
    clean = bool(critical) and not any(verdict == "invalid" for verdict, _ in rows)
    clean = clean and ("fail", "supporting") not in rows
    assert (answer in ("pass", "waived")) == (clean and set(critical) <= {"pass", "waived"})
    assert (answer == "pass") == (answer in ("pass", "waived") and "waived" not in [verdict for verdict, _ in rows])
    assert answer in EXIT_CODES


def counted(tier: str, most: int, least: int = 100) -> dict[str, object]:
    return {"metric": "exact", "test": "max_failures", "max_failures": most, "n_min": least, "tier": tier}


@pytest.mark.parametrize(
    ("tier", "expected"), [("critical", "inconclusive"), ("supporting", "pass"), ("advisory", "pass")]
)
def test_an_inconclusive_condition_by_tier(make_evidence, make_gate, tier: str, expected: str) -> None:
    run = make_evidence(scores(100, 10))
    decision = ask(make_gate(run, FLOOR, counted(tier, 20, 200)), run)
    assert decision.answer == expected
    told = f"exact ({tier}) is inconclusive, which blocks nothing"
    assert (told in decision.notes) == (tier != "critical")


@pytest.mark.parametrize(("tier", "expected"), [("critical", "fail"), ("supporting", "fail"), ("advisory", "pass")])
def test_a_failed_condition_by_tier(make_evidence, make_gate, tier: str, expected: str) -> None:
    run = make_evidence(scores(100, 10))
    decision = ask(make_gate(run, FLOOR, counted(tier, 0)), run)
    assert decision.answer == expected
    assert decision.metrics[1].verdict == "fail"
    assert (decision.metrics[1].tier, decision.verdict.predicate.verdict) == (tier, expected)


@pytest.mark.parametrize("tier", ["supporting", "advisory"])
def test_what_cannot_be_tested_is_invalid_in_every_tier(make_evidence, make_gate, tier: str) -> None:
    run = make_evidence(scores(100))
    decision = ask(make_gate(run, FLOOR, FLOOR | {"metric": "f1", "tier": tier}), run)
    assert (decision.answer, "no such metric" in decision.reason) == ("invalid", True)


def test_answers_that_were_asked_for_again_are_drawn_anew(make_evidence, make_gate) -> None:
    run = make_evidence(scores(100))
    records = [msgspec.structs.replace(r, attempts=1 + (i < 6)) for i, r in enumerate(run.log.records)]
    retried = gather(replace(run.log, records=tuple(records)))
    assert retried.retried == pytest.approx(0.06)
    assert ask(make_gate(run, FLOOR), retried).answer == "pass"
    assert ask(make_gate(run, FLOOR, max_retried=0.06), retried).answer == "pass"
    decision = ask(make_gate(run, FLOOR, max_retried=0.05), retried)
    assert decision.answer == "invalid"
    assert "6.00% of the results took more than one attempt, the gate allows 5.00%" in decision.reason


def test_a_rise_that_nobody_explained_is_told(make_evidence, make_gate) -> None:
    metric = {"metric": "exact", "test": "noninferior", "margin": 0.1, "max_rise": 0.2}
    theirs = make_evidence(scores(100, 50), release="faq@1")
    for wrong, told in ((10, True), (45, False)):
        ours = make_evidence(scores(100, wrong))
        decision = ask(make_gate(ours, metric), ours, theirs)
        assert decision.answer == "pass"
        assert any("more than max_rise 0.2" in note for note in decision.notes) is told


TESTS = {
    "noninferior": {"metric": "exact", "test": "noninferior", "margin": 0.99},
    "absolute": {"metric": "exact", "test": "absolute", "at_least": 0.01},
    "max_failures": {"metric": "exact", "test": "max_failures", "max_failures": 9, "n_min": 40},
    "ratio": {"metric": "latency_p50", "test": "ratio", "max_ratio": 50},
    "cost": {"metric": "cost_per_ok", "of": "exact", "test": "ratio", "max_ratio": 50},
}
VACUOUS = {
    "an empty set": ({}, {}),
    "one sample": (scores(1), {}),
    "one cluster": (scores(50), {f"s{i:03}": "c" for i in range(50)}),
    "nothing but missing evidence": (dict.fromkeys(scores(100), "missing"), {}),
    "errors on both sides": (dict.fromkeys(scores(100), "system"), {}),
    "scores that are no number": (dict.fromkeys(scores(100), float("nan")), {}),
}


@pytest.mark.parametrize("name", VACUOUS)
@pytest.mark.parametrize("test", TESTS)
def test_law_a_vacuous_case_never_passes(make_evidence, make_gate, name: str, test: str) -> None:
    values, clusters = VACUOUS[name]
    candidate = make_evidence(values, clusters=clusters)
    baseline = make_evidence(values, clusters=clusters, release="faq@1")
    decision = ask(make_gate(candidate, TESTS[test]), candidate, baseline)
    assert decision.answer in ("fail", "inconclusive", "invalid")


@pytest.mark.parametrize("test", TESTS)
def test_every_test_can_pass_and_knows_what_it_lacks(make_evidence, make_gate, test: str) -> None:
    candidate, baseline = make_evidence(scores(100)), make_evidence(scores(100), release="faq@1")
    assert ask(make_gate(candidate, TESTS[test]), candidate, baseline).answer == "pass"
    for lack in ({"tag": "nowhere"}, {"of": "f1"} if test == "cost" else {"metric": "f1"}):
        if test != "ratio" or "tag" in lack:
            assert ask(make_gate(candidate, TESTS[test] | lack), candidate, baseline).answer == "invalid"


def test_a_gate_can_want_both_releases_in_one_run(make_evidence, make_gate, make_arms, tmp_path: Path) -> None:
    values = {f"s{i:03}": float(i > 4) for i in range(100)}
    margin = {"metric": "exact", "test": "noninferior", "margin": 0.1}
    log = run_log.read(make_arms(tmp_path / "both.jsonl", values, values))
    ours, theirs = gather(log), gather(log, "baseline")
    gate = make_gate(ours, margin, baseline="same_run")
    assert ask(gate, ours, theirs).answer == "pass"
    other = make_evidence(values, release="faq@1")
    decision = ask(gate, ours, other)
    assert decision.answer == "invalid"
    assert "the baseline is of another: run again with `evals run --baseline MODEL`" in decision.reason
