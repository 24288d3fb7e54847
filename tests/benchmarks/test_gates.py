"""The proof of the gate: its error rates where the truth is known, over the whole path from evidence to decision.

False `pass` at a true drop of exactly one margin, and false `fail` at none, stay within alpha and three binomial
standard errors; planned power is reached. The bigger version is `python -m benchmarks.gates`.
"""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gates import rules
from benchmarks.gates.__main__ import table
from benchmarks.gates.rules import ALPHA, RULES, Seen, p_value, p_worse
from benchmarks.gates.worlds import METRIC, WORLDS
from evals import compare, dataset, scorers, stats
from evals.config import load_suite
from evals.gate import decide
from evals.gate_config import load_gate
from tests.drawing import often

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPEATS, DECIDED = often(250, thorough=1000), 6
ALLOWED = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPEATS)


def decision(world, draw, **changed):
    return decide(world.gate(**changed), *draw.evidence(), now=NOW, harness="proof")


@pytest.mark.parametrize("name", WORLDS)
def test_a_drop_of_one_margin_passes_no_more_often_than_alpha(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(30)
    passed = 0
    for number in range(REPEATS):
        draw = world.draw(rng, world.margin)
        passes = p_value(draw, -world.margin) <= ALPHA
        passed += passes
        if number < DECIDED:
            assert (decision(world, draw).answer == "pass") == passes, "the whole path decides as its bound does"
    assert passed / REPEATS <= ALLOWED


@pytest.mark.parametrize("name", WORLDS)
def test_an_equal_release_fails_no_more_often_than_alpha(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(31)
    failed = 0
    for number in range(REPEATS):
        draw = world.draw(rng, 0.0)
        fails = p_worse(draw) <= ALPHA
        failed += fails
        if number < DECIDED:
            assert (decision(world, draw).answer == "fail") == fails
    assert failed / REPEATS <= ALLOWED


@pytest.mark.parametrize("name", [name for name, world in WORLDS.items() if world.sd is not None])
def test_the_planned_power_is_reached_and_not_by_far_exceeded(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(32)
    draws = [world.draw(rng, 0.0) for _ in range(REPEATS)]
    planned = decision(world, draws[0]).metrics[0].planned_power
    assert planned is not None
    assert 0.6 < planned < 0.95
    passed = sum(p_value(draw, -world.margin) <= ALPHA for draw in draws) / REPEATS
    error = math.sqrt(planned * (1 - planned) / REPEATS)
    assert planned - 3 * error <= passed <= planned + 3 * error + 0.04


@pytest.mark.parametrize("name", [name for name, world in WORLDS.items() if world.sd is not None])
def test_the_worlds_are_as_noisy_as_they_say(name: str) -> None:
    world, rng = WORLDS[name], np.random.default_rng(33)
    found = [compare.paired(*world.draw(rng, 0.0).evidence(), METRIC, alpha=ALPHA).spread for _ in range(40)]
    assert np.mean([one.sd for one in found]) == pytest.approx(world.sd, rel=0.04)
    assert np.mean([one.design_effect for one in found]) == pytest.approx(world.design_effect, rel=0.06)


def test_the_design_effect_of_ten_samples_and_an_icc_of_a_fifth() -> None:
    assert WORLDS["clustered"].design_effect == pytest.approx(1 + (10 - 1) * 0.2) == pytest.approx(2.8)


@pytest.mark.parametrize("name", WORLDS)
def test_the_drop_of_a_world_is_what_it_says(name: str) -> None:
    world, rng, found = WORLDS[name], np.random.default_rng(34), []
    for _ in range(300):
        draw = world.draw(rng, world.margin)
        values = np.nan_to_num(draw.candidate, nan=0.0) - np.nan_to_num(draw.baseline, nan=1.0)  # as they were hidden
        found.append((values.mean(axis=1).sum(), len(values)))
    sums, sizes = np.array(found).T
    error = math.sqrt(np.sum((sums + world.margin * sizes) ** 2)) / sizes.sum()
    assert sums.sum() / sizes.sum() == pytest.approx(-world.margin, abs=4 * error)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("point", "independent"),
        ("no significant drop", "too small"),
        ("t", "clustered"),
        ("clustered t", "tied"),
        ("percentile bootstrap", "tied"),
    ],
)
def test_rules_of_the_field_pass_what_is_worse_by_the_margin(rule: str, name: str) -> None:
    """What the gate is for: each of these is wrong more often than it says, and often far more."""
    world, rng = WORLDS[name], np.random.default_rng(35)
    passed = sum(RULES[rule](Seen.of(world.draw(rng, world.margin), rng), world.margin) for _ in range(400)) / 400
    assert passed > ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 400)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_passes_a_gain_and_stops_a_disaster(rule: str) -> None:
    world, rng = WORLDS["graded"], np.random.default_rng(36)
    assert RULES[rule](Seen.of(world.draw(rng, -0.1), rng), world.margin)
    assert not RULES[rule](Seen.of(world.draw(rng, 0.2), rng), world.margin)


def test_a_rule_sees_samples_by_cluster() -> None:
    seen = Seen.of(WORLDS["missing"].draw(np.random.default_rng(1), 0.0), np.random.default_rng(1))
    assert seen.differences.size in range(384, 393), "8 are missing in each run, some of them in both"
    assert stats.mean(seen.clusters) == pytest.approx(seen.differences.mean())


def test_the_table_has_both_truths_and_marks_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    found = table(["tied"], 60)
    worse, equal = (line for line in found.splitlines() if line.startswith("| 60 samples"))
    assert worse.count("|") == equal.count("|") == 3 + len(RULES) + 1
    assert worse.split("|")[3].strip().startswith("**"), "a point threshold passes it about every second time"
    assert "**" not in equal
    assert "60 repetitions each" in found
    assert capsys.readouterr().out.count("| 60 samples") == 2


def test_the_gate_of_the_live_proof_is_about_its_suite_and_has_power() -> None:
    folder = Path(rules.__file__).parent
    gate, suite = load_gate(folder / "gate.yaml"), load_suite(folder / "suite.yaml", scorers.build)
    data = dataset.load(folder / suite.dataset)
    assert (gate.suite, gate.dataset_sha256) == (suite.suite, data.digest)
    margin = gate.metrics[0]
    assert margin.margin is not None
    assert margin.planned_sd is not None
    samples, clusters, largest = compare.shape(sample.cluster or sample.id for sample in data.samples)
    planned = stats.Design(samples, clusters, largest, margin.planned_sd, margin.planned_design_effect, ALPHA)
    assert stats.power(planned, margin.margin) == pytest.approx(0.826, abs=0.001)
