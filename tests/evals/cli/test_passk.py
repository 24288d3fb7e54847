import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.cli import main


@pytest.fixture
def run(tmp_path: Path, make_log) -> str:
    return str(make_log(tmp_path / "run.jsonl", {"a": [1.0, 0.0], "b": [0.0, 0.0], "c": [1.0, 1.0]}))


def evals(*args: str) -> Result:
    return CliRunner().invoke(main, ["pass-at-k", *args])


def test_a_table_has_a_row_for_each_k(run: str) -> None:
    result = evals(run, "-k", "1", "-k", "2")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("exact")]
    assert [row[:3] for row in rows] == [["exact", "1", "0.5000"], ["exact", "2", "0.6667"]]
    assert rows[0][-3:] == ["2", "3", "0"]


def test_json(run: str) -> None:
    found = json.loads(evals(run, "--json", "--threshold", "0.5").stdout)
    assert (found["threshold"], found["problems"]) == (0.5, [])
    (row,) = found["pass_at_k"]
    assert (row["metric"], row["k"], row["estimate"], row["samples"]) == ("exact", 1, 0.5, 3)


def test_what_is_wrong_with_a_run_is_noted(tmp_path: Path, make_log) -> None:
    path = make_log(tmp_path / "open.jsonl", {"a": 1.0}, seal=False)
    assert "note: the run is unfinished" in evals(str(path)).stdout


def test_too_few_epochs_are_broken_input(run: str) -> None:
    result = evals(run, "-k", "5")
    assert (result.exit_code, "pass@5 needs at least 5 epochs" in result.stderr) == (3, True)


def test_an_unknown_metric_is_broken_input(run: str) -> None:
    result = evals(run, "--metric", "tests")
    assert (result.exit_code, "no metric 'tests'" in result.stderr) == (3, True)
