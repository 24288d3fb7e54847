"""Inspect AI: logs that version 0.3.285 wrote, of an engine that is wrong, silent and broken at known questions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evals.exchange import inspect_log
from evals.exchange.imported import UNREAD, Choice, Found
from gateway.contracts.errors import InputError

SAMPLES = Path(__file__).parents[2] / "samples" / "exchange" / "inspect"


def _by_id(name: str) -> dict[str, Found]:
    return {found.id: found for found in inspect_log.read(SAMPLES / name, Choice()).results}


def test_a_log_is_read() -> None:
    found = inspect_log.read(SAMPLES / "good.eval", Choice(tag=("kind",), cluster="page"))
    assert (found.tool, found.version, found.suite, found.model) == ("inspect-ai", "0.3.285", "numbers", "openai/good")
    assert found.metrics == ("exact", "graded", "several.brief", "several.points")
    assert (len(found.samples), len(found.results), found.total, found.epochs) == (21, 21, 21, 1)
    sample = found.samples[7]
    assert (sample.id, sample.input, sample.reference) == ("q07", "Say the number 7.", "7")
    assert (sample.tags, sample.cluster) == (["kind=high"], "page=3")
    assert found.params == {"temperature": 0.0}


def test_marks_become_numbers() -> None:
    found = _by_id("good.eval")
    marks = {name: found[name].values["graded"] for name in ("q00", "q02", "q03", "q04")}
    assert marks == {"q00": 1.0, "q02": 0.5, "q03": 0.0, "q04": 0.0}
    assert math.isnan(found["q06"].values["graded"])
    assert (found["q00"].values["several.brief"], found["q00"].values["several.points"]) == (True, 80)
    assert found["q02"].explanations["graded"] == "half of it"


def test_every_way_to_fail_is_a_failure() -> None:
    failures = {name: found.failure.kind for name, found in _by_id("good.eval").items() if found.failure}
    assert failures == {"q08": "server_error", "q09": "rejected", "q10": "empty_answer", "q11": "empty_answer"}


def test_the_text_of_an_error_is_no_answer() -> None:
    """Inspect writes what the engine says of a prompt that is too long as an answer, and scores it."""
    found = _by_id("good.eval")["q09"]
    assert found.values["several.points"] == 20
    assert found.failure is not None
    assert "too long for the model" in found.failure.message


def test_a_run_that_stopped_has_all_its_samples() -> None:
    found = inspect_log.read(SAMPLES / "stop.eval", Choice(metrics=("exact",)))
    assert (len(found.samples), found.total) == (21, 21)
    lost = [sample.id for sample in found.samples if sample.input == UNREAD]
    assert lost == [f"q{number}" for number in range(10, 21)]
    failures = {each.id: each.failure.kind for each in found.results if each.failure}
    assert failures == {"q08": "server_error", "q09": "not_reported"}


def test_epochs_and_limit_are_seen() -> None:
    found = inspect_log.read(SAMPLES / "epochs.eval", Choice())
    assert (len(found.samples), found.total, found.epochs, len(found.results)) == (3, 21, 2, 6)
    assert sorted({(each.id, each.epoch) for each in found.results})[:2] == [("q00", 0), ("q00", 1)]


def test_choices_belong_to_the_question() -> None:
    found = inspect_log.read(SAMPLES / "choices.json", Choice())
    assert found.metrics == ("choice",)
    assert (found.samples[0].id, found.samples[0].reference) == ("1", "A")
    assert found.samples[0].input == [
        {"role": "user", "content": "Say A. number 0"},
        {"role": "user", "content": "A) yes\nB) no"},
    ]


def _log(tmp_path: Path, change: Any) -> Path:
    log = json.loads((SAMPLES / "choices.json").read_text())
    change(log)
    (tmp_path / "log.json").write_text(json.dumps(log))
    return tmp_path / "log.json"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"scores": {}}, "not_measured"),
        ({"scores": None}, "not_measured"),
        ({"error": {"message": "RateLimitError"}}, "limited"),
        ({"invalidation": {"author": "me"}}, "not_reported"),
        ({"output": {"choices": [], "completion": ""}, "messages": []}, "empty_answer"),
    ],
)
def test_what_a_sample_lacks_is_told(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    path = _log(tmp_path, lambda log: log["samples"][1].update(change))
    failures = {each.id: each.failure.kind for each in inspect_log.read(path, Choice()).results if each.failure}
    assert failures == {"2": kind}


def test_a_sample_that_was_asked_again_counts_its_attempts(tmp_path: Path) -> None:
    path = _log(tmp_path, lambda log: log["samples"][0].update(error_retries=[{"message": "x"}]))
    assert [each.attempts for each in inspect_log.read(path, Choice()).results] == [2, 1, 1]


@pytest.mark.parametrize(
    ("value", "number"), [("0.7", 0.7), ("Yes", 1.0), ("false", 0.0), ("maybe", "maybe"), (0.3, 0.3)]
)
def test_other_values_are_read_as_inspect_reads_them(tmp_path: Path, value: Any, number: Any) -> None:
    path = _log(tmp_path, lambda log: log["samples"][0]["scores"]["choice"].update(value=value))
    assert inspect_log.read(path, Choice()).results[0].values == {"choice": number}


def test_tool_calls_are_kept(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": "look", "arguments": {"at": 1}}]}
    path = _log(tmp_path, lambda log: log["samples"][0]["messages"].append(call))
    answer = inspect_log.read(path, Choice()).results[0].answer
    assert answer is not None
    assert (answer.tool_calls[0].name, answer.tool_calls[0].arguments) == ("look", {"at": 1})


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="found no `eval` with a task and a dataset"):
        inspect_log.read(tmp_path / "a.json", Choice())
    path = _log(tmp_path, lambda log: log.pop("samples"))
    with pytest.raises(InputError, match="holds no samples: run `inspect eval` with --log-samples"):
        inspect_log.read(path, Choice())
