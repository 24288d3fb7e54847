import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as reference_kappa
from statsmodels.stats.proportion import proportion_confint

from evals.agreement import (
    Row,
    Units,
    alpha_interval,
    cohens_kappa,
    furthest,
    human_units,
    judge_units,
    kappa,
    krippendorffs_alpha,
    mean,
    quantile,
    share,
)

BINARY = (0.0, 1.0)


def rows(*pairs: tuple[float, float]) -> list[Row]:
    return [Row(label, said, said, f"s{at}") for at, (label, said) in enumerate(pairs)]


def same(label: float, verdict: float) -> bool:
    return label == verdict


def of_table(table: list[list[int]]) -> list[tuple[float, float]]:
    return [
        (float(label), float(said))
        for label, counts in enumerate(table)
        for said, count in enumerate(counts)
        for _ in range(count)
    ]


# Cohen's kappa


@pytest.mark.parametrize(("table", "expected"), [([[20, 5], [10, 15]], 0.4), ([[45, 15], [25, 15]], 0.1304)])
def test_kappa_of_published_tables(table: list[list[int]], expected: float) -> None:
    assert cohens_kappa(of_table(table)) == pytest.approx(expected, abs=5e-5)


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=4, max_size=4))
@settings(deadline=None)
def test_weighted_kappa_is_that_of_statsmodels(table: list[list[int]]) -> None:
    ours = cohens_kappa(of_table(table))
    if ours is not None:
        wanted = reference_kappa(table, weights=[0, 1, 2, 3], wt="quadratic", return_results=False)
        assert ours == pytest.approx(wanted, abs=1e-9)


def test_kappa_with_weights_is_that_of_repeated_rows() -> None:
    pairs = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)]
    assert cohens_kappa(pairs, [3, 2, 1]) == pytest.approx(cohens_kappa([pairs[0]] * 3 + [pairs[1]] * 2 + [pairs[2]]))


def test_kappa_says_nothing_where_chance_agrees_on_everything() -> None:
    assert cohens_kappa([(1.0, 1.0)] * 5) is None
    assert cohens_kappa([]) is None
    assert kappa(rows((1.0, 1.0)), BINARY, 0.025, random.Random(0)) is None


def test_perfect_agreement_on_few_samples_has_a_wide_interval() -> None:
    for count, least, most in ((10, 0.2, 0.6), (100, 0.9, 0.96)):
        found = kappa(rows(*[(float(i % 2),) * 2 for i in range(count)]), BINARY, 0.025, random.Random(0))
        assert found is not None
        assert (found.value, found.upper) == (1.0, 1.0)
        assert least < found.lower < most


def test_one_large_cluster_widens_the_interval() -> None:
    pairs = of_table([[20, 5], [5, 20]])
    apart = kappa(rows(*pairs), BINARY, 0.025, random.Random(0))
    together = [Row(a, b, b, f"c{at // 10}") for at, (a, b) in enumerate(pairs)]
    joined = kappa(together, BINARY, 0.025, random.Random(0))
    assert apart is not None
    assert joined is not None
    assert joined.value == apart.value
    assert joined.lower < apart.lower
    assert joined.upper > apart.upper


def test_the_bounds_of_kappa_cover() -> None:
    """Of 120 label sets of 60 from a judge with kappa 0.6, at most 1 in 20 has a lower bound above it."""
    rng, missed, sets = random.Random(5), 0, 120
    for _ in range(sets):
        pairs = []
        for _ in range(60):
            label = float(rng.random() < 0.5)
            pairs.append((label, label if rng.random() < 0.8 else 1 - label))
        found = kappa(rows(*pairs), BINARY, 0.05, rng, resamples=120)
        missed += found is not None and found.lower > 0.6
    assert missed / sets <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / sets)


@given(st.lists(st.tuples(st.sampled_from(BINARY), st.sampled_from(BINARY)), min_size=2, max_size=30), st.data())
@settings(deadline=None, max_examples=40)
def test_law_a_failure_never_helps(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    whole = rows(*pairs)
    at = data.draw(st.integers(0, len(pairs) - 1))
    label = whole[at].label
    failed = [*whole[:at], Row(label, 1 - label, label, whole[at].cluster), *whole[at + 1 :]]
    before, after = share(whole, same, 0.025), share(failed, same, 0.025)
    assert before is not None
    assert after is not None
    assert after.value <= before.value
    assert after.lower <= before.lower
    assert after.upper >= before.upper
    first, second = (kappa(one, BINARY, 0.025, random.Random(1), resamples=50) for one in (whole, failed))
    if first is not None and second is not None and second.value >= 0:
        assert second.value <= first.value + 1e-12


# Krippendorff's alpha


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([[0, 1], [0, 1], [1, 0], [1, 0]], -0.75),
        ([[1, 1, 0], [0, 0]], 1 / 3),
        ([[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 0]], 1 - 132 / 420),
    ],
)
def test_alpha_of_published_cases(units: list[list[float]], expected: float) -> None:
    assert krippendorffs_alpha(units, ordinal=False) == pytest.approx(expected)


def test_alpha_of_three_raters_of_whom_one_is_off_once() -> None:
    units = [[1, 1, 1]] * 3 + [[0, 0, 0]] * 3 + [[1, 1, 0]]
    # Coincidences: within the last unit 2 of 3 pairs differ; margins 11 and 10 of 21 ratings.
    observed, expected = 2 / 21, 2 * 11 * 10 / (21 * 20)
    assert krippendorffs_alpha(units, ordinal=False) == pytest.approx(1 - observed / expected)


def test_alpha_of_grades_counts_the_distance() -> None:
    near = [[0, 0], [0.25, 0.5], [0.5, 0.5], [1, 1]]
    far = [[0, 0], [0.25, 1], [0.5, 0.5], [1, 1]]
    assert krippendorffs_alpha(near, ordinal=True) > krippendorffs_alpha(far, ordinal=True)  # type: ignore[operator]


@pytest.mark.parametrize("units", [[], [[1.0]], [[1.0, 1.0]], [[0.0], [1.0]]])
def test_alpha_says_nothing_where_nothing_differs_or_compares(units: list[list[float]]) -> None:
    assert krippendorffs_alpha(units, ordinal=False) is None


def test_the_interval_of_alpha_is_never_a_point() -> None:
    whole = rows(*[(float(i % 2),) * 2 for i in range(50)])
    low, high = judge_units(whole, BINARY)
    found = alpha_interval(low, high, [r.cluster for r in whole], ordinal=False, alpha=0.025, rng=random.Random(0))
    assert found is not None
    assert (found.value, found.upper) == (1.0, 1.0)
    assert 0.75 < found.lower < 0.95


def test_a_failure_of_the_judge_widens_alpha_downwards() -> None:
    whole = rows(*[(float(i % 2),) * 2 for i in range(20)])
    failed = [Row(r.label, 1 - r.label, r.label, r.cluster) if at < 4 else r for at, r in enumerate(whole)]
    keys = [row.cluster for row in whole]
    found = alpha_interval(*judge_units(failed, BINARY), keys, ordinal=False, alpha=0.025, rng=random.Random(0))
    assert found is not None
    assert found.value < 0.7
    assert found.upper == 1.0


def test_people_are_compared_where_several_labelled() -> None:
    whole = [Row(1.0, 1.0, 1.0, "a", (1.0, 1.0, 0.0)), Row(0.0, 0.0, 0.0, "b"), Row(0.0, 0.0, 0.0, "c", (0.0, 0.0))]
    low, _ = human_units(whole, BINARY)
    assert low == Units([(1.0, 1.0, 0.0), (0.0, 0.0)], [(0.0, 1.0), (0.0, 1.0)])


# Shares


@pytest.mark.parametrize(("right", "of"), [(10, 10), (49, 50), (0, 7), (30, 60)])
def test_shares_have_the_exact_interval(right: int, of: int) -> None:
    found = share(rows(*[(1.0, float(i < right)) for i in range(of)]), same, 0.025)
    lower, upper = proportion_confint(right, of, method="beta")
    assert found is not None
    assert (found.value, found.samples) == (right / of, of)
    assert found.lower == pytest.approx(lower, abs=1e-6)
    assert found.upper == pytest.approx(upper, abs=1e-6)


def test_nothing_has_no_share() -> None:
    assert share([], same, 0.025) is None
    assert mean([], [], [], 0.025) is None


def test_a_mean_lies_between_its_bounds() -> None:
    found = mean([0.0, 1.0, 0.5], [1.0, 1.0, 0.5], ["a", "b", "c"], 0.025)
    assert found is not None
    assert (found.value, found.samples) == (0.5, 3)
    assert found.lower < 0.5 < found.upper


def test_the_furthest_verdict() -> None:
    assert [furthest(label, (0.0, 0.5, 1.0)) for label in (0.0, 0.5, 1.0)] == [1.0, 0.0, 0.0]


def test_quantiles_are_values_that_occurred() -> None:
    assert [quantile([3.0, 1.0, 2.0, 4.0], at) for at in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1.0, 1.0, 2.0, 3.0, 4.0]
