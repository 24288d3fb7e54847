from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evals.condition_config import (
    QUANTITIES,
    GoldenConfig,
    MetricConfig,
    SliceConfig,
    WaiverConfig,
    labelled,
    shows_something,
)

SLICE = {"tags": ["lang:*", "plans"], "metrics": ["exact"], "margin": 0.05, "n_min": 60}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"test": "max_failures", "max_failures": 0}, "missing key 'n_min'"),
        ({"test": "max_failures", "n_min": 300}, "missing key 'max_failures'"),
        ({"test": "max_failures", "max_failures": 0, "n_min": 300, "margin": 0.1}, "'margin' does not belong"),
        ({"test": "ratio"}, "missing key 'max_ratio'"),
        ({"test": "ratio", "max_ratio": 1.1}, "expected a measured quantity .*latency_p95.*found 'exact'"),
        ({"test": "ratio", "metric": "cost_per_ok", "max_ratio": 1.1}, "cost_per_ok needs it"),
        ({"test": "ratio", "metric": "cost_mean", "max_ratio": 1.1, "of": "exact"}, "nothing else has it"),
        ({"test": "ratio", "metric": "cost_mean", "max_ratio": 1.1, "below": 0.5}, "ratio without `of`"),
        ({"test": "ratio", "metric": "cost_mean", "max_ratio": 1.1, "max_failures": 1}, "does not belong"),
        ({"test": "noninferior", "margin": 0.1, "below": 0.5}, "'below' does not belong"),
        ({"test": "absolute", "at_least": 0.1, "max_rise": 0.5}, "'max_rise' does not belong"),
        ({"test": "golden", "max_regressed": 0}, "missing key 'tag'"),
        ({"test": "absolute", "at_least": 0.5, "tier": "blocking"}, "tier"),
    ],
)
def test_half_a_condition_is_refused(keys: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        MetricConfig.model_validate({"metric": "exact"} | keys)


@pytest.mark.parametrize("key", ["planned_design_effect", "n_min", "max_failures", "max_regressed"])
def test_numbers_that_no_plan_and_no_verdict_can_hold_are_refused_by_their_key(key: str) -> None:
    wrong = float("inf") if key == "planned_design_effect" else 10**20
    with pytest.raises(ValueError, match=key):
        MetricConfig(metric="exact", test="max_failures", **{"max_failures": 0, "n_min": 300, key: wrong})


@pytest.mark.parametrize("metric", [name for name in QUANTITIES if name != "cost_per_ok"])
def test_a_ratio_is_about_a_quantity_and_reads_no_score(metric: str) -> None:
    condition = MetricConfig(metric=metric, test="ratio", max_ratio=1.1, tag="plans")
    assert (condition.label, condition.score, condition.compares) == (f"{metric}[plans]", None, True)


def test_cost_per_ok_reads_the_score_that_it_names() -> None:
    condition = MetricConfig(metric="cost_per_ok", test="ratio", max_ratio=1.1, of="exact", below=0.7)
    assert (condition.score, condition.passing) == ("exact", 0.7)
    assert MetricConfig(metric="exact", test="max_failures", max_failures=0, n_min=300).passing == 1.0


def test_a_tag_shows_in_the_label() -> None:
    assert (labelled("exact", "plans"), labelled("exact", None)) == ("exact[plans]", "exact")


@given(st.integers(1, 400), st.integers(0, 200), st.sampled_from([0.01, 0.05, 0.2]))
def test_what_a_count_shows_is_a_binomial_tail(samples: int, failures: int, alpha: float) -> None:
    tail = float(binom.cdf(failures, samples, 0.5))
    if abs(tail - alpha) > 1e-9:
        assert shows_something(failures, samples, alpha) == (tail <= alpha)


@pytest.mark.parametrize(("failures", "expected"), [(0, True), (40_000, True), (49_990, False), (60_000, False)])
def test_what_a_count_shows_of_very_many_samples(failures: int, expected: bool) -> None:
    assert shows_something(failures, 100_000, 0.05) is expected


def test_tags_are_meant_by_name_or_by_their_beginning() -> None:
    entry = SliceConfig.model_validate(SLICE)
    assert entry.matching(["lang:de", "lang:en", "plans", "plansx", "other"]) == (["lang:de", "lang:en", "plans"], [])
    assert entry.matching(["lang:de", "other"]) == (["lang:de"], ["plans"])
    assert SliceConfig.model_validate(SLICE | {"tags": ["*"]}).matching(["b", "a"]) == (["a", "b"], [])
    assert [entry.means(label) for label in ("exact[lang:fr]", "exact[other]", "exact", "f1[plans]")] == [
        True,
        False,
        False,
        False,
    ]


def test_a_star_in_the_middle_of_a_tag_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a `\*` at the end, found 'l\*g'"):
        SliceConfig.model_validate(SLICE | {"tags": ["l*g"]})


def test_golden_samples_are_a_condition_like_the_others() -> None:
    condition = GoldenConfig(metric="exact", owner="sales").condition()
    assert (condition.test, condition.label, condition.max_regressed) == ("golden", "exact[golden]", 0)
    assert (condition.owner, condition.tier, condition.compares) == ("sales", "critical", True)
    assert not GoldenConfig(metric="exact", at_least=0.6).condition().compares


@pytest.mark.parametrize("blank", ["owner", "reason"])
def test_a_waiver_that_says_nothing_is_none(blank: str) -> None:
    keys = {"metric": "exact", "owner": "ml", "reason": "known", "expires": "2026-12-31T00:00:00Z"}
    with pytest.raises(ValueError, match="it is blank"):
        WaiverConfig.model_validate({**keys, blank: " \t"})


@pytest.mark.parametrize("expires", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_waiver_ends_on_a_day_that_can_be_told_in_utc(expires: str) -> None:
    with pytest.raises(ValueError, match="between the years 1 and 9999 in UTC"):
        WaiverConfig(metric="exact", owner="ml", reason="why", expires=expires)


@pytest.mark.parametrize("missing", ["owner", "reason", "expires"])
def test_a_waiver_needs_somebody_a_reason_and_a_day(missing: str) -> None:
    keys = {"metric": "exact", "owner": "ml", "reason": "known", "expires": "2026-12-31T00:00:00Z"}
    assert WaiverConfig.model_validate(keys).expires == datetime(2026, 12, 31, tzinfo=UTC)
    for wrong in ({key: value for key, value in keys.items() if key != missing}, keys | {missing: ""}):
        with pytest.raises(ValueError, match=missing):
            WaiverConfig.model_validate(wrong)


def test_a_date_is_its_first_moment_in_utc_and_a_time_needs_its_offset() -> None:
    keys = {"metric": "exact", "owner": "ml", "reason": "known"}
    day = datetime(2026, 12, 31, tzinfo=UTC)
    assert WaiverConfig.model_validate(keys | {"expires": day.date()}).expires == day
    with pytest.raises(ValueError, match="timezone"):
        WaiverConfig.model_validate(keys | {"expires": datetime(2026, 12, 31)})  # noqa: DTZ001


def test_a_waiver_is_about_one_label_and_perhaps_one_test() -> None:
    floor = MetricConfig(metric="exact", test="absolute", at_least=0.5)
    keys = {"metric": "exact", "owner": "ml", "reason": "known", "expires": datetime(2026, 12, 31, tzinfo=UTC)}
    assert WaiverConfig(**keys).takes(floor)
    assert not WaiverConfig(**keys, test="noninferior").takes(floor)
    assert not WaiverConfig(**keys | {"metric": "exact[plans]"}).takes(floor)
