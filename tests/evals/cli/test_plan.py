import json
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
    assert row[:5] == ["exact", "0.06", "400", "200", "2"]
    assert float(row[5]) > 0.8 > float(row[6])
    assert int(row[7]) < 400


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
