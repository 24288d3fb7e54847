import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals import resampling
from evals.evidence import Evidence
from evals.gate_config import GateConfig, MetricConfig
from evals.pilot import chance, measure
from gateway.contracts import documents

NONINFERIOR = {"metric": "exact", "test": "noninferior", "margin": 0.1}
ABSOLUTE = {"metric": "exact", "test": "absolute", "at_least": 0.6}


def drawn(seed: int, count: int = 300, rate: float = 0.9) -> dict[str, Any]:
    rng = random.Random(seed)
    return {f"s{i:03}": float(rng.random() < rate) for i in range(count)}


@pytest.fixture
def two(make_evidence) -> tuple[Evidence, Evidence]:
    return make_evidence(drawn(1)), make_evidence(drawn(2), release="faq@1")


def test_the_noise_of_two_runs_and_the_lines_for_the_gate(two, make_gate, tmp_path: Path) -> None:
    ours, theirs = two
    gate = make_gate(ours, NONINFERIOR, ABSOLUTE)
    found = measure(gate, ours, theirs)
    noise = found.noises[("exact", "noninferior")]
    assert noise.sd == pytest.approx((2 * 0.9 * 0.1) ** 0.5, abs=0.08)
    assert noise.design_effect == pytest.approx(1.0, abs=0.05)
    assert found.noises[("exact", "absolute")].mean == pytest.approx(0.9, abs=0.05)
    assert found.notes == ()
    path = tmp_path / "gate.yaml"
    head = f"gate: g\nsuite: faq\ndataset_sha256: {gate.dataset_sha256}\nmetrics:\n"
    path.write_text(head + "".join(f"  {line}\n" for line in found.lines))
    pasted = documents.load(path, GateConfig).metrics
    assert [metric.test for metric in pasted] == ["noninferior", "absolute"]
    assert noise.sd <= pasted[0].planned_sd <= noise.sd + 0.001
    assert pasted[1].expected == pytest.approx(found.noises[("exact", "absolute")].mean, abs=0.001)


def test_a_line_keeps_what_the_gate_says_of_the_condition(make_evidence, make_gate) -> None:
    tag = "plans, [on]: yes"
    tags = {key: [tag] for key in drawn(1)}
    ours, theirs = make_evidence(drawn(1), tags=tags), make_evidence(drawn(2), release="faq@1", tags=tags)
    written = NONINFERIOR | {"owner": "ml: team", "tag": tag, "tier": "supporting", "n_min": 50, "max_rise": 0.2}
    lines = measure(make_gate(ours, written, ABSOLUTE), ours, theirs).lines
    pasted = [yaml.safe_load(line)[0] for line in lines]
    assert written.items() <= pasted[0].items()
    assert pasted[0].keys() - written.keys() == {"planned_sd", "planned_design_effect"}
    assert pasted[1].keys() - ABSOLUTE.keys() == {"expected", "planned_sd", "planned_design_effect"}


def test_what_a_pilot_does_not_show_is_told(make_evidence, make_gate) -> None:
    ours = make_evidence(drawn(1, 20))
    gate = make_gate(ours, NONINFERIOR, ABSOLUTE | {"metric": "f1"}, ABSOLUTE | {"tag": "rare"})
    notes = "\n".join(measure(gate, ours, None).notes)
    assert "20 clusters" in notes
    assert "exact: the pilot has one arm, and a margin needs two: give --pilot-baseline" in notes
    assert "f1: the pilot has no such metric; it has exact" in notes
    assert "exact[rare]: no sample of the pilot has the tag 'rare'" in notes


def test_equal_runs_show_no_noise_instead_of_none(make_evidence, make_gate) -> None:
    same = dict.fromkeys(drawn(1), 1.0)
    ours, theirs = make_evidence(same), make_evidence(same, samples=301)
    found = measure(make_gate(ours, NONINFERIOR), ours, theirs)
    assert (found.noises, found.lines) == ({}, ())
    assert "both sides of the pilot are one release" in found.notes[0]
    assert "shows no noise" in found.notes[1]


def test_conditions_that_hang_together_pass_together(two, make_gate) -> None:
    ours, theirs = two
    gate = make_gate(ours, NONINFERIOR, ABSOLUTE)
    twins = measure(gate, ours, theirs)
    key = ("exact", "noninferior")
    alike = measure(gate, ours, theirs)
    copied = {key: alike.residuals[key], ("f1", "noninferior"): alike.residuals[key]}
    rng = resampling.generator(0)
    powers = dict.fromkeys(copied, 0.8)
    same = chance(powers, type(alike)(alike.noises, (), (), copied), rng)
    assert same == pytest.approx(0.8, abs=0.005)
    flipped = {key: alike.residuals[key], ("f1", "noninferior"): [-x for x in alike.residuals[key]]}
    opposed = chance(powers, type(alike)(alike.noises, (), (), flipped), rng)
    assert opposed == pytest.approx(0.6, abs=0.005)
    mixed = chance({key: 0.8, ("exact", "absolute"): 0.8}, twins, rng)
    assert 0.64 < mixed < 0.8
    assert chance({}, twins, rng) is None
    assert chance({("gone", "absolute"): 0.9}, twins, rng) is None


def test_a_condition_of_another_kind_is_left_alone(two, make_gate) -> None:
    ours, theirs = two
    counted = MetricConfig(metric="exact", test="max_failures", max_failures=0, n_min=100)
    gate = make_gate(ours, NONINFERIOR).model_copy(update={"metrics": (counted,)})
    assert "of no use to the test 'max_failures'" in measure(gate, ours, theirs).notes[0]
