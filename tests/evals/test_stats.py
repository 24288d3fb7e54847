import math
import random

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from statsmodels.stats.power import TTestPower

from evals.stats import (
    Cluster,
    Design,
    detectable,
    lower_bound,
    mean,
    power,
    samples_needed,
    spread,
    standard_error,
    tail,
    upper_bound,
)
from tests.drawing import often

ALPHA = 0.05
REPEATS = often(1000, thorough=4000)


def singles(values) -> list[Cluster]:
    return [Cluster(float(value), 1) for value in values]


clusters_of_differences = st.lists(
    st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(-2 * n, 2 * n), st.just(n))), min_size=1, max_size=25
).map(lambda pairs: [Cluster(half / 2, size) for half, size in pairs])


# The bound against what is known about it


@pytest.mark.parametrize(("bad", "count"), [(0, 40), (3, 40), (12, 500), (1, 2), (0, 2), (5, 5000), (39, 40)])
def test_on_best_and_worst_values_the_bound_is_clopper_and_pearsons(bad: int, count: int) -> None:
    clusters = singles([-1.0] * bad + [0.0] * (count - bad))
    expected = -beta.ppf(1 - ALPHA, bad + 1, count - bad)
    assert lower_bound(clusters, worst=-1.0, alpha=ALPHA) == pytest.approx(expected, abs=2e-9)


def test_clopper_pearson_ten_of_ten() -> None:
    assert lower_bound(singles([1.0] * 10), worst=0.0, alpha=0.025) == pytest.approx(0.6915, abs=5e-5)


def test_no_change_in_any_cluster_is_about_minus_three_over_the_number_of_clusters() -> None:
    for size in (1, 4):
        clusters = [Cluster(0.0, size)] * 300
        assert lower_bound(clusters, worst=-1.0, alpha=ALPHA) == pytest.approx(-(1 - ALPHA ** (1 / 300)), abs=1e-9)


def test_the_bound_is_the_quantile_of_the_weighted_clusters() -> None:
    generator = np.random.default_rng(7)
    sizes = generator.integers(1, 9, 30)
    clusters = [Cluster(float(generator.uniform(-1, 1) * size), int(size)) for size in sizes]
    totals = np.array([c.total for c in clusters] + [-8.0])
    counts = np.array([c.size for c in clusters] + [8.0])
    weights = generator.exponential(size=(200_000, 31))
    drawn = (weights @ totals) / (weights @ counts)
    found = lower_bound(clusters, worst=-1.0, alpha=ALPHA)
    assert np.mean(drawn <= found) == pytest.approx(ALPHA, abs=4 * math.sqrt(ALPHA * 0.95 / 200_000))


def test_with_many_clusters_the_bound_is_the_cluster_robust_one_of_statsmodels() -> None:
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(2000), 3)
    values = np.clip(generator.normal(0, 0.2, 2000)[groups] + generator.normal(0, 0.2, 6000), -1, 1)
    fit = sm.OLS(values, np.ones(6000)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    clusters = [Cluster(float(values[groups == g].sum()), 3) for g in range(2000)]
    assert standard_error(clusters) == pytest.approx(float(fit.bse[0]), rel=1e-9)
    low, high = fit.conf_int(2 * ALPHA)[0]
    assert lower_bound(clusters, worst=-1.0, alpha=ALPHA) == pytest.approx(low, abs=0.08 * (high - low))
    assert upper_bound(clusters, best=1.0, alpha=ALPHA) == pytest.approx(high, abs=0.08 * (high - low))


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.001])
@pytest.mark.parametrize(
    ("bad", "count"), [(0, 5000), (1, 5000), (0, 20_000), (0, 100_000), (1, 100_000), (5, 100_000)]
)
def test_it_is_so_however_many_samples_agree(bad: int, count: int, alpha: float) -> None:
    clusters = singles([-1.0] * bad + [0.0] * (count - bad))
    expected = -beta.ppf(1 - alpha, bad + 1, count - bad)
    assert lower_bound(clusters, worst=-1.0, alpha=alpha) == pytest.approx(expected, rel=0, abs=1e-9)


def test_a_hundred_thousand_different_values_take_no_time_and_give_the_normal_bound() -> None:
    generator = np.random.default_rng(11)
    values = np.clip(generator.normal(0.0, 0.3, 100_000), -1, 1)
    clusters = singles(values)
    found = lower_bound(clusters, worst=-1.0, alpha=ALPHA)
    assert found == pytest.approx(mean(clusters) - 1.6449 * standard_error(clusters), abs=2.5e-5)
    lower = lower_bound(clusters, worst=-1.0, alpha=0.0001)
    assert lower == pytest.approx(mean(clusters) - 3.719 * standard_error(clusters), abs=2e-4)


def test_noninferiority_reference_values() -> None:
    # 180 ties, 8 better, 12 worse: the t bound is -.05697; the exact one lies a little below it.
    found = lower_bound(singles([0.0] * 180 + [1.0] * 8 + [-1.0] * 12), worst=-1.0, alpha=ALPHA)
    assert -0.0680 < found < -0.05697


@pytest.mark.parametrize("total", [-1.0, -0.9999999999999996, -1 + 1e-12])
def test_what_cannot_be_told_from_the_worst_is_the_worst(total: float) -> None:
    assert lower_bound([Cluster(total, 1)] * 3, worst=-1.0, alpha=ALPHA) == -1.0


@given(clusters_of_differences, st.data())
@settings(deadline=None)
def test_the_bound_rises_with_every_value(clusters: list[Cluster], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(clusters) - 1))
    old = clusters[position]
    lowered = data.draw(st.floats(-old.size, old.total))
    changed = [*clusters[:position], Cluster(lowered, old.size), *clusters[position + 1 :]]
    assert lower_bound(changed, worst=-1.0, alpha=ALPHA) <= lower_bound(clusters, worst=-1.0, alpha=ALPHA) + 1e-8


@given(clusters_of_differences)
@settings(deadline=None)
def test_bounds_enclose_the_estimate_and_stay_in_range(clusters: list[Cluster]) -> None:
    low, high = lower_bound(clusters, worst=-1.0, alpha=ALPHA), upper_bound(clusters, best=1.0, alpha=ALPHA)
    assert -1.0 <= low <= mean(clusters) + 1e-8
    assert mean(clusters) - 1e-8 <= high <= 1.0


@given(clusters_of_differences, st.randoms())
@settings(deadline=None)
def test_the_order_of_clusters_does_not_matter(clusters: list[Cluster], shuffle: random.Random) -> None:
    other = list(clusters)
    shuffle.shuffle(other)
    assert lower_bound(other, worst=-1.0, alpha=ALPHA) == lower_bound(clusters, worst=-1.0, alpha=ALPHA)


@given(clusters_of_differences, st.floats(-0.9, 0.9))
@settings(deadline=None)
def test_tail_is_the_p_value_of_the_bound(clusters: list[Cluster], at: float) -> None:
    bound = lower_bound(clusters, worst=-1.0, alpha=ALPHA)
    if abs(bound - at) > 1e-6:
        assert (tail(clusters, at=at, worst=-1.0) <= ALPHA) == (bound > at)


def test_nothing_is_known_without_clusters() -> None:
    assert lower_bound([], worst=-1.0, alpha=ALPHA) == -1.0
    assert upper_bound([], best=1.0, alpha=ALPHA) == 1.0


def test_hundreds_of_distinct_values_are_no_burden() -> None:
    generator = np.random.default_rng(0)
    clusters = singles(generator.uniform(-0.5, 0.5, 3000))
    expected = mean(clusters) - 1.6454 * standard_error(clusters)
    assert lower_bound(clusters, worst=-1.0, alpha=ALPHA) == pytest.approx(expected, abs=0.001)


# Error rates, by simulation


def independent(generator, count, worse, better):
    counts = generator.multinomial(count, [worse, better, 1 - worse - better])
    return singles([-1.0] * counts[0] + [1.0] * counts[1] + [0.0] * counts[2])


def clustered(generator, count, size, worse, better, shared):
    odds = [worse, better, 1 - worse - better]
    own = generator.choice([-1.0, 1.0, 0.0], p=odds, size=(count, size))
    together = generator.choice([-1.0, 1.0, 0.0], p=odds, size=(count, 1))
    values = np.where(generator.random((count, size)) < shared, together, own)
    return [Cluster(float(total), size) for total in values.sum(axis=1)]


def uneven(generator, count, worse, better):
    """Clusters of 1 to 8 samples, each of which answers alike."""
    sizes = generator.integers(1, 9, count)
    values = generator.choice([-1.0, 1.0, 0.0], p=[worse, better, 1 - worse - better], size=count)
    return [Cluster(float(v * s), int(s)) for v, s in zip(values, sizes, strict=True)]


def graded(generator, count, margin):
    """Scores between: a drop that is spread over all samples."""
    return singles(np.clip(generator.normal(-margin, 0.2, count), -1, 1))


AT_THE_MARGIN = {
    "independent": (lambda g: independent(g, 300, 0.07, 0.03), 0.04),
    "small": (lambda g: independent(g, 40, 0.15, 0.05), 0.10),
    "tied": (lambda g: independent(g, 380, 0.04, 0.0), 0.04),
    "tied and small": (lambda g: independent(g, 40, 0.10, 0.0), 0.10),
    "tied and many": (lambda g: independent(g, 1500, 0.04, 0.0), 0.04),
    "clustered": (lambda g: clustered(g, 180, 10, 0.12, 0.08, 0.45), 0.04),
    "clustered and few": (lambda g: clustered(g, 30, 6, 0.20, 0.08, 0.45), 0.12),
    "uneven clusters": (lambda g: uneven(g, 120, 0.14, 0.06), 0.08),
    "graded": (lambda g: graded(g, 100, 0.05), 0.05),
}


@pytest.mark.parametrize("name", AT_THE_MARGIN)
def test_a_release_worse_by_the_margin_passes_no_more_often_than_alpha(name: str) -> None:
    draw, margin = AT_THE_MARGIN[name]
    generator = np.random.default_rng(20)
    passed = sum(tail(draw(generator), at=-margin, worst=-1.0) <= ALPHA for _ in range(REPEATS))
    assert passed / REPEATS <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPEATS)


PLANNED = {
    "independent": (lambda g: independent(g, 400, 0.05, 0.05), Design(400, 400, 1, 0.1**0.5, 1.0, ALPHA), 0.05),
    "many": (lambda g: independent(g, 1000, 0.05, 0.05), Design(1000, 1000, 1, 0.1**0.5, 1.0, ALPHA), 0.03),
    "clustered": (
        lambda g: clustered(g, 180, 10, 0.1, 0.1, 0.45),
        Design(1800, 180, 10, 0.2**0.5, 1 + 9 * 0.45**2, ALPHA),
        0.06,
    ),
    "small": (lambda g: independent(g, 60, 0.05, 0.05), Design(60, 60, 1, 0.1**0.5, 1.0, ALPHA), 0.12),
}


@pytest.mark.parametrize("name", PLANNED)
def test_the_planned_power_is_reached_at_no_difference(name: str) -> None:
    draw, design, margin = PLANNED[name]
    generator = np.random.default_rng(21)
    passed = sum(tail(draw(generator), at=-margin, worst=-1.0) <= ALPHA for _ in range(REPEATS)) / REPEATS
    planned = power(design, margin)
    error = math.sqrt(planned * (1 - planned) / REPEATS)
    assert planned - 3 * error <= passed <= planned + 3 * error + 0.03


# Planning


def test_samples_needed_is_the_smallest_size_with_the_power() -> None:
    design = Design(100, 100, 1, 0.3, 1.0, ALPHA)
    needed = samples_needed(design, 0.05, 0.8)
    assert needed is not None
    assert power(design.scaled(needed), 0.05) >= 0.8 > power(design.scaled(needed - 1), 0.05)
    # The unseen cluster makes it somewhat more than the t test's 223.
    student = TTestPower().solve_power(effect_size=0.05 / 0.3, alpha=ALPHA, power=0.8, alternative="larger")
    assert student == pytest.approx(223.7, abs=0.5)
    assert student < needed < 1.3 * student


def test_with_many_samples_the_plan_is_the_t_tests() -> None:
    design = Design(20_000, 20_000, 1, 0.3, 1.0, ALPHA)
    expected = TTestPower().power(0.006 / 0.3, 20_000, ALPHA, alternative="larger")
    assert power(design, 0.006) == pytest.approx(expected, abs=0.02)


def test_detectable_is_the_smallest_margin_with_the_power() -> None:
    design = Design(500, 100, 5, 0.3, 1.5, ALPHA)
    found = detectable(design, 0.8)
    assert found is not None
    assert power(design, found) >= 0.8 > power(design, found - 0.001)


def test_no_size_helps_without_room() -> None:
    assert samples_needed(Design(100, 100, 1, 0.3, 1.0, ALPHA), 0.0, 0.8) is None


def test_a_plan_on_one_cluster_has_no_power() -> None:
    assert power(Design(100, 1, 100, 0.3, 1.0, ALPHA), 0.5) == 0.0
    assert detectable(Design(100, 1, 100, 0.3, 1.0, ALPHA), 0.8) is None


# Description


def test_standard_error_reference_value() -> None:
    assert standard_error(singles(range(10))) == pytest.approx(0.957, abs=5e-4)


def test_standard_error_needs_two_clusters() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        standard_error([Cluster(1.0, 5)])


def test_spread_of_identical_members_has_the_cluster_size_as_design_effect() -> None:
    values = [0.0, 1.0] * 50
    clusters = [Cluster(4 * value, 4) for value in values]
    found = spread([value for value in values for _ in range(4)], clusters)
    assert found is not None
    assert found.sd == pytest.approx(0.5, abs=0.01)
    assert found.design_effect == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("clusters", [[], [Cluster(1.0, 3)], singles([0.0, 0.0])])
def test_no_spread_without_variation(clusters: list[Cluster]) -> None:
    values = [c.total / c.size for c in clusters for _ in range(c.size)]
    assert spread(values, clusters) is None
