"""Gates with slices, golden samples, waivers, counted failures and ratios, as people write them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.gate_config import GateConfig, MetricConfig, load_gate
from gateway.contracts.errors import DocumentError

DIGEST = "sha256:" + "a" * 64
GATE = f"""gate: faq-release
suite: faq
dataset_sha256: {DIGEST}
max_retried: 0.05
metrics:
  - {{metric: exact, owner: ml, test: noninferior, margin: 0.04, planned_sd: 0.3, planned_design_effect: 1.5}}
  - {{metric: exact, owner: product, test: absolute, at_least: 0.8}}
  - {{metric: refusal, owner: safety, test: max_failures, max_failures: 0, n_min: 300}}
  - {{metric: latency_p95, owner: sre, tier: supporting, test: ratio, max_ratio: 1.1}}
slices: {{tags: ["lang:*"], metrics: [exact], margin: 0.08, n_min: 60, else: note}}
golden: {{metric: exact, owner: sales}}
waivers:
  - {{metric: latency_p95, owner: sre, reason: "new GPUs arrive in June", expires: 2027-06-30}}
"""


def read(folder: Path, text: str) -> GateConfig:
    path = folder / "file.yaml"
    path.write_text(text)
    return load_gate(path)


def mistake(folder: Path, text: str) -> tuple[int, str]:
    with pytest.raises(DocumentError) as caught:
        read(folder, text)
    return caught.value.mistakes[0].line, caught.value.mistakes[0].message


def test_a_gate_with_everything(tmp_path: Path) -> None:
    gate = read(tmp_path, GATE)
    assert [m.label for m in gate.named()] == ["exact", "exact", "refusal", "latency_p95", "exact[golden]"]
    assert gate.scores() == ("exact", "refusal")
    assert gate.waivers[0].expires == datetime(2027, 6, 30, tzinfo=UTC)
    assert gate.slices[0].else_ == "note"


def test_a_list_and_a_single_entry_read_alike(tmp_path: Path) -> None:
    listed = GATE.replace("golden: {metric: exact, owner: sales}", "golden:\n  - {metric: exact, owner: sales}")
    assert read(tmp_path, listed) == read(tmp_path, GATE)


def test_a_slice_takes_the_plan_of_its_metric_unless_it_has_its_own(tmp_path: Path) -> None:
    gate = read(tmp_path, GATE)
    found = gate.sliced(["lang:en", "other", "lang:de"])
    assert [(m.label, m.planned_sd, m.planned_design_effect) for _, m in found] == [
        ("exact[lang:de]", 0.3, 1.5),
        ("exact[lang:en]", 0.3, 1.5),
    ]
    assert {(m.margin, m.n_min, m.test) for _, m in found} == {(0.08, 60, "noninferior")}
    own = read(tmp_path, GATE.replace("n_min: 60", "n_min: 60, planned_sd: 0.4, planned_design_effect: 1.0"))
    ((_, condition),) = own.sliced(["lang:de"])
    assert (condition.planned_sd, condition.planned_design_effect) == (0.4, 1.0)


def test_a_floors_noise_is_no_plan_for_differences(tmp_path: Path) -> None:
    """A score varies more than its difference between two runs."""
    text = GATE.replace("test: absolute, at_least: 0.8", "test: absolute, at_least: 0.8, planned_sd: 0.5")
    first = text.replace("  - {metric: exact, owner: ml", "  - {metric: f1, owner: ml")
    assert "planned_sd" in mistake(tmp_path, first)[1]
    ((_, condition),) = read(tmp_path, text).sliced(["lang:de"])
    assert condition.planned_sd == 0.3


def test_a_tag_with_a_margin_of_its_own_is_no_slice_again(tmp_path: Path) -> None:
    own = "  - {metric: exact, tag: 'lang:de', test: noninferior, margin: 0.1, planned_sd: 0.3}\nslices"
    gate = read(tmp_path, GATE.replace("slices", own, 1))
    assert [m.label for _, m in gate.sliced(["lang:de", "lang:en"])] == ["exact[lang:en]"]


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("n_min: 300", "n_min: 4", 1, "do not even show that fewer than half"),
        ("metric: latency_p95, owner: sre, reason", "metric: latency, owner: sre, reason", 1, "it has exact, refusal"),
        ("metric: latency_p95, owner: sre, reason", "metric: exact, owner: sre, reason", 1, "say which `test:`"),
        ("metric: exact, owner: sales", "metric: exact, owner: sales, max_drop: 1", 11, "max_drop"),
        ("else: note", "else: pass", 10, "'inconclusive' or 'note'"),
        ("margin: 0.08, ", "", 10, "margin"),
        ("metrics: [exact]", "metrics: [exact, f1]", 10, "planned_sd"),
        ("max_retried: 0.05", "on_inconclusive: pass", 4, "on_inconclusive"),
        ("test: absolute, at_least: 0.8", "test: golden, tag: g, max_regressed: 0", 5, "a key of their own"),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, old: str, new: str, line: int, expected: str) -> None:
    found = mistake(tmp_path, GATE.replace(old, new))
    assert expected in found[1]
    assert found[0] == line


def test_waivers_of_slices_and_of_one_test_of_several(tmp_path: Path) -> None:
    text = GATE.replace("metric: latency_p95, owner: sre, reason", "metric: 'exact[lang:de]', owner: sre, reason")
    assert read(tmp_path, text).waivers[0].metric == "exact[lang:de]"
    text = GATE.replace("metric: latency_p95, owner: sre, reason", "metric: exact, test: absolute, owner: sre, reason")
    assert read(tmp_path, text).waivers[0].test == "absolute"


def test_a_gate_that_nothing_has_to_pass_is_refused() -> None:
    metric = MetricConfig(metric="exact", test="absolute", at_least=0.5, tier="advisory")
    with pytest.raises(ValueError, match="no metric is critical"):
        GateConfig(gate="g", suite="s", dataset_sha256=DIGEST, metrics=(metric,))


def test_the_same_slice_twice_is_refused(tmp_path: Path) -> None:
    twice = GATE.replace('["lang:*"]', "[plans, plans]")
    assert "two conditions test 'exact[plans]'" in mistake(tmp_path, twice)[1]


def test_every_new_key_changes_the_digest(tmp_path: Path) -> None:
    gate = read(tmp_path, GATE)
    changed = [
        GATE.replace("max_retried: 0.05", "max_retried: 0.06"),
        GATE.replace("n_min: 300", "n_min: 301"),
        GATE.replace("tier: supporting", "tier: advisory"),
        GATE.replace("max_ratio: 1.1", "max_ratio: 1.2"),
        GATE.replace("else: note", "else: inconclusive"),
        GATE.replace("golden: {metric: exact, ", "golden: {metric: exact, max_regressed: 1, "),
        GATE.replace("2027-06-30", "2027-06-29"),
    ]
    assert len({gate.digest(), *(read(tmp_path, text).digest() for text in changed)}) == 8


def test_what_needs_a_baseline() -> None:
    floor = MetricConfig(metric="exact", test="absolute", at_least=0.5)
    values = {"gate": "g", "suite": "s", "dataset_sha256": DIGEST, "metrics": (floor,)}
    assert not GateConfig(**values).needs_baseline
    assert not GateConfig(**values, golden={"metric": "exact", "at_least": 0.5}).needs_baseline
    assert GateConfig(**values, golden={"metric": "exact"}).needs_baseline
    assert GateConfig(**values, slices={"tags": ["a"], "metrics": ["exact"], "margin": 0.1, "n_min": 9}).needs_baseline
