import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals import run_log

SUITE = """suite: numbers
dataset: questions.jsonl
params: {temperature: 0, max_tokens: 8}
scorers: [{name: exact}, {name: numeric}]
max_retries: 0
concurrency: 3
"""


@pytest.fixture
def suite(tmp_path: Path, questions: Path) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


def test_a_complete_run_prints_its_figures_and_leaves_its_log(evals, suite: Path, serve, parrot) -> None:
    result = evals("run", suite, "--base-url", serve(parrot), "--model", "faq@2")
    assert result.exit_code == 0, result.output
    log = run_log.read(Path("runs/numbers-faq-2.jsonl"))
    assert log.sealed
    assert len(log.records) == 30
    assert "exact     1.0000" in result.stdout
    assert "30 scored, 0 system_error, 0 harness_error" in result.stdout
    assert "300 in (0 cached), 60 out; cost: 0.30" in result.stdout
    assert "release: faq@2 sha256:" in result.stdout
    assert "30 of 30 samples" in result.stderr


def test_json_is_the_only_thing_on_stdout(evals, suite: Path, serve, parrot) -> None:
    result = evals("run", suite, "--base-url", serve(parrot), "--model", "faq@2", "--json")
    found = json.loads(result.stdout)
    assert found["metrics"]["numeric"]["mean"] == 1.0
    assert found["outcomes"] == {"scored": 30, "system_error": 0, "harness_error": 0}
    assert (found["cost"], found["coverage"], found["problems"]) == ("0.30", 1.0, [])


def test_a_data_set_and_a_scorer_are_enough(evals, questions: Path, serve, parrot) -> None:
    url = serve(parrot)
    result = evals("run", "--dataset", questions, "--scorer", "exact", "--model", "my/model:1", "--base-url", url)
    assert result.exit_code == 0, result.output
    assert run_log.read(Path("runs/questions-my-model-1.jsonl")).manifest.params == {"temperature": 0.0}


def test_the_key_comes_from_the_environment(evals, suite: Path, serve, parrot, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-tg-secret")
    result = evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--api-key-env", "MY_KEY")
    assert result.exit_code == 0
    assert "sk-tg-secret" not in Path("runs/numbers-m.jsonl").read_text() + result.output


def test_a_variable_that_was_named_must_exist(evals, suite: Path) -> None:
    result = evals("run", suite, "--model", "m", "--api-key-env", "NO_SUCH_KEY")
    assert result.exit_code == 3
    assert "NO_SUCH_KEY" in result.stderr


def test_missing_evidence_is_exit_code_3_and_the_next_run_fetches_it(evals, suite: Path, serve, parrot) -> None:
    asked = []

    def limited(body: dict) -> tuple[int, dict]:
        asked.append(body["messages"][-1]["content"])
        return (
            (429, {"error": {"message": "budget", "code": "budget_exceeded"}}) if "number 7" in asked else parrot(body)
        )

    first = evals("run", suite, "--base-url", serve(limited), "--model", "faq@2")
    assert first.exit_code == 3
    assert "evidence is missing: the same command asks for those samples again" in first.stdout
    missing = sum(r.outcome == "harness_error" for r in run_log.read(Path("runs/numbers-faq-2.jsonl")).records)
    assert missing > 0
    second = evals("run", suite, "--base-url", serve(parrot), "--model", "faq@2")
    assert second.exit_code == 0, second.output
    assert f"resuming 'runs/numbers-faq-2.jsonl': {missing} of 30 results left" in second.stderr


def test_a_model_that_is_not_there_is_named_in_the_gateways_words(evals, suite: Path, serve) -> None:
    said = "no model 'gpt' here; this key may use 'faq'"
    url = serve(lambda body: (404, {"error": {"message": said, "code": "model_not_found"}}))
    few = evals("run", suite, "--base-url", url, "--model", "gpt", "--limit", 2)
    assert few.exit_code == 3
    assert few.stdout.count(f"404 model_not_found: {said}") == 1
    every = evals("run", suite, "--base-url", url, "--model", "gpt", "--out", "all.jsonl")
    assert (every.exit_code, said in every.stderr) == (3, True)
    assert len(run_log.read(Path("all.jsonl")).records) < 20


def test_errors_of_the_system_are_evidence(evals, suite: Path, serve) -> None:
    result = evals("run", suite, "--base-url", serve(lambda body: (500, {})), "--model", "faq@2")
    assert result.exit_code == 0
    assert "exact     0.0000" in result.stdout
    assert "30 system_error" in result.stdout


def test_fresh_starts_in_a_new_file_and_keeps_the_old_one(evals, suite: Path, serve, parrot) -> None:
    url = serve(parrot)
    for _ in range(3):
        assert evals("run", suite, "--base-url", url, "--model", "m", "--fresh").exit_code == 0
    names = sorted(path.name for path in Path("runs").iterdir())
    assert names == ["numbers-m-2.jsonl", "numbers-m-3.jsonl", "numbers-m.jsonl"]


def test_a_changed_suite_does_not_go_into_the_old_log(evals, suite: Path, serve, parrot) -> None:
    url = serve(parrot)
    assert evals("run", suite, "--base-url", url, "--model", "m").exit_code == 0
    suite.write_text(SUITE.replace("max_tokens: 8", "max_tokens: 9"))
    result = evals("run", suite, "--base-url", url, "--model", "m")
    assert result.exit_code == 3
    assert "params" in result.stderr
    assert "--fresh" in result.stderr


def test_a_partial_run_says_that_a_gate_will_refuse_it(evals, suite: Path, serve, parrot) -> None:
    result = evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--limit", 5)
    assert result.exit_code == 0
    assert "the run is partial (--limit 5)" in result.stdout


def test_a_limit_beyond_the_data_set_is_no_limit(evals, suite: Path, serve, parrot) -> None:
    assert evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--limit", 500).exit_code == 0
    assert run_log.read(Path("runs/numbers-m.jsonl")).manifest.limit is None


def test_epochs_of_the_flags_count(evals, suite: Path, serve, parrot) -> None:
    assert evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--epochs", 2).exit_code == 0
    assert len(run_log.read(Path("runs/numbers-m.jsonl")).records) == 60


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGINT as a terminal's programs have it: a shell that starts one in the background lets it ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupted_run_says_how_to_go_on(evals, suite: Path, serve, parrot) -> None:
    ended = threading.Event()

    def interrupting(body: dict) -> tuple[int, dict]:
        if "number 9" in body["messages"][-1]["content"]:
            signal.raise_signal(signal.SIGINT)
            ended.wait(30.0)  # else the run might be over before its loop hears of the signal
        return parrot(body)

    result = evals("run", suite, "--base-url", serve(interrupting), "--model", "m")
    ended.set()
    assert result.exit_code == 130
    assert "the same command goes on from 'runs/numbers-m.jsonl'" in result.stderr
    assert not run_log.read(Path("runs/numbers-m.jsonl")).sealed
    assert evals("run", suite, "--base-url", serve(parrot), "--model", "m").exit_code == 0


def test_what_is_no_log_is_told_and_stays(evals, suite: Path, serve, parrot) -> None:
    Path("file").write_text("")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("other")
        for out, expected in (("other", "is not a file"), ("file/x", "names as a folder is a file")):
            result = evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--out", out)
            assert (result.exit_code, expected in result.stderr) == (3, True), result.output
        assert Path("other").is_socket()


def test_nothing_at_the_address_is_one_clear_message(evals, suite: Path) -> None:
    result = evals("run", suite, "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    assert result.exit_code == 3
    assert "is the gateway running?" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (["--model", "m"], 2, "either a suite file or --dataset"),
        (["suite.yaml", "--dataset", "questions.jsonl", "--model", "m"], 2, "either a suite file or --dataset"),
        (["suite.yaml"], 2, "--model"),
        (["nope.yaml", "--model", "m"], 3, "no such file"),
        (["--dataset", "nope.jsonl", "--model", "m"], 3, "no such file"),
        (["--dataset", "questions.jsonl", "--scorer", "exakt", "--model", "m"], 3, "did you mean 'exact'"),
        (["--dataset", "questions.jsonl", "--scorer", "regex", "--model", "m"], 3, "need a suite file"),
        (["suite.yaml", "--model", "m", "--base-url", "localhost:8080"], 3, "http://HOST:PORT/v1"),
    ],
)
def test_mistakes_are_named(evals, suite: Path, args: list[str], code: int, expected: str) -> None:
    result = evals("run", *args)
    assert (result.exit_code, expected in result.stderr) == (code, True), result.output


def test_other_data_than_the_suite_pins_is_refused(evals, suite: Path) -> None:
    suite.write_text(SUITE + f"dataset_sha256: sha256:{'0' * 64}\n")
    result = evals("run", suite, "--model", "m")
    assert result.exit_code == 3
    assert "other data" in result.stderr


def test_a_run_that_never_began_leaves_no_log(evals, suite: Path, serve, parrot) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        assert evals("run", suite, "--base-url", closed, "--model", "m", "--out", "a.jsonl").exit_code == 3
    assert not Path("a.jsonl").exists()
    assert evals("run", suite, "--base-url", serve(parrot), "--model", "m", "--out", "a.jsonl").exit_code == 0
    assert evals("run", suite, "--base-url", closed, "--model", "m", "--out", "a.jsonl").exit_code in (0, 3)
    assert len(run_log.read(Path("a.jsonl")).records) == 30, "evidence is never removed"
