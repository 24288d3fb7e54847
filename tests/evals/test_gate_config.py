from datetime import timedelta
from pathlib import Path

import pytest

from evals.gate_config import GateConfig, MetricConfig, load_gate
from gateway.contracts.errors import DocumentError

DIGEST = "sha256:" + "a" * 64
GATE = f"""gate: faq-release
suite: faq
dataset_sha256: {DIGEST}
metrics:
  - {{metric: exact, owner: ml, test: noninferior, margin: 0.04, planned_sd: 0.3}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def gate_mistakes(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(DocumentError) as caught:
        load_gate(write(folder, text))
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


def test_a_gate_reads_with_its_defaults(tmp_path: Path) -> None:
    gate = load_gate(write(tmp_path, GATE))
    assert gate.lifetime == timedelta(days=14)
    assert (gate.design.alpha, gate.design.power, gate.min_clusters, gate.min_coverage) == (0.05, 0.8, 20, 0.99)
    assert gate.needs_baseline


@pytest.mark.parametrize(("text", "expected"), [("30m", timedelta(minutes=30)), ("12h", timedelta(hours=12))])
def test_lifetimes(tmp_path: Path, text: str, expected: timedelta) -> None:
    assert load_gate(write(tmp_path, GATE + f"ttl: {text}\n")).lifetime == expected


@pytest.mark.parametrize("text", ["14", "0d", "2 weeks", "-1d"])
def test_a_lifetime_without_a_unit_is_refused(tmp_path: Path, text: str) -> None:
    ((line, message),) = gate_mistakes(tmp_path, GATE + f"ttl: {text!r}\n")
    assert line == 6
    assert "14d, 12h or 30m" in message


def test_a_vacuous_gate_is_refused(tmp_path: Path) -> None:
    ((line, _),) = gate_mistakes(tmp_path, GATE.split("metrics:")[0] + "metrics: []\n")
    assert line == 4


def test_a_margin_without_a_plan_is_refused_in_a_file(tmp_path: Path) -> None:
    ((line, message),) = gate_mistakes(tmp_path, GATE.replace(", planned_sd: 0.3", ""))
    assert line == 5
    assert "planned_sd" in message


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("{metric: exact, test: noninferior, planned_sd: 0.3}", "missing key 'margin'"),
        ("{metric: exact, test: absolute}", "missing key 'at_least'"),
        ("{metric: exact, test: absolute, at_least: 0.6, margin: 0.1}", "'margin' does not belong"),
        ("{metric: exact, test: better, margin: 0.1}", "noninferior"),
        ("{metric: exact, test: noninferior, margin: 0, planned_sd: 0.3}", "greater than 0"),
    ],
)
def test_half_a_metric_is_refused(tmp_path: Path, metric: str, expected: str) -> None:
    mistakes = gate_mistakes(tmp_path, GATE + f"  - {metric}\n")
    assert mistakes[0][0] == 6
    assert expected in mistakes[0][1]


def test_the_same_condition_twice_is_refused() -> None:
    metric = MetricConfig(metric="exact", test="absolute", at_least=0.5)
    with pytest.raises(ValueError, match="keep one"):
        GateConfig(gate="g", suite="s", dataset_sha256=DIGEST, metrics=(metric, metric))


def test_the_digest_of_a_gate_leaves_out_where_the_data_lies(tmp_path: Path) -> None:
    gate = load_gate(write(tmp_path, GATE))
    assert gate.digest() == load_gate(write(tmp_path, GATE + "dataset: x.jsonl\n")).digest()
    assert gate.digest() != load_gate(write(tmp_path, GATE.replace("0.04", "0.05"))).digest()


def test_a_tag_shows_in_the_label() -> None:
    assert MetricConfig(metric="exact", tag="plans", test="absolute", at_least=0.5).label == "exact[plans]"


def test_a_split_is_part_of_a_digest_only_where_it_is_set() -> None:
    metric = MetricConfig(metric="exact", test="absolute", at_least=0.5)
    gates = [GateConfig(gate="g", suite="s", dataset_sha256=DIGEST, metrics=(metric,), split=s) for s in (None, "test")]
    assert gates[0].digest() == "sha256:e13811bfeb09b77ed5fc641e22ca704d17b794e2520a8b3ae855162c0609f82d"
    assert gates[1].digest() != gates[0].digest()
