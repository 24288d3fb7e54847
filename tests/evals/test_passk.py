import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.passk import estimator, measure
from gateway.contracts.errors import InputError


def papers(n: int, c: int, k: int) -> float:
    """The numerically stable form of Chen et al. 2021, figure 3."""
    return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


@pytest.mark.parametrize(
    ("epochs", "passed", "k", "expected"),
    [(10, 0, 1, 0.0), (10, 3, 1, 0.3), (10, 10, 10, 1.0), (5, 1, 5, 1.0), (4, 2, 2, 1 - 1 / 6), (200, 1, 100, 0.5)],
)
def test_known_values(epochs: int, passed: int, k: int, expected: float) -> None:
    assert estimator(epochs, passed, k) == pytest.approx(expected, abs=1e-15)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_is_the_papers_estimator(values: tuple[int, int, int]) -> None:
    assert estimator(*values) == pytest.approx(papers(*values), abs=1e-9)


@given(outcomes=st.lists(st.booleans(), min_size=1, max_size=7), k=st.integers(1, 7))
def test_it_is_the_mean_over_all_ways_to_draw_k(outcomes: list[bool], k: int) -> None:
    k = min(k, len(outcomes))
    draws = [any(draw) for draw in itertools.combinations(outcomes, k)]
    assert estimator(len(outcomes), sum(outcomes), k) == pytest.approx(sum(draws) / len(draws))


@pytest.mark.parametrize(("epochs", "passed", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_what_cannot_be_estimated_is_refused(epochs: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"expected between|needs at least"):
        estimator(epochs, passed, k)


def test_a_run_is_the_mean_over_its_samples(make_evidence) -> None:
    run = make_evidence({"a": [1.0, 0.0], "b": [0.0, 0.0], "c": [1.0, 1.0]})
    one, two = measure(run, "exact", 1), measure(run, "exact", 2)
    assert (one.estimate, one.samples, one.epochs, one.missing) == (pytest.approx(0.5), 3, 2, 0)
    assert two.estimate == pytest.approx(2 / 3)
    assert 0.0 <= one.lower < one.estimate < one.upper <= 1.0


def test_a_threshold_says_what_passes(make_evidence) -> None:
    run = make_evidence({"a": [0.8, 0.2]})
    assert measure(run, "exact", 1).estimate == 0.0
    assert measure(run, "exact", 1, threshold=0.8).estimate == 0.5


def test_missing_evidence_has_failed_below_and_passed_above(make_evidence) -> None:
    whole = measure(make_evidence({"a": [1.0, 0.0], "b": [1.0, 0.0]}), "exact", 1)
    holed = measure(make_evidence({"a": [1.0, "missing"], "b": ["missing", 0.0]}), "exact", 1)
    assert (holed.estimate, holed.missing) == (0.25, 2)
    assert holed.lower < whole.lower
    assert holed.upper > whole.upper


def test_an_error_of_the_system_has_failed(make_evidence) -> None:
    found = measure(make_evidence({"a": [1.0, "system"]}), "exact", 1)
    assert (found.estimate, found.missing) == (0.5, 0)


def test_a_sample_without_a_record_stays_in_the_denominator(make_evidence) -> None:
    found = measure(make_evidence({"a": [1.0, 1.0]}, samples=4), "exact", 1)
    assert (found.estimate, found.samples, found.missing) == (0.25, 4, 3)


def test_samples_of_a_cluster_are_one_observation(make_evidence) -> None:
    scores = {f"s{i}": [1.0, 1.0] for i in range(20)}
    alone = measure(make_evidence(scores), "exact", 1)
    together = measure(make_evidence(scores, clusters={key: str(int(key[1:]) % 4) for key in scores}), "exact", 1)
    assert together.lower < alone.lower
    assert together.estimate == alone.estimate == 1.0


def test_what_a_run_cannot_tell_is_refused(make_evidence) -> None:
    run = make_evidence({"a": [1.0, 0.0]})
    with pytest.raises(InputError, match="pass@3 needs at least 3 epochs of every sample, and this run has 2"):
        measure(run, "exact", 3)
    with pytest.raises(InputError, match="no metric 'tests': its metrics are exact"):
        measure(run, "tests", 1)
    with pytest.raises(InputError, match="holds no sample"):
        measure(make_evidence({}), "exact", 1)
