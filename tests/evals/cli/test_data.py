from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.cli import main
from evals.dataset import load


@pytest.fixture
def evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Result:
        result = CliRunner().invoke(main, list(map(str, args)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_lint_counts_and_gives_the_digest(evals, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"id": "a", "input": "q", "reference": "x", "tags": ["t"], "cluster": "c"}\n'
        '{"id": "b", "input": "q", "reference": "x", "tags": ["t"], "cluster": "c"}\n'
        '{"id": "c", "input": "q"}\n'
    )
    assert evals("data", "lint", "d.jsonl").stdout.splitlines() == [
        "samples: 3",
        "clusters: 2, the largest of 2",
        "tags: t 2",
        "without a reference: 1",
        f"digest: {load(tmp_path / 'd.jsonl').digest}",
    ]


def test_lint_names_every_mistake_with_its_line(evals, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"id": "a", "input": "q"}\n{"id": \n{"id": "a", "input": "q"}\n')
    result = evals("data", "lint", "d.jsonl")
    assert result.exit_code == 3
    assert "d.jsonl: line 2: not valid JSON" in result.stderr
    assert "d.jsonl: line 3, id: duplicate id 'a': line 1 has it too" in result.stderr


def test_show_prints_every_record_of_a_sample(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "run.jsonl", {"a": [1.0, 0.0], "b": [0.5, 0.5]})
    result = evals("show", "run.jsonl", "a")
    assert result.stdout.count('"outcome": "scored"') == 2
    assert '"value": 0.0' in result.stdout
    assert '"id": "b"' not in result.stdout


def test_show_of_an_unknown_sample_says_so(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "run.jsonl", {"a": 1.0})
    result = evals("show", "run.jsonl", "z")
    assert (result.exit_code, "has no sample 'z'" in result.stderr) == (3, True)


def test_compare_prints_differences_flips_and_noise(evals, tmp_path: Path, make_log) -> None:
    tags = {"a": ["plans"]}
    make_log(tmp_path / "one.jsonl", {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}, release="faq@1", tags=tags)
    make_log(tmp_path / "two.jsonl", {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0}, tags=tags)
    result = evals("compare", "one.jsonl", "two.jsonl", "--slices")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("exact")).split()
    assert row[1:4] == ["0.7500", "0.5000", "-0.2500"]
    assert row[-5:] == ["4", "2", "1", "0.957", "1.00"]
    assert "exact fell: a, b" in result.stdout
    assert "exact rose: c" in result.stdout
    assert ["plans", "exact", "-1.0000", "1"] in [line.split() for line in result.stdout.splitlines()]


def test_compare_refuses_other_data_and_other_metrics(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0})
    make_log(tmp_path / "two.jsonl", {"b": 1.0})
    make_log(tmp_path / "three.jsonl", {"a": 1.0}, scorers=[{"name": "includes"}])
    assert "different data sets" in evals("compare", "one.jsonl", "two.jsonl").stderr
    assert "share no metric" in evals("compare", "one.jsonl", "three.jsonl").stderr


def test_compare_mentions_what_a_gate_would_refuse(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0}, seal=False)
    make_log(tmp_path / "two.jsonl", {"a": 1.0})
    assert "note: baseline: the run is unfinished" in evals("compare", "one.jsonl", "two.jsonl").stdout
