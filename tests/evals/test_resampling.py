import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as reference
from statsmodels.stats.proportion import proportion_confint

from evals import resampling, stats
from evals.resampling import bootstrap, generator
from evals.stats import Cluster

DRAW = np.random.default_rng(5)
VALUES = {
    "few different": DRAW.choice([-1.0, 0.0, 1.0], 400, p=[0.1, 0.8, 0.1]),
    "rare": (DRAW.uniform(size=400) < 0.05).astype(float),
    "all different": DRAW.uniform(-1, 1, 300),
    "skewed": np.clip(DRAW.exponential(0.15, 300), 0, 1),
    "many and all different": DRAW.uniform(-1, 1, 17_000),
}


def singles(values: np.ndarray) -> list[Cluster]:
    return [Cluster(float(value), 1) for value in values]


@pytest.mark.parametrize("name", VALUES)
def test_it_agrees_with_scipys_bca(name: str) -> None:
    values = VALUES[name]
    expected = reference(
        (values,), np.mean, n_resamples=2000, batch=100, rng=np.random.default_rng(1)
    ).confidence_interval
    found = bootstrap(singles(values), rng=generator(1), resamples=20_000)
    width = expected.high - expected.low
    assert (found.lower, found.upper) == pytest.approx(tuple(expected), abs=0.06 * width)
    assert (found.estimate, found.clusters, found.caution) == (pytest.approx(values.mean()), values.size, "")


def test_clusters_are_drawn_whole() -> None:
    sizes = DRAW.integers(1, 9, 200)
    totals = DRAW.normal(0.1, 0.3, 200) * sizes
    found = bootstrap([Cluster(float(t), int(n)) for t, n in zip(totals, sizes, strict=True)], rng=generator(2))
    expected = reference(
        (totals, sizes), lambda t, n, axis: t.sum(axis) / n.sum(axis), paired=True, rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert (found.lower, found.upper) == pytest.approx(tuple(expected), abs=0.05 * width)


@pytest.mark.parametrize(("value", "size", "count"), [(0.0, 1, 300), (1.0, 3, 40), (0.4, 2, 1)])
def test_where_nothing_differs_it_says_that_it_says_nothing(value: float, size: int, count: int) -> None:
    found = bootstrap([Cluster(value * size, size)] * count, rng=generator(1))
    assert (found.lower, found.upper) == (None, None)
    assert found.caution == f"all {count} clusters have the same mean"
    assert found.estimate == pytest.approx(value)


@pytest.mark.parametrize("count", [1, 59, 300])
def test_where_nothing_differs_the_range_gives_clopper_and_pearsons_bound(count: int) -> None:
    _, most = proportion_confint(0, count, alpha=0.05, method="beta")
    assert most == pytest.approx(1 - 0.025 ** (1 / count))
    found = bootstrap([Cluster(0.0, 2)] * count, rng=generator(1), span=(-1.0, 1.0))
    assert (found.lower, found.upper) == pytest.approx((-most, most), abs=1e-8)
    assert (found.estimate, found.resamples, found.caution) == (0.0, 0, f"all {count} clusters have the same mean")
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="BCa"):
        scipys = reference((np.zeros(count + 1),), np.mean, n_resamples=100).confidence_interval
    assert np.isnan(scipys.low), "what scipy answers to the same question"


def test_clusters_of_different_sizes_with_one_mean_do_not_differ() -> None:
    assert bootstrap([Cluster(0.5, 1), Cluster(1.5, 3), Cluster(1.0, 2)], rng=generator(1)).lower is None


def test_few_that_differ_come_with_a_caution() -> None:
    found = bootstrap(singles(np.array([1.0] * 3 + [0.0] * 997)), rng=generator(1))
    assert found.caution == "only 3 of 1000 clusters differ from the rest"
    assert found.lower is not None
    assert bootstrap(singles(np.array([1.0] * 10 + [0.0] * 990)), rng=generator(1)).caution == ""


def test_the_same_seed_gives_the_same_interval_in_any_order_of_clusters() -> None:
    clusters = singles(VALUES["few different"])
    first = bootstrap(clusters, rng=generator(7))
    assert bootstrap(clusters[::-1], rng=generator(7)) == first
    assert bootstrap(clusters, rng=generator(8)) != first


def test_taking_similar_clusters_together_changes_nothing_that_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    values = DRAW.normal(0, 0.2, 20_000)
    together = bootstrap(singles(values), rng=generator(1), resamples=4000)
    monkeypatch.setattr(resampling, "_MOST_LOST", -1.0)
    alone = bootstrap(singles(values), rng=generator(1), resamples=4000)
    assert together.lower != alone.lower
    width = alone.upper - alone.lower  # type: ignore[operator]
    assert (together.lower, together.upper) == pytest.approx((alone.lower, alone.upper), abs=0.06 * width)


def test_an_outlier_that_would_swallow_the_bins_is_noticed() -> None:
    known = stats.Known.of(singles(np.append(DRAW.normal(0, 1e-4, 50_000), [1.0])))
    assert resampling._binned(known) is None
    assert resampling._binned(stats.Known.of(singles(DRAW.uniform(0, 1, 50_000)))) is not None


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(1, 5)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=50)
def test_an_interval_lies_within_the_values_or_is_not_there(pairs: list[tuple[float, int]]) -> None:
    clusters = [Cluster(value * size, size) for value, size in pairs]
    found = bootstrap(clusters, rng=generator(1), resamples=200)
    if found.lower is None or found.upper is None:
        assert found.caution
        return
    low, high = min(v for v, _ in pairs), max(v for v, _ in pairs)
    assert low - 1e-9 <= found.lower <= found.upper <= high + 1e-9


@pytest.mark.parametrize(
    ("clusters", "resamples", "confidence"),
    [([], 1000, 0.95), ([Cluster(0.0, 1)], 99, 0.95), ([Cluster(0.0, 1)], 1000, 1.0)],
)
def test_what_cannot_be_resampled_is_refused(clusters: list[Cluster], resamples: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected a cluster, at least 100 resamples"):
        bootstrap(clusters, rng=generator(1), resamples=resamples, confidence=confidence)
