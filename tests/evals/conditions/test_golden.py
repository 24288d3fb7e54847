import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FLOOR = {"metric": "exact", "test": "absolute", "at_least": 0.01}
GOLDEN = {"metric": "exact", "owner": "sales"}


def scores(**special: object) -> dict[str, object]:
    return {f"s{i:02}": 1.0 for i in range(40)} | special


TAGS = {"s00": ["golden"], "s01": ["golden", "plans"], "s02": ["golden"]}


@pytest.fixture
def judged(make_evidence, make_gate, ask):
    def judge(candidate, baseline=None, **golden):
        ours = make_evidence(candidate, tags=TAGS)
        theirs = make_evidence(baseline or scores(), tags=TAGS, release="faq@1")
        return ask(make_gate(ours, FLOOR, golden=GOLDEN | golden), ours, theirs)

    return judge


def test_golden_samples_that_hold_pass(judged) -> None:
    decision = judged(scores(s30=0.0))
    assert decision.answer == "pass"
    result = decision.metrics[-1]
    assert (result.metric, result.test, result.owner) == ("exact[golden]", "golden", "sales")
    assert (result.samples, result.failures, result.max_failures) == (3, 0, 0)


def test_one_regression_fails_however_good_the_mean_is(judged) -> None:
    decision = judged(scores(s01=0.0))
    assert decision.answer == "fail"
    assert "1 of 3 golden samples regressed, 0 may: s01" in decision.reason
    assert decision.flips["exact[golden]"].regressed == ("s01",)


def test_as_many_as_the_gate_says_may_regress(judged) -> None:
    assert judged(scores(s01=0.0), max_regressed=1).answer == "pass"
    assert judged(scores(s01=0.0, s02=0.5), max_regressed=1).answer == "fail"


@pytest.mark.parametrize("lost", ["missing", "system"])
def test_what_is_missing_counts_as_regressed(judged, lost: str) -> None:
    decision = judged(scores(s01=lost))
    assert decision.answer == "fail"
    assert "s01" in decision.reason
    assert ("evidence is missing of s01" in decision.reason) == (lost == "missing")


def test_a_sample_that_the_baseline_failed_already_may_fail(judged) -> None:
    assert judged(scores(s01=0.0), scores(s01=0.0)).answer == "pass"


def test_a_baseline_without_evidence_makes_no_room(judged) -> None:
    assert judged(scores(s01=0.5), scores(s01="missing")).answer == "fail"
    assert judged(scores(s01=0.5), scores(s01="system")).answer == "fail"


def test_no_golden_sample_at_all_is_invalid(judged) -> None:
    decision = judged(scores(), tag="gold")
    assert decision.answer == "invalid"
    assert "no sample has the tag 'gold'" in decision.reason


def test_a_model_that_wavers_is_held_to_a_score(judged) -> None:
    steady = {key: [1.0, 1.0, 1.0] for key in scores()}
    wavering = steady | {"s01": [1.0, 0.0, 1.0]}
    assert judged(wavering, steady).answer == "fail"
    assert judged(wavering, steady, at_least=0.6).answer == "pass"
    decision = judged(steady | {"s01": [1.0, 0.0, 0.0]}, steady, at_least=0.6)
    assert (decision.answer, "s01" in decision.reason) == ("fail", True)
    assert judged(steady | {"s01": [1.0, 1.0, "missing"]}, steady, at_least=0.9).answer == "fail"


def test_a_held_score_needs_no_baseline(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(), tags=TAGS)
    assert ask(make_gate(run, FLOOR, golden=GOLDEN | {"at_least": 0.9}), run).answer == "pass"


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, "system", "missing"]), min_size=3, max_size=3),
    st.integers(0, 2),
    st.sampled_from([0.0, "system", "missing"]),
)
@settings(deadline=None, max_examples=40)
def test_law_no_loss_makes_golden_samples_pass(make_evidence, make_gate, ask, values, position, worse) -> None:
    def judge(values):
        ours = make_evidence(scores(s00=values[0], s01=values[1], s02=values[2]), tags=TAGS)
        theirs = make_evidence(scores(s00=0.5, s02="system"), tags=TAGS, release="faq@1")
        return ask(make_gate(ours, FLOOR, golden=GOLDEN), ours, theirs).metrics[-1]

    before, after = judge(values), judge([*values[:position], worse, *values[position + 1 :]])
    assert after.failures >= before.failures
    assert not (before.verdict == "fail" and after.verdict == "pass")
