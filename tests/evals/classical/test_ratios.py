import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.classical.ratios import RESAMPLES, Ratio, expanded, least_clusters, of_means, of_quantiles


def ones(values):
    return [(float(value), 1.0) for value in values]


def test_the_ratio_of_means_is_that_of_the_sums() -> None:
    found = of_means([(6.0, 2), (3.0, 1), (1.0, 1)], [(2.0, 2), (2.0, 1), (2.0, 1)], alpha=0.05)
    assert found.candidate == pytest.approx(10 / 4)
    assert found.baseline == pytest.approx(6 / 4)
    assert found.estimate == pytest.approx(10 / 6)
    assert found.lower <= found.estimate <= found.upper


def test_a_ratio_of_means_is_as_wide_as_the_delta_method_says() -> None:
    rng = np.random.default_rng(3)
    theirs = rng.lognormal(0, 0.5, 2000)
    ours = theirs * rng.lognormal(0.0, 0.3, 2000)
    found = of_means(ones(ours), ones(theirs), alpha=0.05)
    ratio = ours.mean() / theirs.mean()
    error = (ours - ratio * theirs).std(ddof=1) / math.sqrt(2000) / theirs.mean()
    assert found.lower == pytest.approx(ratio - 1.645 * error, abs=0.1 * error)
    assert found.upper == pytest.approx(ratio + 1.645 * error, abs=0.2 * error)


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(4)
    effects = rng.lognormal(0, 0.3, 60)
    single = of_means(ones(np.repeat(effects, 10)), ones([1.0] * 600), alpha=0.05)
    whole = of_means([(10 * e, 10.0) for e in effects], [(10.0, 10.0)] * 60, alpha=0.05)
    assert single.estimate == pytest.approx(whole.estimate)
    assert (whole.upper - whole.lower) > 2.5 * (single.upper - single.lower)


def test_where_nothing_differs_the_bounds_have_no_width_and_say_so() -> None:
    assert of_means(ones([5.0] * 30), ones([5.0] * 30), alpha=0.05) == Ratio(1.0, 1.0, 1.0, 5.0, 5.0, True)
    sizes = [1.0] * 29 + [4.0]
    found = of_means(ones([2 * size for size in sizes]), ones(sizes), alpha=0.05)
    assert (found.same, found.lower, found.upper) == (True, pytest.approx(2.0), pytest.approx(2.0))
    assert not of_means(ones([1.01, *sizes[1:]]), ones(sizes), alpha=0.05).same


def test_one_cluster_has_no_bounds() -> None:
    assert of_means([(3.0, 2.0)], [(1.0, 1.0)], alpha=0.05) == Ratio(1.5, None, None, 1.5, 1.0)
    assert of_quantiles([[3.0, 1.0]], [[1.0]], 0.95, alpha=0.05) == Ratio(3.0, None, None, 3.0, 1.0)


def test_a_count_of_zero_is_an_infinite_ratio_and_a_sum_of_zero_below_is_none() -> None:
    found = of_means([(1.0, 0.0)] * 30, [(1.0, 1.0)] * 30, alpha=0.05)
    assert (found.estimate, found.lower, found.candidate) == (math.inf, math.inf, math.inf)
    assert of_means(ones([1.0] * 9), ones([0.0] * 9), alpha=0.05) == Ratio(None, None, None, 1.0, 0.0)


def test_a_quantile_is_the_inverse_of_the_distribution_function() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.lognormal(0, 1, (50, 3)), rng.lognormal(0, 1, (50, 2))
    for level in (0.5, 0.95):
        found = of_quantiles(ours, theirs, level, alpha=0.05)
        assert found.candidate == pytest.approx(np.quantile(ours, level, method="inverted_cdf"))
        assert found.baseline == pytest.approx(np.quantile(theirs, level, method="inverted_cdf"))
        assert found.lower <= found.estimate <= found.upper


def test_infinite_values_reach_a_quantile_only_when_they_are_many() -> None:
    few, many = [[1.0]] * 98 + [[math.inf]] * 2, [[1.0]] * 60 + [[math.inf]] * 40
    assert of_quantiles(few, [[1.0]] * 100, 0.5, alpha=0.05) == Ratio(1.0, 1.0, 1.0, 1.0, 1.0)
    found = of_quantiles(many, [[1.0]] * 100, 0.95, alpha=0.05)
    assert (found.estimate, found.lower, found.upper) == (math.inf, math.inf, math.inf)


def test_how_many_clusters_a_quantile_takes() -> None:
    assert [least_clusters(level, 0.05) for level in (0.5, 0.95, 0.99)] == [5, 59, 299]


@pytest.mark.parametrize(("clusters", "most"), [(20, 0.10), (80, 0.10)])
def test_the_upper_bound_of_a_mean_misses_about_as_often_as_it_says(clusters: int, most: float) -> None:
    rng, missed, runs = np.random.default_rng(7), 0, 150
    for _ in range(runs):
        size = rng.lognormal(0, 0.8, clusters)
        ours, theirs = (size * rng.lognormal(0, 0.3, clusters) for _ in range(2))
        missed += of_means(ones(ours), ones(theirs), alpha=0.05).upper < 1.0
    assert missed / runs < most


def test_the_upper_bound_of_a_quantile_misses_about_as_often_as_it_says() -> None:
    rng, missed, runs = np.random.default_rng(8), 0, 100
    for _ in range(runs):
        theirs = rng.lognormal(0, 0.8, (100, 1))
        ours = rng.lognormal(0, 0.8, (100, 1))
        missed += of_quantiles(ours, theirs, 0.95, alpha=0.05).upper < 1.0
    assert missed / runs < 0.09


def test_the_resamples_are_enough_for_the_tail() -> None:
    assert RESAMPLES * 0.05 >= 200


def test_a_bound_is_expanded_the_more_the_fewer_clusters_there_are() -> None:
    assert expanded(0.05, 100_000) == pytest.approx(0.05, abs=1e-4)
    assert expanded(0.05, 20) == pytest.approx(0.0380, abs=5e-4)
    assert expanded(0.05, 2) < expanded(0.05, 20)


@given(
    st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=3, max_size=12),
    st.data(),
    st.floats(0.01, 100),
)
@settings(deadline=None, max_examples=40)
def test_no_answer_that_got_worse_lowers_a_bound(rows: list[tuple[float, float]], data, more: float) -> None:
    position = data.draw(st.integers(0, len(rows) - 1))
    ours, theirs = [list(side) for side in zip(*rows, strict=True)]
    slower = [value + more * (i == position) for i, value in enumerate(ours)]
    cases = [
        [of_quantiles([[v] for v in side], [[v] for v in theirs], 0.5, alpha=0.05) for side in (ours, slower)],
        [of_means(ones(side), ones(theirs), alpha=0.05) for side in (ours, slower)],
    ]
    fewer = [(value, float(i != position)) for i, value in enumerate(ours)]
    cases.append([of_means(one, ones(theirs), alpha=0.05) for one in (ones(ours), fewer)])
    for before, after in cases:
        assert after.upper >= before.upper - 1e-9
        assert after.lower >= before.lower - 1e-9
        assert after.estimate >= before.estimate - 1e-9


@pytest.mark.parametrize("share", [2, 3, 10])
def test_the_worst_over_the_unknown_is_infinite_without_an_overflow(share: int) -> None:
    """Every warning fails a test here; the bootstrap squares what it draws."""
    ours = [[math.inf if number % share else 1.0] for number in range(60)]
    theirs = [[0.0 if number % share else 1.0] for number in range(60)]
    assert of_quantiles(ours, theirs, 0.5, alpha=0.05).upper == math.inf
    costs, fine = [(1e15, 0.0)] * 60, [(0.0 if number % share else 1e-9, 1.0) for number in range(60)]
    assert of_means(costs, fine, alpha=0.05).upper == math.inf
