import random

import pytest

from evals import compare
from evals.gate_config import MetricConfig
from evals.selftest import drawing
from gateway.contracts.errors import InputError
from tests.drawing import often

MARGIN = MetricConfig(metric="exact", test="noninferior", margin=0.1)
VALUES = {f"s{i:02}": float(i % 4 > 0) for i in range(40)}
OTHER = {f"s{i:02}": float(i % 5 > 0) for i in range(40)}
CLUSTERS = {key: f"{key < 's20'} {int(key[1:]) // (2 if key < 's20' else 4)}" for key in VALUES}


@pytest.fixture
def origin(make_evidence) -> drawing.Source:
    return drawing.source(
        make_evidence(VALUES, clusters=CLUSTERS), make_evidence(OTHER, clusters=CLUSTERS, release="faq@1")
    )


def test_clusters_are_drawn_whole_and_the_runs_stay_whole(origin: drawing.Source) -> None:
    assert (origin.samples, len(origin.clusters)) == (40, 15)
    candidate, baseline = drawing.draw(origin, random.Random(1))
    assert baseline is not None
    assert candidate.units.keys() == baseline.units.keys()
    assert len({unit.cluster for unit in candidate.units.values()}) == 15
    assert candidate.log.manifest.samples == baseline.log.manifest.samples == len(candidate.units)
    assert candidate.log.digest != baseline.log.digest
    sizes = sorted(
        sum(u.cluster == key for u in candidate.units.values()) for key in {u.cluster for u in candidate.units.values()}
    )
    assert set(sizes) == {2, 4}


def test_arms_are_swapped_together_for_a_whole_cluster(origin: drawing.Source) -> None:
    rng = random.Random(2)
    seen = set()
    for _ in range(20):
        candidate, _ = drawing.draw(origin, rng)
        by_cluster: dict[str, set[str]] = {}
        for unit in candidate.units.values():
            by_cluster.setdefault(unit.cluster, set()).add(unit.records[0].answer.release)
        assert all(len(releases) == 1 for releases in by_cluster.values())
        seen |= {releases.pop() for releases in by_cluster.values()}
    assert seen == {"faq@1", "faq@2"}


def test_the_true_difference_of_a_draw_is_zero_whatever_the_runs_showed(make_evidence) -> None:
    good, bad = dict.fromkeys(VALUES, 1.0), dict.fromkeys(VALUES, 0.0)
    origin = drawing.source(make_evidence(good), make_evidence(bad, release="faq@1"))
    rng, found, count = random.Random(3), [], often(120, thorough=1200)
    for _ in range(count):
        measure = compare.paired(*drawing.draw(origin, rng), "exact", alpha=0.05)
        assert measure is not None
        found.append(measure.estimate)
    assert sum(found) / count == pytest.approx(0.0, abs=4 / (40 * count) ** 0.5)


def test_the_planted_drop_is_the_margin(origin: drawing.Source) -> None:
    at = drawing.level(origin, MARGIN)
    assert at == pytest.approx((30 + 32) / 80)
    drop = drawing.planned_drop(MARGIN, at)
    assert drop == 0.1
    rng, found, count = random.Random(4), [], often(150, thorough=1500)
    for _ in range(count):
        candidate, baseline = drawing.draw(origin, rng)
        assert baseline is not None
        worse = drawing.spoiled(candidate, MARGIN, drop / at, rng)
        before = compare.absolute(candidate, "exact", alpha=0.05)
        after = compare.absolute(worse, "exact", alpha=0.05)
        found.append(before.estimate - after.estimate)  # type: ignore[union-attr]
    assert sum(found) / count == pytest.approx(0.1, abs=0.2 / count**0.5)


def test_a_regression_stays_within_its_tag(make_evidence) -> None:
    tags = {key: ["plans"] for key in list(VALUES)[:10]}
    evidence = make_evidence(dict.fromkeys(VALUES, 1.0), tags=tags)
    metric = MetricConfig(metric="exact", tag="plans", test="noninferior", margin=0.1)
    worse = drawing.spoiled(evidence, metric, 1.0, random.Random(1))
    assert {key for key, unit in worse.units.items() if unit.score("exact", "candidate") == (0.0, 0.0)} == set(tags)
    assert drawing.level(drawing.source(evidence, None), metric) == 1.0
    assert drawing.level(drawing.source(make_evidence(VALUES), None), metric) is None


def test_a_missing_score_stays_missing(make_evidence) -> None:
    evidence = make_evidence({"a": "missing", "b": 1.0})
    worse = drawing.spoiled(evidence, MARGIN, 1.0, random.Random(1))
    assert worse.units["a"].score("exact", "candidate") == (0.0, 1.0)
    assert worse.units["b"].score("exact", "candidate") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("metric", "level", "drop"),
    [
        (MARGIN, 0.9, 0.1),
        (MARGIN, 0.05, None),
        (MetricConfig(metric="exact", test="absolute", at_least=0.75), 0.9, pytest.approx(0.15)),
        (MetricConfig(metric="exact", test="absolute", at_least=0.95), 0.9, None),
    ],
)
def test_how_far_a_mean_has_to_fall_to_the_edge(metric: MetricConfig, level: float, drop: float | None) -> None:
    assert drawing.planned_drop(metric, level) == drop


def test_one_run_with_epochs_is_two_arms(make_evidence) -> None:
    run = make_evidence({"a": [1.0, 0.0, 1.0, 1.0, 0.0], "b": [0.0, 0.0, 1.0, "missing", 1.0]})
    first, second = drawing.halves(run)
    assert (first.units["a"].score("exact", "candidate"), second.units["a"].score("exact", "candidate")) == (
        (0.5, 0.5),
        (1.0, 1.0),
    )
    assert second.units["b"].score("exact", "candidate") == (0.5, 1.0)
    assert (first.log.manifest.epochs, second.units["b"].missing) == (2, True)
    assert first.log.digest != second.log.digest
    with pytest.raises(InputError, match="--epochs 2"):
        drawing.halves(make_evidence(VALUES))


def test_runs_of_different_samples_are_no_pair(make_evidence) -> None:
    with pytest.raises(InputError, match="1 samples are in one of the runs only, such as 's00'"):
        drawing.source(make_evidence(VALUES), make_evidence({k: v for k, v in VALUES.items() if k != "s00"}))


def test_without_a_baseline_only_samples_are_drawn(make_evidence) -> None:
    candidate, baseline = drawing.draw(drawing.source(make_evidence(VALUES), None), random.Random(1))
    assert (len(candidate.units), baseline) == (40, None)


def test_what_is_not_about_chance_is_left_out(make_evidence, make_gate) -> None:
    gate = make_gate(make_evidence(VALUES), {"metric": "exact", "test": "noninferior", "margin": 0.1})
    assert drawing.statistical(gate) == (gate, ())
    with_word = gate.model_copy(update={"golden": ("one",)})
    left, gone = drawing.statistical(with_word)
    assert (left.golden, gone) == ((), ("golden",))  # type: ignore[attr-defined]


def test_a_planted_regression_is_judged_by_its_own_condition(make_evidence, make_gate) -> None:
    margin = {"metric": "exact", "test": "noninferior", "margin": 0.1}
    gate = make_gate(make_evidence(VALUES), margin, {"metric": "exact", "test": "absolute", "at_least": 0.5})
    assert drawing.alone(gate, gate.metrics[1]).metrics == (gate.metrics[1],)
    assert drawing.alone(gate, gate.metrics[1]).min_clusters == gate.min_clusters
