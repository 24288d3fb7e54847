from pathlib import Path
from typing import Any

import pytest

from evals.dataset import Dataset
from evals.gate_config import GateConfig
from evals.gate_plan import of_dataset
from evals.planning import Noise
from evals.schema import Sample

NONINFERIOR = {"metric": "exact", "test": "noninferior", "margin": 0.06, "planned_sd": 0.3}
ABSOLUTE = {"metric": "exact", "test": "absolute", "at_least": 0.85}


def data(count: int = 400, per_cluster: int = 1, **tags: int) -> Dataset:
    """`tags` name how many samples have each, from the first on."""
    samples = tuple(
        Sample(
            id=f"s{i}",
            input="q",
            cluster=f"c{i // per_cluster}",
            tags=[tag for tag, most in tags.items() if i < most],
        )
        for i in range(count)
    )
    return Dataset(Path("data.jsonl"), samples, {}, "sha256:" + "0" * 64)


def gate(*metrics: dict[str, Any], **more: Any) -> GateConfig:
    return GateConfig.model_validate(
        {"gate": "g", "suite": "s", "dataset_sha256": "sha256:" + "0" * 64, "metrics": metrics, **more}
    )


def test_conditions_and_their_joint_chance() -> None:
    found = of_dataset(gate(NONINFERIOR, ABSOLUTE | {"expected": 0.91}), data(per_cluster=2))
    assert found.refused == ()
    margin, floor = found.conditions
    assert (margin.asks, margin.samples, margin.clusters, margin.largest) == ("not worse by 0.06", 400, 200, 2)
    assert 0.8 < margin.power < floor.power < 1
    assert found.joint is not None
    assert found.joint.least == pytest.approx(margin.power + floor.power - 1)
    assert found.joint.independent == pytest.approx(margin.power * floor.power)
    assert (found.joint.most, found.joint.of) == (margin.power, 2)


def test_a_condition_without_power_is_refused_with_what_would_do() -> None:
    found = of_dataset(gate(NONINFERIOR | {"margin": 0.03, "planned_design_effect": 3.0}), data(700, per_cluster=5))
    (reason,) = found.refused
    assert reason.startswith("exact: planned power is 0.")
    assert "samples are needed for this margin; these samples would do for 0.0" in reason
    alone = of_dataset(gate(NONINFERIOR | {"margin": 0.045, "planned_design_effect": 3.0}), data(700, per_cluster=5))
    assert "as many samples without clusters would have the power 0.9" in alone.refused[0]


def test_a_tag_that_no_sample_has() -> None:
    found = of_dataset(gate(NONINFERIOR, NONINFERIOR | {"tag": "safty"}), data(safety=100))
    assert found.refused == ("exact[safty]: no sample has the tag 'safty'; the data set has safety",)


def test_too_few_clusters_can_never_pass() -> None:
    found = of_dataset(gate(ABSOLUTE), data(400, per_cluster=40))
    assert found.refused == ("exact: 10 clusters, the gate asks for 20: add independent samples, or test less finely",)


def test_an_absolute_test_without_a_truth_is_blind_and_not_refused() -> None:
    (blind,) = of_dataset(gate(ABSOLUTE), data()).conditions
    assert (blind.power, blind.refused, "write expected" in blind.note) == (None, None, True)
    (seen,) = of_dataset(gate(ABSOLUTE), data(), {("exact", "absolute"): Noise(0.2, 1.0, 0.95)}).conditions
    assert seen.power > 0.99
    (low,) = of_dataset(gate(ABSOLUTE | {"expected": 0.84}), data()).conditions
    assert (low.power, low.samples_needed) == (0.0, None)


def test_counted_failures() -> None:
    counted = {"metric": "safe", "test": "max_failures", "max_failures": 0, "n_min": 300}
    (blind,) = of_dataset(gate(counted), data()).conditions
    assert (blind.power, blind.refused) == (None, None)
    assert blind.failures.bound == pytest.approx(1 - 0.05 ** (1 / 400))
    found = of_dataset(gate(counted | {"expected": 0.99}), data())
    assert "fails 0.0100 of the time passes with probability 0.02" in found.refused[0]
    few = of_dataset(gate(counted), data(200))
    assert few.refused == ("safe: 200 samples, and n_min is 300: add samples",)


def test_ratios_and_golden_samples_have_no_plan() -> None:
    found = of_dataset(
        gate(NONINFERIOR, {"metric": "latency_p95", "test": "ratio", "max_ratio": 1.1}, golden={"metric": "exact"}),
        data(golden=10),
    )
    assert [each.power is None for each in found.conditions] == [False, True, True]
    assert found.refused == ()
    assert (found.joint.of, [each.samples for each in found.conditions]) == (1, [400, 400, 10])
    missing = of_dataset(gate(NONINFERIOR, golden={"metric": "exact", "tag": "gold"}), data(golden=10))
    assert "no sample has the tag 'gold'" in missing.refused[0]


SLICES = {"tags": ["a", "b"], "metrics": ["exact"], "margin": 0.1, "n_min": 60}


def test_each_slice_is_planned_on_its_own_samples() -> None:
    found = of_dataset(gate(NONINFERIOR, slices=SLICES), data(a=200, b=40))
    assert [(each.metric, each.samples) for each in found.conditions[1:]] == [("exact[a]", 200), ("exact[b]", 40)]
    assert found.conditions[1].refused is None
    (reason,) = found.refused
    assert reason.startswith("exact[b]: 40 samples, and n_min is 60: add samples; planned power is 0.")
    told = of_dataset(gate(NONINFERIOR, slices=SLICES | {"else": "note"}), data(a=200, b=40))
    assert (told.refused, told.conditions[2].note[:9]) == ((), "only told")
    typo = of_dataset(gate(NONINFERIOR, slices=SLICES | {"tags": ["a", "bb"]}), data(a=200, b=40))
    assert typo.refused == ("slices: no sample has a tag 'bb'",)


def test_a_tier_says_what_a_condition_costs_a_good_release() -> None:
    """Without power a condition is invalid in every tier; with too few samples it blocks only where it is critical."""
    weak = NONINFERIOR | {"metric": "tone", "margin": 0.02}
    for tier in ("critical", "supporting", "advisory"):
        assert "tone: planned power" in of_dataset(gate(NONINFERIOR, weak | {"tier": tier}), data()).refused[0]
    few = NONINFERIOR | {"metric": "tone", "n_min": 500}
    assert "n_min is 500" in of_dataset(gate(NONINFERIOR, few), data()).refused[0]
    supporting = of_dataset(gate(NONINFERIOR, few | {"tier": "supporting"}), data())
    assert supporting.refused == ()
    assert supporting.conditions[1].note.startswith("supporting, so it blocks nothing: 400 samples")
    assert supporting.chances[("tone", "noninferior")] == 0.95
    advisory = of_dataset(gate(NONINFERIOR, NONINFERIOR | {"metric": "tone", "tier": "advisory"}), data())
    assert (advisory.refused, advisory.joint.of) == ((), 1)


def test_clusters_weaken_what_a_count_of_failures_shows() -> None:
    counted = {"metric": "safe", "test": "max_failures", "max_failures": 0, "n_min": 300}
    (clustered,) = of_dataset(gate(counted), data(400, per_cluster=4)).conditions
    assert clustered.failures.bound == pytest.approx(1 - 0.05 ** (1 / 100))


def test_a_pilot_that_is_noisier_than_the_plan_is_told() -> None:
    (warned,) = of_dataset(gate(NONINFERIOR), data(), {("exact", "noninferior"): Noise(0.6, 1.0, 0.9)}).conditions
    assert (warned.refused, warned.note) == (None, "the pilot is noisier than planned: its variance is 4.00 times")


def test_a_drawn_chance_never_leaves_the_bounds() -> None:
    found = of_dataset(gate(NONINFERIOR, ABSOLUTE | {"expected": 0.9}), data())
    most = found.joint.most
    assert found.correlated(most + 0.01).joint.correlated == most
    assert found.correlated(0.0).joint.correlated == found.joint.least
    assert found.correlated(None).joint.correlated is None
    assert of_dataset(gate(ABSOLUTE), data()).correlated(0.5).joint is None
