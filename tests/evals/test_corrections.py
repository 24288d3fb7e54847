import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.corrections import (
    Calibration,
    ppi_difference,
    ppi_mean,
    rogan_gladen,
    variance,
    z_of,
)

JUDGE = Calibration(q1=0.9, positives=50, q0=0.8, negatives=40)


def test_the_quantiles() -> None:
    assert z_of(0.05) == pytest.approx(1.959964, abs=1e-6)
    assert z_of(0.05, two_sided=False) == pytest.approx(1.644854, abs=1e-6)


# Rogan and Gladen, by hand: p 0.55, q0 0.8, q1 0.9: theta = 0.35 / 0.7 = 0.5
# Var = (0.55 0.45 / 100 + 0.25 0.16 / 40 + 0.25 0.09 / 50) / 0.49 = (0.002475 + 0.001 + 0.00045) / 0.49


def test_the_estimate_and_its_variance_by_hand() -> None:
    found = rogan_gladen(0.55, 100, JUDGE)
    assert found.value == pytest.approx(0.5)
    assert found.weight == pytest.approx(0.7)
    assert variance(0.55, 100, 0.5, JUDGE) == pytest.approx(0.003925 / 0.49)


def test_the_adjusted_interval_by_hand() -> None:
    z = 1.959963984540054
    p, n = (55 + z * z / 2) / (100 + z * z), 100 + z * z
    q1, q0, m1, m0 = 46 / 52, 33 / 42, 52, 42
    theta = (p + q0 - 1) / (q0 + q1 - 1)
    shift = 2 * z * z * (theta * q1 * (1 - q1) / m1 - (1 - theta) * q0 * (1 - q0) / m0)
    noise = p * (1 - p) / n + (1 - theta) ** 2 * q0 * (1 - q0) / m0 + theta**2 * q1 * (1 - q1) / m1
    width = z * math.sqrt(noise) / (q0 + q1 - 1)
    found = rogan_gladen(0.55, 100, JUDGE)
    assert (found.lower, found.upper) == pytest.approx((theta + shift - width, theta + shift + width))


def test_a_one_sided_bound_is_nearer_than_a_two_sided_one() -> None:
    one, two = rogan_gladen(0.55, 100, JUDGE, two_sided=False), rogan_gladen(0.55, 100, JUDGE)
    assert two.lower < one.lower < one.value < one.upper < two.upper


@pytest.mark.parametrize(("p", "value"), [(0.1, 0.0), (0.18, 0.0), (0.95, 1.0), (1.0, 1.0)])
def test_the_estimate_stays_in_range(p: float, value: float) -> None:
    found = rogan_gladen(p, 50, JUDGE)
    assert found.value == value
    assert 0.0 <= found.lower <= found.value <= found.upper <= 1.0
    assert found.upper > found.lower


def test_a_share_that_the_judge_cannot_have_given_is_refused() -> None:
    with pytest.raises(ValueError, match=r"passed 0\.000 of the answers, and .* between 0\.200 and 0\.900"):
        rogan_gladen(0.0, 200, JUDGE)


@pytest.mark.parametrize(
    "judge", [Calibration(0.5, 50, 0.5, 50), Calibration(0.2, 50, 0.3, 50), Calibration(0.9, 0, 0.9, 5)]
)
def test_a_judge_that_guesses_corrects_nothing(judge: Calibration) -> None:
    with pytest.raises(ValueError, match=r"no better than guessing|labels of both kinds"):
        rogan_gladen(0.5, 100, judge)


@pytest.mark.parametrize("theta", [0.1, 0.5, 0.9, 0.97])
def test_the_interval_covers_what_people_would_have_said(theta: float) -> None:
    """Nominal 0.95; the shift of Lang and Reiczigel keeps it near or above, where the raw share is far off."""
    rng, covered, raw, times = random.Random(7), 0, 0, 1000
    for _ in range(times):
        q1 = sum(rng.random() < 0.9 for _ in range(50)) / 50
        q0 = sum(rng.random() < 0.8 for _ in range(50)) / 50
        chance = theta * 0.9 + (1 - theta) * 0.2
        p = sum(rng.random() < chance for _ in range(300)) / 300
        raw += abs(p - theta) <= 1.96 * math.sqrt(p * (1 - p) / 300)
        try:
            found = rogan_gladen(p, 300, Calibration(q1, 50, q0, 50))
        except ValueError:
            continue  # a refusal covers nothing
        covered += found.lower <= theta <= found.upper
    assert covered / times >= 0.935
    assert raw < covered or theta == 0.5


# PPI++


def test_ppi_by_hand() -> None:
    labelled, rest = [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)], [1.0, 1.0, 0.0, 0.0]
    # With lambda 0.5: mean f = 0.5; Y - 0.5 f = 0.5, -0.5, 1, 0, mean 0.25, variance 1.25 / 3; Var f = 1/3.
    found = ppi_mean(rest, labelled, weight=0.5)
    assert found.value == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt(0.25 / 3 / 4 + 1.25 / 3 / 4))


def test_the_weight_by_hand_and_clipped() -> None:
    labelled = [(1.0, 1.0), (1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    # Cov = Var f (labelled) = 1/3; Var f over all eight is 2/7: (1/3) / ((1 + 4/4) 2/7) = 7/12.
    assert ppi_mean([1.0, 1.0, 0.0, 0.0], labelled).weight == pytest.approx(7 / 12)
    backwards = [(y, 1 - f) for y, f in labelled]
    assert ppi_mean([1.0, 0.0], backwards).weight == 0.0
    assert 0.0 <= ppi_mean([0.5] * 1000, [(1.0, 0.4), (0.0, 0.39)]).weight <= 1.0


def test_without_unlabelled_samples_it_is_the_mean_of_the_labels() -> None:
    found = ppi_mean([], [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
    assert (found.value, found.weight) == (pytest.approx(2 / 3), 0.0)


def test_labels_that_all_agree_leave_doubt() -> None:
    found = ppi_mean([1.0] * 500, [(1.0, 1.0)] * 50)
    assert found.value == 1.0
    assert found.error == 0.0
    assert 0.02 < found.value - found.lower < 0.1


@pytest.mark.parametrize("labelled", [[], [(1.0, 1.0)]])
def test_one_label_says_nothing(labelled: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="at least two labelled samples"):
        ppi_mean([1.0], labelled)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20), st.lists(st.floats(0, 1)))
def test_an_interval_is_always_finite_and_never_a_point(labelled: list[tuple[float, float]], rest: list[float]) -> None:
    found = ppi_mean(rest, labelled)
    assert all(math.isfinite(value) for value in (found.value, found.lower, found.upper))
    assert found.lower < found.value < found.upper


def _world(rng: random.Random, size: int, truth: float, right: float) -> list[tuple[float, float]]:
    made = []
    for _ in range(size):
        label = float(rng.random() < truth)
        made.append((label, label if rng.random() < right else 1.0))
    return made


@pytest.mark.parametrize(("labels", "truth"), [(30, 0.5), (100, 0.7), (50, 0.9)])
def test_ppi_covers_and_is_narrower_than_labels_alone(labels: int, truth: float) -> None:
    rng, covered, narrower, times = random.Random(3), 0, 0, 600
    for _ in range(times):
        world = _world(rng, 400, truth, 0.9)
        found = ppi_mean([f for _, f in world[labels:]], world[:labels])
        alone = ppi_mean([], world[:labels])
        covered += found.lower <= truth <= found.upper
        narrower += found.error < alone.error
    assert covered / times >= 0.93
    assert narrower / times > 0.9


def test_a_lenient_judge_does_not_help_the_arm_it_favours() -> None:
    """The judge passes every answer of the candidate; people pass half of both. Raw +0.4, corrected about 0."""
    rng = random.Random(11)
    keys = [f"s{at}" for at in range(600)]
    truth_a, truth_b = ({key: float(rng.random() < 0.6) for key in keys} for _ in range(2))
    known = keys[:200]
    candidate, baseline = dict.fromkeys(keys, 1.0), truth_b
    found = ppi_difference(
        candidate, baseline, {key: truth_a[key] for key in known}, {key: truth_b[key] for key in known}
    )
    raw = sum(candidate.values()) / 600 - sum(baseline.values()) / 600
    assert raw > 0.3
    assert found.lower < 0.0 < found.upper


def test_only_labels_of_both_outputs_count_in_a_difference() -> None:
    with pytest.raises(ValueError, match="found 1"):
        ppi_difference({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, {"a": 1.0})
