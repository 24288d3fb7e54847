from datetime import UTC, datetime, timedelta

import pytest

from evals.gate import decide
from evals.waivers import apply, blocks
from gateway.contracts.verdict import MetricResult, Waiver

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "owner": "ml", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "owner": "product", "test": "absolute", "at_least": 0.6}
WAIVER = {"metric": "exact", "owner": "ml", "reason": "the old model hallucinated", "expires": NOW + timedelta(days=5)}


def scores(wrong: int, count: int = 100) -> dict[str, object]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)}


@pytest.fixture
def judged(make_evidence, make_gate):
    def judge(wrong: int, *waivers, metrics=(NONINFERIOR,), now=NOW, baseline=None, **options):
        ours = make_evidence(scores(wrong))
        theirs = make_evidence(baseline or scores(5), release="faq@1")
        gate = make_gate(ours, *metrics, waivers=waivers, **options)
        return decide(gate, ours, theirs, now=now, harness="test 1")

    return judge


def test_a_waived_failure_is_waived_and_signed(judged) -> None:
    assert judged(30).answer == "fail"
    decision = judged(30, WAIVER)
    assert (decision.answer, decision.metrics[0].verdict) == ("waived", "waived")
    assert "exact: fail, waived by ml until 2026-11-27 (the old model hallucinated): the upper bound" in decision.reason
    predicate = decision.verdict.predicate
    assert predicate.waivers == (Waiver(**WAIVER),) == decision.waivers
    assert predicate.expires == WAIVER["expires"] < NOW + timedelta(days=14)


def test_the_gateway_admits_it_until_the_waiver_ends(judged) -> None:
    verdict = judged(30, WAIVER).verdict
    assert verdict.refusal(verdict.release_digest, NOW) is None
    assert "expired" in verdict.refusal(verdict.release_digest, WAIVER["expires"])


def test_a_verdict_that_ends_before_its_waiver_ends_when_it_ends(judged) -> None:
    predicate = judged(30, WAIVER, ttl="2d").verdict.predicate
    assert predicate.expires == NOW + timedelta(days=2)


def test_an_inconclusive_condition_can_be_waived_too(judged) -> None:
    narrow = (NONINFERIOR | {"margin": 0.05},)
    assert judged(9, metrics=narrow).answer == "inconclusive"
    assert judged(9, WAIVER, metrics=narrow).answer == "waived"


def test_an_expired_waiver_does_not_waive(judged) -> None:
    decision = judged(30, WAIVER, now=WAIVER["expires"])
    assert decision.answer == "fail"
    assert "the waiver of exact by ml expired on 2026-11-27 and no longer counts" in decision.notes
    assert decision.verdict.predicate.waivers == ()


def test_a_waiver_that_nothing_needs_is_told_and_leaves_a_pass(judged) -> None:
    decision = judged(5, WAIVER)
    assert decision.answer == "pass"
    assert "the waiver of exact by ml was not used: exact passes; remove the waiver" in decision.notes
    assert decision.verdict.predicate.expires == NOW + timedelta(days=14)


def test_invalid_is_never_waived(judged) -> None:
    decision = judged(5, WAIVER | {"metric": "f1"}, metrics=(ABSOLUTE, NONINFERIOR | {"metric": "f1"}))
    assert decision.answer == "invalid"
    assert any("no waiver takes that" in note for note in decision.notes)
    assert judged(30, WAIVER, min_coverage=1.0, dataset_sha256="sha256:" + "0" * 64).answer == "invalid"


def test_another_condition_that_fails_still_fails(judged) -> None:
    floor = ABSOLUTE | {"at_least": 0.95}
    decision = judged(30, WAIVER | {"test": "noninferior"}, metrics=(NONINFERIOR, floor))
    assert [m.verdict for m in decision.metrics] == ["waived", "fail"]
    assert decision.answer == "fail"
    both = judged(
        30,
        WAIVER | {"test": "noninferior"},
        WAIVER | {"test": "absolute", "expires": NOW + timedelta(days=1)},
        metrics=(NONINFERIOR, floor),
    )
    assert both.answer == "waived"
    assert both.verdict.predicate.expires == NOW + timedelta(days=1)


def test_a_waiver_of_a_slice_that_no_sample_is_in_is_a_mistake(judged) -> None:
    slices = {"tags": ["*"], "metrics": ["exact"], "margin": 0.1, "n_min": 5}
    decision = judged(5, WAIVER | {"metric": "exact[fr]"}, slices=slices)
    assert decision.answer == "invalid"
    assert "the waiver of exact[fr] by ml: no condition of this run is called so; it has exact" in decision.reason


def test_two_waivers_of_one_condition_are_refused(judged) -> None:
    with pytest.raises(ValueError, match="two waivers are of 'exact'"):
        judged(5, WAIVER, WAIVER | {"test": "noninferior"})


def result(answer: str, tier: str) -> MetricResult:
    return MetricResult(
        metric="exact", test="absolute", verdict=answer, tier=tier, reason="r", alpha=0.05, samples=9, clusters=9
    )


@pytest.mark.parametrize(
    ("tier", "blocking"),
    [
        ("critical", {"fail", "inconclusive", "invalid"}),
        ("supporting", {"fail", "invalid"}),
        ("advisory", {"invalid"}),
    ],
)
def test_what_blocks(tier: str, blocking: set[str]) -> None:
    answers = ("pass", "waived", "inconclusive", "fail", "invalid")
    assert {answer for answer in answers if blocks(result(answer, tier))} == blocking


def test_what_blocks_nothing_needs_no_waiver(make_evidence, make_gate) -> None:
    gate = make_gate(make_evidence(scores(5)), ABSOLUTE, waivers=[WAIVER])
    found = apply(gate, [result("inconclusive", "supporting")], NOW)
    assert found.results[0].verdict == "inconclusive"
    assert "as inconclusive it blocks nothing" in found.notes[0]
