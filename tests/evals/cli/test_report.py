import json
from pathlib import Path

import pytest

from evals import dataset

ONES = {f"s{i:03}": 1.0 for i in range(100)}


@pytest.fixture
def gate(tmp_path: Path, make_log) -> Path:
    """A gate with its data set beside it, and the runs of a good and of a bad release."""
    lines = [{"id": each, "input": f"What about {each}?", "reference": "this"} for each in ONES]
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    digest = dataset.load(data).digest
    worse = ONES | {f"s{i:03}": 0.0 for i in range(40)}
    for name, scores, release in (("base", ONES, "faq@1"), ("good", ONES, "faq@2"), ("bad", worse, "faq@3")):
        make_log(tmp_path / f"{name}.jsonl", scores, release=release)
    own = tmp_path / "gate.yaml"
    own.write_text(
        f"gate: faq-release\nsuite: faq\ndataset: questions.jsonl\ndataset_sha256: {digest}\nmetrics:\n"
        "  - {metric: exact, owner: ml, test: noninferior, margin: 0.1, planned_sd: 0.3}\n"
    )
    return own


def test_with_a_gate_it_decides_as_the_gate_does(evals, gate: Path) -> None:
    result = evals("report", gate, "--baseline", "base.jsonl", "--candidate", "bad.jsonl", "--out", "deep/r.html")
    assert result.exit_code == 0, result.output
    assert "invalid: faq@3 sha256:" in result.stdout, "the logs are of other data than the gate's"
    text = Path("deep/r.html").read_text()
    assert "No verdict on faq@3" in text
    assert "wrote deep/r.html (0." in result.stdout


def test_without_a_gate_it_compares_and_decides_nothing(evals, gate: Path) -> None:
    result = evals("report", "--baseline", "base.jsonl", "--candidate", "bad.jsonl")
    assert "the page decides nothing" in result.stdout
    text = Path("report.html").read_text()
    assert "faq@3 beside faq@1: worse in exact" in text
    assert "Got worse: 40 samples" in text


def test_one_run_is_enough(evals, gate: Path) -> None:
    assert evals("report", "--run", "bad.jsonl").exit_code == 0
    assert "Lowest scores: 40 samples" in Path("report.html").read_text()


def test_a_run_of_two_arms_is_compared(evals, tmp_path: Path, make_arms) -> None:
    make_arms(tmp_path / "run.jsonl", {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.0})
    assert evals("report", "--run", "run.jsonl").exit_code == 0
    assert "Got better: 1 samples" in Path("report.html").read_text()


def test_what_cannot_be_used_is_refused(evals, gate: Path, tmp_path: Path, make_log) -> None:
    make_log(tmp_path / "other.jsonl", {"a": 1.0})
    other = evals("report", "--baseline", "other.jsonl", "--candidate", "bad.jsonl")
    assert (other.exit_code, "different data sets" in other.stderr) == (3, True)
    data = evals("report", "--run", "bad.jsonl", "--dataset", "questions.jsonl")
    assert (data.exit_code, "expected the file that was run" in data.stderr) == (3, True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    out = evals("report", "--run", "bad.jsonl", "--out", "file/report.html")
    assert (out.exit_code, "cannot write a page" in out.stderr) == (3, True)
    assert evals("report").exit_code == 2
