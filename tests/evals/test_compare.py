from decimal import Decimal

import pytest
import statsmodels.api as sm

from evals.compare import absolute, account, p_not_worse, paired, shape, slices
from evals.decision import Slice

ALPHA = 0.05


def test_pairs_are_made_by_id_not_by_position(make_evidence) -> None:
    candidate = make_evidence({"a": 1.0, "b": 0.0, "c": 1.0}, reverse=True)
    baseline = make_evidence({"a": 1.0, "b": 1.0, "c": 0.0}, release="faq@1")
    found = paired(candidate, baseline, "exact", alpha=ALPHA)
    assert found is not None
    assert found.estimate == 0.0
    assert found.flips.regressed == ("b",)
    assert found.flips.improved == ("c",)


def test_a_missing_candidate_counts_as_zero_below_and_as_one_above(make_evidence) -> None:
    baseline = make_evidence({"a": 1.0, "b": 1.0}, release="faq@1")
    found = paired(make_evidence({"a": 1.0, "b": "missing"}), baseline, "exact", alpha=ALPHA)
    worst = paired(make_evidence({"a": 1.0, "b": 0.0}), baseline, "exact", alpha=ALPHA)
    best = paired(make_evidence({"a": 1.0, "b": 1.0}), baseline, "exact", alpha=ALPHA)
    assert found is not None
    assert worst is not None
    assert best is not None
    assert (found.estimate, found.lower, found.upper) == (worst.estimate, worst.lower, best.upper)
    assert (found.missing_candidate, found.missing_baseline) == (1, 0)
    assert found.flips.regressed == ()


@pytest.mark.parametrize("failure", ["missing", "system"])
def test_a_baseline_that_failed_makes_no_room_for_a_worse_candidate(make_evidence, failure: str) -> None:
    candidate = make_evidence({"a": 1.0, "b": 0.0})
    found = paired(candidate, make_evidence({"a": 1.0, "b": failure}, release="faq@1"), "exact", alpha=ALPHA)
    known = paired(candidate, make_evidence({"a": 1.0, "b": 1.0}, release="faq@1"), "exact", alpha=ALPHA)
    assert found is not None
    assert known is not None
    assert found.lower == known.lower
    assert found.missing_baseline == 1
    assert found.baseline_score == 1.0


def test_a_sample_that_one_run_lacks_is_missing_not_dropped(make_evidence) -> None:
    found = paired(make_evidence({"a": 1.0}), make_evidence({"a": 1.0, "b": 0.0}), "exact", alpha=ALPHA)
    assert found is not None
    assert (found.samples, found.missing_candidate, found.estimate) == (2, 1, 0.0)


def test_spread_is_the_cluster_robust_one(make_evidence) -> None:
    scores = {f"s{i}": float(i % 3 == 0) for i in range(60)}
    clusters = {f"s{i}": f"c{i // 6}" for i in range(60)}
    found = absolute(make_evidence(scores, clusters=clusters), "exact", alpha=ALPHA)
    assert found is not None
    assert found.spread is not None
    values, groups = [scores[f"s{i}"] for i in range(60)], [i // 6 for i in range(60)]
    fit = sm.OLS(values, [1.0] * 60).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    robust = found.spread.sd * (found.spread.design_effect / 60) ** 0.5
    assert robust == pytest.approx(float(fit.bse[0]), abs=1e-12)
    assert (found.samples, found.clusters, found.largest) == (60, 10, 6)


def test_only_the_samples_of_a_tag(make_evidence) -> None:
    run = make_evidence({"a": 1.0, "b": 0.0}, tags={"a": ["plans"]})
    found = absolute(run, "exact", alpha=ALPHA, tag="plans")
    assert found is not None
    assert (found.estimate, found.samples) == (1.0, 1)
    assert absolute(run, "exact", alpha=ALPHA, tag="none such") is None


def test_slices_give_estimates_and_counts(make_evidence) -> None:
    tags = {"a": ["x", "y"], "b": ["y"]}
    candidate = make_evidence({"a": 1.0, "b": 0.0}, tags=tags)
    baseline = make_evidence({"a": 1.0, "b": 1.0}, tags=tags, release="faq@1")
    assert slices(candidate, None, ["exact", "exact"]) == (Slice("exact", "x", 1, 1.0), Slice("exact", "y", 2, 0.5))
    assert slices(candidate, baseline, ["exact"]) == (Slice("exact", "x", 1, 0.0), Slice("exact", "y", 2, -0.5))


def test_shape_counts_samples_and_clusters() -> None:
    assert shape(["a", "b", "a", "a"]) == (4, 2, 3)
    assert shape([]) == (0, 0, 0)


def test_the_account_adds_up_exactly(make_evidence) -> None:
    found = account(make_evidence({"a": 1.0, "b": 0.0, "c": "system", "d": "missing"}))
    assert found.outcomes == {"scored": 2, "system_error": 1, "harness_error": 1}
    assert found.failures == {"server_error": 1, "timeout": 1}
    assert (found.input_tokens, found.output_tokens) == (30, 15)
    assert found.cost == Decimal("0.003")
    assert found.uncosted == 0


def test_the_p_value_of_not_worse_is_below_alpha_where_the_upper_bound_is_below_zero(make_evidence) -> None:
    theirs = make_evidence({f"s{i:02}": 1.0 for i in range(40)}, release="faq@1")
    for wrong in range(9):
        ours = make_evidence({f"s{i:02}": float(i >= wrong) for i in range(40)})
        p = p_not_worse(ours, theirs, "exact")
        assert p == pytest.approx(0.5**wrong, abs=1e-9)  # the sign test, where nothing rose
        assert (p < 0.05) == (paired(ours, theirs, "exact", alpha=0.05).upper < 0)
    with pytest.raises(ValueError, match="a sample with the tag 'nowhere', found none"):
        p_not_worse(theirs, theirs, "exact", "nowhere")
