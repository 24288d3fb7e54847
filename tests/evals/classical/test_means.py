import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import DescrStatsW

from evals import stats
from evals.classical.means import MeanTest, clustered

PAIRED = [0.0] * 180 + [1.0] * 8 + [-1.0] * 12


def alone(values) -> MeanTest:
    found = clustered(values, range(len(values)))
    assert found is not None
    return found


def test_the_standard_error_of_ten_numbers() -> None:
    assert alone(range(10)).error == pytest.approx(0.957, abs=5e-4)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227)]
)
def test_the_quantiles_are_students(freedom: int, quantile: float) -> None:
    low, high = MeanTest(0.0, 1.0, freedom).interval()
    assert (low, high) == pytest.approx((-quantile, quantile), abs=5e-5)


def test_noninferiority_reference_values() -> None:
    found = alone(PAIRED)
    assert (found.mean + 0.06) / found.error == pytest.approx(1.78796, abs=1e-5)
    assert found.above(-0.06) == pytest.approx(0.03765, abs=1e-5)
    assert found.interval(confidence=0.90).lower == pytest.approx(-0.05697, abs=1e-5)


def test_clusters_of_one_are_the_paired_t_test_and_two_one_sided_ones() -> None:
    values = np.random.default_rng(2).normal(0.02, 0.2, 60)
    found = alone(values)
    wanted = ttest_1samp(values, -0.05, alternative="greater")
    assert found.above(-0.05) == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.interval() == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval()), rel=1e-9)
    assert found.differs() == pytest.approx(ttest_1samp(values, 0).pvalue, rel=1e-9)
    assert found.equivalent(0.05) == pytest.approx(DescrStatsW(values).ttost_mean(-0.05, 0.05)[0], rel=1e-9)


def test_the_error_is_the_one_that_a_run_shows() -> None:
    generator = np.random.default_rng(1)
    keys = [f"c{k}" for k in generator.integers(0, 30, 200)]
    values = generator.uniform(-1, 1, 200)
    found = clustered(values, keys)
    assert found is not None
    assert found.error == pytest.approx(stats.standard_error(stats.grouped(keys, values)), rel=1e-9)
    assert found.freedom == len(set(keys)) - 1


def test_without_use_t_statsmodels_takes_the_normal_quantile() -> None:
    generator = np.random.default_rng(3)
    groups, values = np.repeat(np.arange(10), 4), generator.normal(size=40)
    fit = OLS(values, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    low, high = fit.conf_int()[0]
    found = clustered(values, list(groups))
    assert found is not None
    ours = found.interval()
    assert (ours.upper - ours.lower) / (high - low) == pytest.approx(2.26216 / 1.95996, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ([], []),
        ([1.0], ["a"]),
        ([0.0, 1.0], ["a", "a"]),
        ([0.0] * 50, list(range(50))),
        ([1.0] * 50, list(range(50))),
        ([0.0, 1.0, 1.0, 0.0], ["a", "a", "b", "b"]),
    ],
)
def test_what_has_no_noise_is_unknown(values: list[float], keys: list) -> None:
    assert clustered(values, keys) is None


def test_every_value_has_a_cluster() -> None:
    with pytest.raises(ValueError, match="one cluster for each value"):
        clustered([1.0, 2.0], ["a"])


def test_coverage_with_clusters_and_where_it_ends() -> None:
    """Forty clusters of ten, ICC 0.2: right. The same without clusters: wrong. Twenty rare flips: wrong as well."""
    generator = np.random.default_rng(8)
    keys = np.repeat(np.arange(40), 10)
    covered = naive = 0
    for _ in range(400):
        values = generator.normal(0, math.sqrt(0.2), 40)[keys] + generator.normal(0, math.sqrt(0.8), 400)
        found = stats.grouped([f"{k:02}" for k in keys], values)
        error = stats.standard_error(found)
        low, high = MeanTest(stats.mean(found), error, 39).interval()
        covered += low <= 0.0 <= high
        naive += abs(values.mean()) <= 1.966 * values.std(ddof=1) / 20
    assert abs(covered / 400 - 0.95) <= 3 * math.sqrt(0.05 * 0.95 / 400)
    assert naive / 400 < 0.85
