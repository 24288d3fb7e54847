from pathlib import Path


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
