"""`evals batch` on the command line: a suite to a file, and the results of it to a log."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from evals import run_log
from tests.evals.cli.conftest import completion

Evals = Callable[..., Result]


@pytest.fixture
def suite(questions: Path, tmp_path: Path) -> Path:
    """A suite over thirty questions."""
    path = tmp_path / "suite.yaml"
    path.write_text(f"suite: s\ndataset: {questions.name}\nscorers: [{{name: exact}}]\n")
    return path


def _answer(batch: Path, out: Path, *, without: int = 0, model: str = "faq") -> None:
    """What a batch engine would write that is always right."""
    rows = []
    for line in batch.read_text().splitlines()[: -without or None]:
        asked = json.loads(line)
        message = {"content": asked["body"]["messages"][-1]["content"].split()[-1]}
        body = {"model": model, "choices": [{"message": message, "finish_reason": "stop"}]}
        rows.append({"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": body}, "error": None})
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_suite_goes_out_and_comes_back(evals: Evals, suite: Path) -> None:
    done = evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    assert (done.exit_code, done.output) == (0, "wrote batch.jsonl: 30 requests\n")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    done = evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", "a.jsonl")
    assert (done.exit_code, done.output) == (0, "results: 30 scored\nlog: a.jsonl\n")
    gated = evals("gate", "--at-least", 0.8, "--candidate", "a.jsonl")
    assert gated.exit_code == 0, gated.output
    assert "no verdict is written" in gated.output


def test_what_goes_in_is_never_written_over(evals: Evals, suite: Path, questions: Path) -> None:
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    kept = {path: Path(path).read_bytes() for path in (suite, questions, "batch.jsonl", "results.jsonl")}
    for out in ("batch.jsonl", "results.jsonl"):
        done = evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", out, "--force")
        assert (done.exit_code, "is no run log" in done.output) == (3, True)
    for out in (suite, questions):
        done = evals("batch", "write", suite, "--model", "faq", "--out", out)
        assert (done.exit_code, "is the suite or its data set" in done.output) == (3, True)
    assert {path: Path(path).read_bytes() for path in kept} == kept


def test_missing_results_are_told_by_the_exit_code(evals: Evals, suite: Path) -> None:
    evals("batch", "write", suite, "--model", "faq", "--epochs", 2, "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"), without=3)
    command = ("batch", "read", suite, "batch.jsonl", "results.jsonl", "--epochs", 2, "--out", "a.jsonl")
    done = evals(*command)
    assert (done.exit_code, done.output) == (3, "results: 3 not_reported, 57 scored\nlog: a.jsonl\n")
    again = evals(*command)
    assert "add --force" in again.output
    told = json.loads(evals(*command, "--force", "--json").output)
    assert told["odd"] == {"of no request": [], "answered twice": [], "no result": [], "of another model": []}


def test_results_of_another_model_are_refused_unless_it_is_a_name_of_the_same(evals: Evals, suite: Path) -> None:
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"), model="faq@1")
    command = ("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", "a.jsonl")
    done = evals(*command)
    assert (done.exit_code, Path("a.jsonl").exists()) == (3, False)
    assert "every answer says that it is of another model ('faq@1', where 'faq' was asked)" in done.output
    assert evals(*command, "--answered-as", "faq@1").exit_code == 0


def test_a_judge_that_never_judges_is_not_asked_for_every_result(evals: Evals, suite: Path, serve) -> None:
    asked: list[dict] = []

    def prose(body: dict) -> tuple[int, dict]:
        asked.append(body)
        return completion("prose")

    judge = "judge: {model: j, max_retries: 0}\nscorers: [{name: judge, rubric: correct}]\nconcurrency: 2\n"
    suite.write_text(suite.read_text().partition("scorers")[0] + judge)
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    url = serve(prose)
    done = evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", "a.jsonl", "--base-url", url)
    assert done.exit_code == 3
    assert "answers got no verdict; the last: judge: expected a JSON object of the judge" in done.stderr
    assert len(asked) < 30
    assert not Path("a.jsonl").exists()


def test_a_result_of_no_request_is_told_by_the_exit_code(evals: Evals, suite: Path) -> None:
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    rows = Path("results.jsonl").read_text()
    Path("more.jsonl").write_text("".join(f'{{"custom_id": "x{n}"}}\n' for n in range(7)))
    Path("results.jsonl").write_text(rows + rows.splitlines()[0] + "\n{")
    done = evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "more.jsonl", "--out", "a.jsonl")
    assert done.exit_code == 3
    assert "results: 1 not_reported, 29 scored" in done.output
    assert "of no request: x0, x1, x2, x3, x4 and 2 more" in done.output
    assert "answered twice: candidate/0/q0" in done.output
    assert "no result: 'results.jsonl', line 32" in done.output


def test_a_suite_that_changed_is_refused(evals: Evals, suite: Path) -> None:
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    suite.write_text(suite.read_text() + "params: {temperature: 1}\n")
    done = evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", "a.jsonl")
    assert (done.exit_code, "line 1: expected" in done.output) == (3, True)
    assert not Path("a.jsonl").exists()


def test_a_claimed_release_stands_in_the_manifest(evals: Evals, suite: Path) -> None:
    release = Path(__file__).parents[3] / "configs" / "demo" / "releases" / "faq-2.yaml"
    evals("batch", "write", suite, "--model", "faq", "--out", "batch.jsonl")
    _answer(Path("batch.jsonl"), Path("results.jsonl"))
    evals("batch", "read", suite, "batch.jsonl", "results.jsonl", "--out", "a.jsonl", "--release", release)
    source = run_log.read(Path("a.jsonl")).manifest.imported
    assert source is not None
    assert source.release == "faq@2"
    evals("gate", "--at-least", 0.8, "--candidate", "a.jsonl")
    assert "imported, not asked through the gateway" in Path("verdicts/faq@2.verdict.json").read_text()


def test_one_model_is_no_comparison(evals: Evals, suite: Path) -> None:
    done = evals("batch", "write", suite, "--model", "faq", "--baseline", "faq", "--out", "batch.jsonl")
    assert (done.exit_code, "an arm needs a model of its own" in done.output) == (2, True)


def test_a_file_that_cannot_be_written_is_told(evals: Evals, suite: Path) -> None:
    done = evals("batch", "write", suite, "--model", "faq", "--out", "no/folder/batch.jsonl")
    assert (done.exit_code, "cannot be written" in done.output) == (3, True)
