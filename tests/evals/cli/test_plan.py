import json
import random
import re
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def planned(tmp_path: Path, evals) -> Path:
    lines = [{"id": f"s{i}", "input": "q", "reference": "a", "cluster": f"c{i // 2}"} for i in range(400)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest = evals("data", "lint", "data.jsonl").stdout.rpartition("digest: ")[2].strip()
    path = tmp_path / "gate.yaml"
    path.write_text(
        f"gate: g\nsuite: faq\ndataset: data.jsonl\ndataset_sha256: {digest}\nmetrics:\n"
        "  - {metric: exact, test: noninferior, margin: 0.06, planned_sd: 0.3}\n"
    )
    return path


def test_a_plan_is_printed(evals, planned: Path) -> None:
    result = evals("plan", planned)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "exact" in line).split()
    assert row[:8] == ["exact", "not", "worse", "by", "0.06", "400", "200", "2"]
    assert float(row[8]) > 0.8 > float(row[9])
    assert int(row[10]) < 400
    assert row[11] == "planned"


def test_a_plan_without_power_is_refused(evals, planned: Path) -> None:
    planned.write_text(planned.read_text().replace("0.06", "0.02"))
    result = evals("plan", planned)
    assert result.exit_code == 3
    assert "the gate is refused: exact: planned power is 0." in result.stderr


def test_a_plan_needs_the_data_set_of_the_gate(evals, planned: Path) -> None:
    (planned.parent / "other.jsonl").write_text('{"id": "a", "input": "q"}\n')
    result = evals("plan", planned, "--dataset", "other.jsonl")
    assert (result.exit_code, "the gate is for" in result.stderr) == (3, True)
    planned.write_text(planned.read_text().replace("dataset: data.jsonl\n", ""))
    assert "--dataset" in evals("plan", planned).stderr


def test_a_plan_of_a_split_counts_the_split_alone(evals, planned: Path) -> None:
    (planned.parent / "card.yaml").write_text("name: q\nowner: me\nlicence: CC0-1.0\nmade: by hand\n")
    data = yaml.safe_load(planned.read_text())["dataset"]
    flags = ("--fraction", "dev=0.5", "--fraction", "test=0.5", "--salt", "s", "--json")
    frozen = json.loads(evals("data", "split", data, *flags).stdout)["splits"]["test"]
    text = re.sub("sha256:[0-9a-f]{64}", frozen["digest"], planned.read_text()) + "split: test\n"
    planned.write_text(text.replace("0.06", "0.5"))
    result = evals("plan", planned)
    assert result.exit_code == 0, result.stderr
    assert f" {frozen['rows']} " in result.stdout


def test_json_and_the_joint_chance(evals, planned: Path) -> None:
    planned.write_text(planned.read_text() + "  - {metric: exact, test: absolute, at_least: 0.8, expected: 0.86}\n")
    found = json.loads(evals("plan", planned, "--json").stdout)
    powers = [each["power"] for each in found["conditions"]]
    assert found["refused"] == []
    assert found["joint"]["independent"] == pytest.approx(powers[0] * powers[1])
    assert found["joint"]["correlated"] is None
    assert "if they were independent; at least 0.9" in evals("plan", planned).stdout
    refused = evals("plan", planned, "--json").stdout
    planned.write_text(planned.read_text().replace("0.06", "0.01"))
    again = evals("plan", planned, "--json")
    assert (again.exit_code, json.loads(again.stdout)["refused"] != []) == (3, True)
    assert refused != again.stdout


def test_a_pilot_gives_the_lines_that_a_gate_lacks(evals, planned: Path, make_arms) -> None:
    rng = random.Random(1)
    ours, theirs = ({f"s{i}": float(rng.random() < 0.9) for i in range(400)} for _ in range(2))
    make_arms(planned.parent / "pilot.jsonl", ours, theirs)
    bare = planned.read_text().replace(", planned_sd: 0.3", "")
    planned.write_text(bare + "  - {metric: exact, test: absolute, at_least: 0.8}\n")
    assert "missing key 'planned_sd'" in evals("plan", planned).stderr
    found = evals("plan", planned, "--pilot", "pilot.jsonl")
    assert found.exit_code == 0, found.output
    assert "with the pilot's correlations" in found.stdout
    lines = [line for line in found.stdout.splitlines() if line.startswith("  - {metric: exact")]
    planned.write_text(bare.rpartition("  - {")[0] + "".join(f"{line}\n" for line in lines))
    pasted = evals("plan", planned)
    assert pasted.exit_code == 0, pasted.output
    assert "planned" in pasted.stdout


def test_a_pilot_of_two_runs(evals, planned: Path, make_log) -> None:
    rng = random.Random(1)
    for name in ("a", "b"):
        make_log(planned.parent / f"{name}.jsonl", {f"s{i}": float(rng.random() < 0.9) for i in range(400)})
    found = evals("plan", planned, "--pilot", "b.jsonl", "--pilot-baseline", "a.jsonl", "--json")
    assert json.loads(found.stdout)["pilot"]["metrics"][0].startswith("- {metric: exact, test: noninferior")
    alone = evals("plan", planned, "--pilot", "b.jsonl")
    assert "give --pilot-baseline" in alone.stdout
    assert evals("plan", planned, "--pilot-baseline", "a.jsonl").exit_code == 2


def test_counted_failures_say_what_they_can_show(evals, planned: Path) -> None:
    planned.write_text(planned.read_text() + "  - {metric: safe, test: max_failures, max_failures: 0, n_min: 300}\n")
    found = evals("plan", planned)
    assert found.exit_code == 0, found.output
    assert "safe: 0 failures of 400 show a failure rate below 0.0149 (confidence 0.95)" in found.stdout
    assert "its true rate is at most 0.00056" in found.stdout
    assert "passes the 1 planned condition of 2 with probability 0.972\n" in found.stdout
