"""The joint chance and counted failures, held against simulation and against what is known in closed form."""

import random

import pytest

from evals import stats
from evals.gate_config import GateConfig
from evals.planning import Noise, failures, joint, plan

GATE = GateConfig.model_validate(
    {
        "gate": "g",
        "suite": "s",
        "dataset_sha256": "sha256:" + "0" * 64,
        "metrics": [{"metric": "exact", "test": "absolute", "at_least": 0.8, "expected": 0.9}],
    }
)


def test_the_joint_chance_lies_between_its_bounds() -> None:
    found = joint([0.9, 0.8, 0.95])
    assert found is not None
    assert found.least == pytest.approx(0.65)
    assert found.independent == pytest.approx(0.684)
    assert (found.most, found.of) == (0.8, 3)
    assert joint([0.5, 0.3]).least == 0.0
    assert joint([]) is None


def test_no_failure_of_300_shows_one_percent() -> None:
    found = failures(GATE, 0, 300, 0.001)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-8)
    assert found.power == pytest.approx(0.999**300)
    assert stats.at_most(0, 300, found.tolerated) == pytest.approx(0.8, abs=1e-3)
    assert failures(GATE, 0, 0, 0.001).bound == 1.0
    assert failures(GATE, 5, 3, None).power is None


@pytest.mark.parametrize(("count", "expected"), [(120, 0.9), (300, 0.87), (200, 0.95)])
def test_the_power_of_a_floor_is_that_of_a_simulation(count: int, expected: float) -> None:
    metric = GATE.metrics[0].model_copy(update={"expected": expected})
    planned = plan(GATE, metric, (count, count, 1))
    rng, passed, trials = random.Random(count), 0, 400
    cut: dict[int, bool] = {}
    for _ in range(trials):
        right = sum(rng.random() < expected for _ in range(count))
        if right not in cut:
            clusters = [stats.Cluster(1.0, 1)] * right + [stats.Cluster(0.0, 1)] * (count - right)
            cut[right] = stats.lower_bound(clusters, worst=0.0, alpha=0.05) >= 0.8
        passed += cut[right]
    assert planned is not None
    assert planned.power == pytest.approx(passed / trials, abs=0.08)


def test_a_floor_is_planned_at_the_pilots_mean_where_nobody_expects_one() -> None:
    metric = GATE.metrics[0].model_copy(update={"expected": None})
    assert plan(GATE, metric, (300, 300, 1)) is None
    planned = plan(GATE, metric, (300, 150, 2), Noise(0.3, 1.5, 0.9))
    declared = plan(GATE, GATE.metrics[0], (300, 150, 2))
    assert planned is not None
    assert declared is not None
    assert 0.8 < planned.power < declared.power
    assert planned.alone > planned.power
    assert 0.8 < planned.detectable < 0.9
