import json
from pathlib import Path

import pytest

from evals import dataset, run_log


@pytest.fixture
def asked(tmp_path: Path, make_log) -> Path:
    """A data set, and two runs of it."""
    path = tmp_path / "questions.jsonl"
    lines = [{"id": each, "input": f"What about {each}?", "reference": f"It is {each}."} for each in "ab"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest = dataset.load(path).digest
    make_log(tmp_path / "one.jsonl", {"a": 1.0, "b": 1.0}, release="faq@1", dataset_sha256=digest)
    make_log(tmp_path / "two.jsonl", {"a": "system", "b": 0.5}, dataset_sha256=digest)
    return path


def test_a_sample_is_shown_with_its_prompt_and_both_answers(evals, asked: Path) -> None:
    result = evals("show", "two.jsonl", "a", "--baseline", "one.jsonl", "--dataset", asked)
    assert result.exit_code == 0, result.output
    for words in ("What about a?", "It is a.", "baseline: faq@1", "candidate: faq@2", "server_error: 502", "exact 1"):
        assert words in result.stdout


def test_without_the_data_set_it_says_how_to_see_the_prompt(evals, asked: Path) -> None:
    assert "give the data set with --dataset FILE" in evals("show", "two.jsonl", "a").stdout


def test_a_run_of_two_arms_shows_both(evals, tmp_path: Path, make_arms) -> None:
    make_arms(tmp_path / "run.jsonl", {"a": 1.0}, {"a": 0.0})
    shown = evals("show", "run.jsonl", "a").stdout
    assert "baseline: faq@1" in shown
    assert "candidate: faq@2" in shown


def test_json_has_every_record(evals, tmp_path: Path, asked: Path, make_log) -> None:
    make_log(tmp_path / "run.jsonl", {"a": [1.0, 0.0], "b": [0.5, 0.5]})
    found = json.loads(evals("show", "run.jsonl", "a", "--json").stdout)
    assert [record["scores"]["exact"]["value"] for record in found["candidate"]] == [1.0, 0.0]
    assert found["sample"] is None
    both = evals("show", "two.jsonl", "b", "--baseline", "one.jsonl", "--dataset", asked, "--json")
    assert json.loads(both.stdout)["sample"]["input"] == "What about b?"
    assert set(json.loads(both.stdout)) == {"id", "sample", "baseline", "candidate"}


def test_an_unfinished_run_is_shown_as_far_as_it_came(evals, tmp_path: Path, make_log) -> None:
    path = make_log(tmp_path / "run.jsonl", {"a": 1.0}, seal=False)
    path.write_bytes(path.read_bytes() + b'{"kind":"sam')
    assert "exact 1" in evals("show", "run.jsonl", "a").stdout


def test_an_unknown_sample_is_refused_with_the_nearest_ids(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "run.jsonl", {"plan.free": 1.0})
    result = evals("show", "run.jsonl", "plan.fre")
    assert result.exit_code == 3
    assert "has no sample 'plan.fre': the nearest ids are 'plan.free'" in result.stderr


def test_runs_of_two_data_sets_are_refused(evals, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "one.jsonl", {"a": 1.0})
    make_log(tmp_path / "two.jsonl", {"a": 1.0, "b": 1.0})
    result = evals("show", "two.jsonl", "a", "--baseline", "one.jsonl")
    assert (result.exit_code, "different data sets" in result.stderr) == (3, True)


def test_another_data_set_is_refused(evals, asked: Path) -> None:
    asked.write_text(asked.read_text().replace("What", "How"))
    result = evals("show", "two.jsonl", "a", "--dataset", asked)
    assert (result.exit_code, "expected the file that was run" in result.stderr) == (3, True)
    assert run_log.read(Path("two.jsonl")).manifest.dataset_sha256 in result.stderr
