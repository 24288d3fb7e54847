import math
import random

import pytest

from evals.variance import Cell, split, split_difference

TRUE = {"sample": 0.040, "sampling": 0.025, "judge": 0.015}


def simulated(rng: random.Random, samples: int, epochs: list[int], votes: list[int]) -> list[list[Cell]]:
    """Scores with known components; samples and scores take turns in their numbers of epochs and votes."""
    found, number = [], 0
    for i in range(samples):
        sample = rng.gauss(0.5, math.sqrt(TRUE["sample"]))
        cells = []
        for _ in range(epochs[i % len(epochs)]):
            answer = sample + rng.gauss(0.0, math.sqrt(TRUE["sampling"]))
            count = votes[number % len(votes)]
            number += 1
            judged = [answer + rng.gauss(0.0, math.sqrt(TRUE["judge"])) for _ in range(count)]
            cells.append(Cell(sum(judged) / count, judged))
        found.append(cells)
    return found


@pytest.mark.parametrize(
    ("epochs", "votes"), [([4], [3]), ([2, 3, 5], [1, 2, 4]), ([1, 4], [2]), ([3], [1, 3])], ids=str
)
def test_known_components_are_found_without_bias(epochs: list[int], votes: list[int]) -> None:
    rng = random.Random(7)
    found = [split(simulated(rng, 300, epochs, votes)) for _ in range(60)]
    for name, truth in TRUE.items():
        values = [getattr(each, name) for each in found if each is not None]
        mean = sum(values) / len(values)
        error = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
        assert abs(mean - truth) < 4 * error, name
        assert error < truth / 20, "the test could not tell"


def test_the_standard_error_is_that_of_the_mean() -> None:
    rng = random.Random(3)
    means, told = [], []
    for _ in range(400):
        samples = simulated(rng, 50, [3], [2])
        means.append(sum(sum(c.value for c in cells) / 3 for cells in samples) / 50)
        found = split(samples)
        assert found is not None
        told.append(found.standard_error())
    centre = sum(means) / 400
    actual = math.sqrt(sum((m - centre) ** 2 for m in means) / 399)
    assert sum(told) / 400 == pytest.approx(actual, rel=0.08)


def test_balanced_components_are_those_of_the_analysis_of_variance() -> None:
    """By hand: means 0.75 and 0.25, so 0.125 between; within 0.125 and 0, 0.0625 on average, half of it in a mean."""
    found = split([[Cell(1.0), Cell(0.5)], [Cell(0.25), Cell(0.25)]])
    assert found is not None
    assert found.sampling == pytest.approx(0.0625)
    assert found.judge is None
    assert found.sample == pytest.approx(0.125 - 0.03125)


def test_shares_are_of_the_error_of_the_mean() -> None:
    found = split(simulated(random.Random(1), 400, [4], [3]))
    assert found is not None
    shares = found.shares()
    assert sum(share or 0.0 for share in shares.values()) == pytest.approx(1.0)
    whole = 0.040 + 0.025 / 4 + 0.015 / 12
    assert shares["sample"] == pytest.approx(0.040 / whole, abs=0.05)


def test_advice_follows_the_formula() -> None:
    found = split(simulated(random.Random(1), 100, [2], [2]))
    assert found is not None
    assert found.sampling is not None
    assert found.judge is not None
    advice = found.advice()
    assert advice["samples"] == pytest.approx(advice["now"] / math.sqrt(2))
    assert advice["epochs"] ** 2 == pytest.approx((found.sample + found.sampling / 4 + found.judge / 8) / 100)
    assert advice["votes"] ** 2 == pytest.approx((found.sample + found.sampling / 2 + found.judge / 8) / 100)
    assert advice["votes"] > advice["epochs"] > advice["samples"] * 0.5


@pytest.mark.parametrize("samples", [[], [[Cell(1.0)]]])
def test_below_two_samples_nothing_is_known(samples: list[list[Cell]]) -> None:
    assert split(samples) is None


def test_one_of_each_tells_nothing_apart() -> None:
    found = split([[Cell(1.0)], [Cell(0.0)]])
    assert found is not None
    assert (found.sampling, found.judge, found.telling) == (None, None, False)
    assert found.shares() == {"sample": 1.0, "sampling": None, "judge": None}
    assert set(found.advice()) == {"now", "samples"}


def test_votes_alone_tell_the_judge_apart() -> None:
    found = split([[Cell(0.5, [0.0, 1.0])], [Cell(1.0, [1.0, 1.0])], [Cell(0.0, [0.0, 0.0])]])
    assert found is not None
    assert found.judge == pytest.approx(0.5 / 3)
    assert found.sample == pytest.approx(0.25 - 0.5 / 3 / 2)
    assert (found.sampling, found.telling) == (None, True)


def test_identical_scores_have_no_noise_and_no_division_by_zero() -> None:
    found = split([[Cell(1.0), Cell(1.0)]] * 5)
    assert found is not None
    assert found.standard_error() == 0.0
    assert found.shares() == {"sample": 0.0, "sampling": 0.0, "judge": None}


def test_an_estimate_below_zero_is_zero() -> None:
    """All the spread is within the samples: their means are equal."""
    found = split([[Cell(1.0), Cell(0.0)], [Cell(0.0), Cell(1.0)]])
    assert found is not None
    assert (found.sample, found.sampling) == (0.0, pytest.approx(0.5))


def test_a_difference_has_the_noise_of_both_runs_and_the_samples_they_share_cancel() -> None:
    rng, pairs = random.Random(11), []
    for _ in range(3000):
        sample = rng.gauss(0.5, 1.0)
        ours = [Cell(sample + rng.gauss(0.0, 0.2)) for _ in range(2)]
        theirs = [Cell(sample + rng.gauss(0.0, 0.1)) for _ in range(2)]
        pairs.append((ours, theirs))
    found = split_difference(pairs)
    assert found is not None
    assert found.sampling == pytest.approx(0.05, rel=0.1)
    assert found.sample == pytest.approx(0.0, abs=0.003)
    assert found.standard_error() == pytest.approx(math.sqrt(0.025 / 3000), rel=0.05)
