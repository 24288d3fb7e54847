from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

SAFE = {"metric": "exact", "owner": "safety", "test": "max_failures", "max_failures": 0, "n_min": 300}


def scores(count: int, wrong: int = 0, **special: object) -> dict[str, object]:
    return {f"s{i:03}": 0.0 if i < wrong else 1.0 for i in range(count)} | special


def test_none_of_300_passes_and_says_what_that_shows(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(300))
    decision = ask(make_gate(run, SAFE), run)
    assert decision.answer == "pass"
    (result,) = decision.metrics
    assert (result.failures, result.max_failures, result.estimate, result.owner) == (0, 0, 0.0, "safety")
    assert result.upper == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-6)
    assert "0 of 300 samples failed; that shows a failure rate of at most 0.99% at confidence 0.95" in decision.reason


@pytest.mark.parametrize("failures", [1, 3])
def test_the_bound_is_clopper_and_pearsons(make_evidence, make_gate, ask, failures: int) -> None:
    run = make_evidence(scores(100, failures))
    (result,) = ask(make_gate(run, SAFE | {"max_failures": 5, "n_min": 100}), run).metrics
    assert result.verdict == "pass"
    assert result.upper == pytest.approx(beta.ppf(0.95, failures + 1, 100 - failures), abs=1e-6)


def test_clusters_are_the_units_of_the_bound(make_evidence, make_gate, ask) -> None:
    values = scores(300)
    run = make_evidence(values, clusters={key: f"c{i // 10}" for i, key in enumerate(values)})
    (result,) = ask(make_gate(run, SAFE), run).metrics
    assert result.upper == pytest.approx(1 - 0.05 ** (1 / 30), abs=1e-6)


def test_one_failure_too_many_names_the_samples(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(300, 2))
    decision = ask(make_gate(run, SAFE | {"max_failures": 1}), run)
    assert (decision.answer, decision.metrics[0].failures) == ("fail", 2)
    assert "2 of 300 samples failed, 1 may: s000, s001" in decision.reason


def test_missing_evidence_counts_as_failed_and_is_told(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(300, s000="missing"))
    decision = ask(make_gate(run, SAFE), run)
    assert decision.answer == "fail"
    assert "1 of 300 samples failed, 1 of them for want of evidence, 0 may: s000" in decision.reason


def test_too_few_samples_are_inconclusive_and_a_failure_among_them_is_not(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(299))
    decision = ask(make_gate(run, SAFE), run)
    assert decision.answer == "inconclusive"
    assert "299 samples, the condition asks for 300" in decision.reason
    run = make_evidence(scores(299, 1))
    assert ask(make_gate(run, SAFE), run).answer == "fail"


def test_one_cluster_never_passes(make_evidence, make_gate, ask) -> None:
    values = scores(300)
    run = make_evidence(values, clusters=dict.fromkeys(values, "c"))
    assert ask(make_gate(run, SAFE), run).answer == "inconclusive"


def test_a_threshold_says_what_a_failure_is(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(300, s000=0.7, s001=0.69))
    (result,) = ask(make_gate(run, SAFE | {"below": 0.7}), run).metrics
    assert result.failures == 1
    (result,) = ask(make_gate(run, SAFE), run).metrics
    assert result.failures == 2


def test_a_sample_that_fails_in_one_epoch_of_three_fails(make_evidence, make_gate, ask) -> None:
    values = {f"s{i:03}": [1.0, 1.0, 1.0] for i in range(300)} | {"s007": [1.0, 0.0, 1.0]}
    run = make_evidence(values)
    assert "s007" in ask(make_gate(run, SAFE), run).reason


def test_an_unknown_metric_or_tag_is_invalid(make_evidence, make_gate, ask) -> None:
    run = make_evidence(scores(300))
    assert ask(make_gate(run, SAFE | {"metric": "f1"}), run).answer == "invalid"
    assert ask(make_gate(run, SAFE | {"tag": "nowhere"}), run).answer == "invalid"


rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, "system", "missing"]), st.integers(0, 9)), min_size=1, max_size=30
)


@given(rows, st.data(), st.integers(0, 3))
@settings(deadline=None)
def test_law_no_loss_and_no_failure_makes_it_pass(make_evidence, make_gate, ask, rows, data, most: int) -> None:
    def judged(rows):
        clusters = {f"s{i}": f"c{cluster}" for i, (_, cluster) in enumerate(rows)}
        run = make_evidence({f"s{i}": value for i, (value, _) in enumerate(rows)}, clusters=clusters)
        return ask(make_gate(run, SAFE | {"max_failures": most, "n_min": 14}), run).metrics[0]

    position = data.draw(st.integers(0, len(rows) - 1))
    worse = data.draw(st.sampled_from([0.0, "system", "missing"]))
    order = ["pass", "inconclusive", "fail", "invalid"]
    before, after = judged(rows), judged([*rows[:position], (worse, rows[position][1]), *rows[position + 1 :]])
    more = judged([*rows, (worse, 3)])
    assert after.failures >= before.failures
    assert after.upper >= before.upper - 1e-8
    assert order.index(after.verdict) >= order.index(before.verdict)
    assert not (before.verdict == "fail" and more.verdict == "pass")
    assert all(a.failures <= b.failures for a, b in pairwise([before, more]))
