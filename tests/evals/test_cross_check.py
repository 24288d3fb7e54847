import pytest

from evals.cross_check import cross_checks

TWO = {"scorers": [{"name": "exact"}, {"name": "f1"}]}


def both(make_evidence, fell: int, rose: int, same: int, **about):
    start = [1.0] * fell + [0.0] * rose + [1.0] * same
    end = [0.0] * fell + [1.0] * rose + [1.0] * same
    keys = [f"s{i:03}" for i in range(len(start))]
    ours, theirs = (dict(zip(keys, values, strict=True)) for values in (end, start))
    return make_evidence(ours, **about), make_evidence(theirs, release="faq@1", **about)


def test_the_reference_values(make_evidence) -> None:
    (found,) = cross_checks(*both(make_evidence, 12, 8, 180), ["exact"], margin=0.06)
    assert found.mcnemar == pytest.approx(0.503, abs=5e-4)
    assert found.noninferior == pytest.approx(0.03765, abs=1e-5)
    assert found.equivalent == pytest.approx(0.03765, abs=1e-5), "the lower side decides"
    assert found.flips == (12, 8)
    assert found.t is not None
    assert found.t.mean == pytest.approx(-0.02)
    assert found.t.p == pytest.approx(0.37, abs=0.01)
    assert found.rates is not None
    assert found.rates["candidate"] == pytest.approx((0.94, 0.8981, 0.9653), abs=1e-4)
    assert (found.holm, found.tested, found.cautions) == (found.mcnemar, 1, ())


def test_identical_runs_have_nothing_to_test(make_evidence) -> None:
    (found,) = cross_checks(*both(make_evidence, 0, 0, 50), ["exact"], margin=0.06)
    assert (found.mcnemar, found.t, found.noninferior, found.equivalent, found.holm) == (None,) * 5
    assert found.rates is not None
    assert found.rates["candidate"][1] < 1.0, "a rate of 1 has an interval all the same"


def test_graded_scores_get_the_t_test(make_evidence) -> None:
    ours = make_evidence({f"s{i}": 0.5 + 0.01 * (i % 7) for i in range(40)})
    theirs = make_evidence({f"s{i}": 0.5 for i in range(40)}, release="faq@1")
    (found,) = cross_checks(ours, theirs, ["exact"])
    assert (found.flips, found.rates, found.mcnemar) == (None, None, None)
    assert found.p == found.t.p < 1e-6  # type: ignore[union-attr]
    assert (found.noninferior, found.equivalent) == (None, None)


def test_metrics_are_adjusted_together(make_evidence) -> None:
    pair = both(make_evidence, 12, 2, 86)
    one, same = cross_checks(*pair, ["exact", "exact"])
    assert one.holm == same.holm == pytest.approx(2 * one.mcnemar)  # type: ignore[operator]
    assert one.tested == 2


def test_what_is_missing_is_left_out_and_said(make_evidence) -> None:
    ours = make_evidence({"a": 1.0, "b": "missing", "c": 0.0, "d": "system"})
    theirs = make_evidence({"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0}, release="faq@1")
    (found,) = cross_checks(ours, theirs, ["exact"])
    assert (found.samples, found.flips) == (3, (2, 1))
    assert found.cautions == ("1 samples without both scores are left out",)


def test_clusters_are_a_caution(make_evidence) -> None:
    pair = both(make_evidence, 3, 1, 20, clusters={f"s{i:03}": f"c{i // 2}" for i in range(24)})
    (found,) = cross_checks(*pair, ["exact"])
    assert "stand in 12 clusters" in found.cautions[0]
    assert found.as_values()["flips"] == [3, 1] or found.as_values()["flips"] == (3, 1)
