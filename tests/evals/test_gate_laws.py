"""The laws of a gate, as properties: what no run, however odd, may bring about."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.gate import decide

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NONINFERIOR = {"metric": "exact", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "test": "absolute", "at_least": 0.6}


def scores(count: int, wrong: int = 0) -> dict[str, object]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)}


def ask(gate, candidate, baseline=None):
    return decide(gate, candidate, baseline, now=NOW, harness="test 1")


small_scores = st.sampled_from([0.0, 0.5, 1.0, "system", "missing"])
runs = st.lists(st.tuples(small_scores, small_scores, st.integers(0, 30)), min_size=1, max_size=40)
margins = st.sampled_from([0.2, 0.5, 0.9])


@pytest.fixture(scope="session")
def judge(make_evidence, make_gate):
    """The decision for a list of (candidate's score, baseline's score, cluster)."""

    def decision(rows, margin: float, *, reverse: bool = False):
        clusters = {f"s{i}": f"c{cluster}" for i, (_, _, cluster) in enumerate(rows)}
        candidate = make_evidence({f"s{i}": row[0] for i, row in enumerate(rows)}, clusters=clusters, reverse=reverse)
        baseline = make_evidence({f"s{i}": row[1] for i, row in enumerate(rows)}, clusters=clusters, release="faq@1")
        noninferior = {"metric": "exact", "test": "noninferior", "margin": margin}
        gate = make_gate(candidate, noninferior, {"metric": "exact", "test": "absolute", "at_least": 0.1})
        return ask(gate, candidate, baseline)

    return decision


def without(rows, position: int, value: object):
    return [*rows[:position], (value, *rows[position][1:]), *rows[position + 1 :]]


@given(runs, margins, st.data())
@settings(deadline=None)
def test_law_removing_a_passing_sample_never_makes_a_pass(judge, rows, margin: float, data: st.DataObject) -> None:
    before = judge(rows, margin)
    after = judge(without(rows, data.draw(st.integers(0, len(rows) - 1)), "missing"), margin)
    for old, new in zip(before.metrics, after.metrics, strict=True):
        assert new.lower <= old.lower + 1e-8
        assert new.candidate_score <= old.candidate_score + 1e-12
        assert not (new.verdict == "pass" and old.verdict != "pass")
    assert not (after.answer == "pass" and before.answer != "pass")


@given(runs, margins, st.data(), st.sampled_from([0.0, "system"]))
@settings(deadline=None)
def test_law_a_failed_sample_never_raises_a_score(judge, rows, margin, data: st.DataObject, failed: object) -> None:
    before = judge(rows, margin)
    after = judge(without(rows, data.draw(st.integers(0, len(rows) - 1)), failed), margin)
    for old, new in zip(before.metrics, after.metrics, strict=True):
        if old.missing_candidate == new.missing_candidate:
            assert new.upper <= old.upper + 1e-8
        assert new.estimate <= old.estimate + 1e-12
        assert not (new.verdict == "pass" and old.verdict != "pass")


@given(runs, margins, st.sampled_from([0.0, "system"]))
@settings(deadline=None)
def test_law_adding_a_failed_sample_never_raises_the_candidates_score(judge, rows, margin, failed: object) -> None:
    before, after = judge(rows, margin), judge([*rows, (failed, 1.0, 99)], margin)
    for old, new in zip(before.metrics, after.metrics, strict=True):
        assert new.candidate_score <= old.candidate_score + 1e-12
    assert after.metrics[1].lower <= before.metrics[1].lower + 1e-8


@given(runs, margins)
@settings(deadline=None)
def test_law_the_same_inputs_give_the_same_verdict_in_any_order(judge, rows, margin: float) -> None:
    one, two = judge(rows, margin), judge(rows, margin, reverse=True)
    assert one.verdict is None or one.verdict.digest() == two.verdict.digest()
    assert one.metrics == two.metrics


VACUOUS = {
    "an empty set": ({}, {}, NONINFERIOR),
    "one sample": (scores(1), {}, NONINFERIOR),
    "one cluster": (scores(50), {f"s{i:03}": "c" for i in range(50)}, NONINFERIOR),
    "a missing metric": (scores(100), {}, NONINFERIOR | {"metric": "f1"}),
    "an unknown slice": (scores(100), {}, NONINFERIOR | {"tag": "nowhere"}),
    "a slice of one sample": (scores(100), {}, NONINFERIOR | {"tag": "rare"}),
    "errors on both sides": (dict.fromkeys(scores(100), "system"), {}, NONINFERIOR),
    "nothing but missing evidence": (dict.fromkeys(scores(100), "missing"), {}, NONINFERIOR),
}


@pytest.mark.parametrize("name", VACUOUS)
@pytest.mark.parametrize("test", ["noninferior", "absolute"])
def test_law_a_vacuous_case_never_passes(make_evidence, make_gate, name: str, test: str) -> None:
    values, clusters, metric = VACUOUS[name]
    tags = {"s001": ["rare"]}
    candidate = make_evidence(values, clusters=clusters, tags=tags)
    baseline = make_evidence(values, clusters=clusters, tags=tags, release="faq@1")
    loose = metric | {"margin": 0.99}
    if test == "absolute":
        loose = {key: value for key, value in metric.items() if key != "margin"} | {"test": test, "at_least": 0.01}
    assert ask(make_gate(candidate, loose), candidate, baseline).answer in ("inconclusive", "invalid", "fail")


def test_too_few_clusters_are_inconclusive(make_evidence, make_gate) -> None:
    clusters = {f"s{i:03}": f"c{i % 19}" for i in range(100)}
    candidate = make_evidence(scores(100), clusters=clusters)
    assert ask(make_gate(candidate, ABSOLUTE), candidate).answer == "pass"
    decision = ask(make_gate(candidate, ABSOLUTE, min_clusters=20), candidate)
    assert (decision.answer, "19 clusters" in decision.reason) == ("inconclusive", True)


def test_a_gate_on_a_slice_counts_only_the_slice(make_evidence, make_gate) -> None:
    values = scores(100, 50)
    tags = {key: ["good"] for key, value in values.items() if value}
    candidate = make_evidence(values, tags=tags)
    decision = ask(make_gate(candidate, ABSOLUTE | {"tag": "good", "at_least": 0.9}), candidate)
    assert decision.answer == "pass"
    assert (decision.metrics[0].metric, decision.metrics[0].samples) == ("exact[good]", 50)
