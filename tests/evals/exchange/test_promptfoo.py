"""promptfoo: results that version 0.123.1 wrote, of an engine that is wrong, silent and broken at known questions."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.exchange import promptfoo
from evals.exchange.imported import UNREAD, Choice
from gateway.contracts.errors import InputError

SAMPLES = Path(__file__).parents[2] / "samples" / "exchange" / "promptfoo"


def _changed(tmp_path: Path, change: Any, name: str = "good.json") -> Path:
    told = json.loads((SAMPLES / name).read_text())
    change(told)
    (tmp_path / "results.json").write_text(json.dumps(told))
    return tmp_path / "results.json"


def test_results_are_read() -> None:
    found = promptfoo.read(SAMPLES / "good.json", Choice(tag=("kind",)))
    assert (found.tool, found.version, found.model) == ("promptfoo", "0.123.1", "openai:chat:good")
    assert found.metrics == ("pass", "score", "right", "brief")
    assert (len(found.samples), len(found.results), found.total, found.epochs) == (21, 21, 21, 1)
    sample = found.samples[3]
    assert sample.id.startswith("q03-")
    assert (sample.input, sample.tags) == ("Say the number 3.", ["kind=low"])
    assert '"value": "3"' in str(sample.reference)
    assert found.results[3].values == {"pass": False, "score": pytest.approx(1 / 3), "right": 0, "brief": 1}


def test_errors_count_though_the_tool_leaves_them_out() -> None:
    found = promptfoo.read(SAMPLES / "good.json", Choice())
    failures = {each.id[:3]: each.failure.kind for each in found.results if each.failure}
    assert failures == {"q08": "server_error", "q09": "rejected", "q10": "empty_answer", "q11": "empty_answer"}


def test_two_runs_of_the_same_tests_have_the_same_samples() -> None:
    good, bad = (promptfoo.read(SAMPLES / name, Choice()) for name in ("good.json", "bad.json"))
    assert good.samples == bad.samples
    assert [each.values["pass"] for each in good.results] != [each.values["pass"] for each in bad.results]


def test_one_of_several_columns_has_to_be_chosen() -> None:
    with pytest.raises(InputError, match=r"4 columns: choose one with --column \(1: openai:chat:good, '\{\{input"):
        promptfoo.read(SAMPLES / "matrix.json", Choice())
    with pytest.raises(InputError, match=r"--column 5: .* has no such column"):
        promptfoo.read(SAMPLES / "matrix.json", Choice(column=5))
    first, last = (promptfoo.read(SAMPLES / "matrix.json", Choice(column=column)) for column in (1, 4))
    assert (first.model, last.model) == ("openai:chat:good", "openai:chat:bad")
    assert first.samples == last.samples


def test_repeats_are_epochs() -> None:
    found = promptfoo.read(SAMPLES / "matrix.json", Choice(column=1))
    assert (len(found.samples), found.epochs) == (2, 2)
    assert len({(each.id, each.epoch) for each in found.results}) == len(found.results) == 4


def test_a_part_of_the_tests_is_seen_as_one() -> None:
    """`--filter-first-n` leaves no trace but the configuration, which lists three tests."""
    assert promptfoo.read(SAMPLES / "matrix.json", Choice(column=1)).total == 3


def test_two_tests_with_the_same_text_are_two_samples(tmp_path: Path) -> None:
    def repeat(told: dict[str, Any]) -> None:
        rows = told["results"]["results"]
        rows.append({**rows[0], "testIdx": 21})

    found = promptfoo.read(_changed(tmp_path, repeat), Choice())
    assert len(found.samples) == 22
    assert found.samples[-1].id == found.samples[0].id + "-2"


def test_results_that_only_the_counts_know_are_samples_all_the_same(tmp_path: Path) -> None:
    found = promptfoo.read(_changed(tmp_path, lambda told: told["results"]["results"].pop()), Choice())
    assert (len(found.samples), len(found.results)) == (21, 20)
    assert [sample.id for sample in found.samples if sample.input == UNREAD] == ["lost-1"]


def test_a_test_that_asserts_nothing_measures_nothing(tmp_path: Path) -> None:
    def empty(told: dict[str, Any]) -> None:
        row = told["results"]["results"][0]
        row["testCase"]["assert"] = []
        row["gradingResult"] = {"pass": True, "score": 1, "reason": "No assertions", "componentResults": []}
        told["results"]["results"][1]["gradingResult"] = None

    found = promptfoo.read(_changed(tmp_path, empty), Choice())
    kinds = [(each.failure.kind, each.failure.message) for each in found.results[:2] if each.failure]
    assert kinds == [("not_measured", "the test asserts nothing"), ("not_measured", "the tool gave no score")]


def test_a_metric_that_some_tests_lack_is_left_out_and_told(tmp_path: Path) -> None:
    found = promptfoo.read(
        _changed(tmp_path, lambda told: told["results"]["results"][0]["namedScores"].pop("brief")), Choice()
    )
    assert (found.metrics, found.left_out) == (("pass", "score", "right"), {"brief": "not every test has it"})


def test_a_named_score_does_not_hide_the_tools_own(tmp_path: Path) -> None:
    def rename(told: dict[str, Any]) -> None:
        for row in told["results"]["results"]:
            row["namedScores"] = {"score": 0.5}

    found = promptfoo.read(_changed(tmp_path, rename), Choice())
    assert found.metrics == ("pass", "score", "named.score")


def test_the_gateways_headers_name_the_release(tmp_path: Path) -> None:
    def through(told: dict[str, Any]) -> None:
        for row in told["results"]["results"]:
            kept = (row.get("response") or {}).get("metadata", {}).get("http", {}).get("headers")
            if kept is not None:
                kept.update(
                    {"x-tollgate-release": "faq@2", "x-tollgate-digest": "sha256:ab", "x-tollgate-cost": "0.01"}
                )

    answer = promptfoo.read(_changed(tmp_path, through), Choice()).results[0].answer
    assert answer is not None
    assert (answer.release, answer.release_digest, answer.cost) == ("faq@2", "sha256:ab", "0.01")


def test_an_answer_from_the_tools_cache_says_so(tmp_path: Path) -> None:
    path = _changed(tmp_path, lambda told: told["results"]["results"][0]["response"].update(cached=True))
    first, second = promptfoo.read(path, Choice()).results[:2]
    assert first.answer is not None
    assert second.answer is not None
    assert (first.answer.cached, second.answer.cached) == (True, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(results=[]), "found no list `results.results`"),
        (lambda told: told["results"].update(prompts=[]), "names no prompts"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        promptfoo.read(_changed(tmp_path, change), Choice())
