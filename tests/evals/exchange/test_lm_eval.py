"""lm-evaluation-harness: files that version 0.4.13 wrote."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evals.exchange import lm_eval
from evals.exchange.imported import UNREAD, Choice
from gateway.contracts.errors import InputError

SAMPLES = Path(__file__).parents[2] / "samples" / "exchange" / "lm_eval"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A copy of a run that may be changed."""
    return Path(shutil.copytree(SAMPLES / "good", tmp_path / "good"))


def _edit(folder: Path, pattern: str, change: Any) -> None:
    path = next(folder.glob(pattern))
    values = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else None
    changed = change(values if values is not None else json.loads(path.read_text()))
    path.write_text("".join(json.dumps(row) + "\n" for row in changed) if values is not None else json.dumps(changed))


def test_a_run_is_read_with_its_filters() -> None:
    found = lm_eval.read(SAMPLES / "good", Choice())
    assert (found.tool, found.version, found.suite, found.model) == ("lm-eval", "0.4.13", "numbers", "good")
    assert found.metrics == ("exact_match,strip", "exact_match,digits")
    assert (len(found.samples), len(found.results), found.total, found.epochs) == (22, 22, 22, 1)
    first = found.samples[0]
    assert (first.id, json.loads(str(first.input))["input"], first.reference) == ("0", "Say the number 0.", "0")
    result = found.results[3]
    assert result.values == {"exact_match,strip": 0.0, "exact_match,digits": 0.0}
    assert result.answer is not None
    assert result.answer.text == "4"


def test_the_score_is_the_tools_own_but_for_silent_answers() -> None:
    found = lm_eval.read(SAMPLES / "good", Choice())
    told = json.loads(next((SAMPLES / "good").glob("results_*")).read_text())["results"]["numbers"]
    mean = sum(result.values["exact_match,strip"] for result in found.results) / len(found.samples)
    assert mean == pytest.approx(told["exact_match,strip"])
    assert [result.id for result in found.results if result.failure] == ["8", "9"]
    assert {result.failure.kind for result in found.results if result.failure} == {"empty_answer"}


def test_a_samples_file_finds_its_results() -> None:
    path = next((SAMPLES / "good").glob("samples_*"))
    assert lm_eval.read(path, Choice()) == lm_eval.read(SAMPLES / "good", Choice())


def test_a_multiple_choice_has_the_likeliest_continuation_as_its_answer() -> None:
    found = lm_eval.read(SAMPLES / "dummy", Choice(tasks=("choices",)))
    assert found.metrics == ("acc", "acc_norm")
    assert found.results[0].values == {"acc": 1.0, "acc_norm": 1.0}
    assert found.results[0].answer is not None
    assert found.results[0].answer.text == " 1"
    assert all(result.failure is None for result in found.results)


def test_a_limit_is_seen() -> None:
    found = lm_eval.read(SAMPLES / "dummy", Choice(tasks=("choices",)))
    assert (len(found.samples), found.total) == (5, 22)


def test_perplexity_has_no_score_of_a_sample() -> None:
    found = lm_eval.read(SAMPLES / "dummy", Choice(tasks=("ppl",)))
    assert found.metrics == ()
    assert set(found.left_out) == {"word_perplexity", "bits_per_byte"}
    with pytest.raises(InputError, match="has no 'word_perplexity'"):
        lm_eval.read(SAMPLES / "dummy", Choice(tasks=("ppl",), metrics=("word_perplexity",)))


def test_a_metric_that_falls_is_marked(good: Path) -> None:
    def turn(told: dict[str, Any]) -> dict[str, Any]:
        told["higher_is_better"]["numbers"]["exact_match"] = False
        return told

    _edit(good, "results_*", turn)
    assert lm_eval.read(good, Choice()).falling == {"exact_match,strip", "exact_match,digits"}


def test_tasks_with_other_metrics_are_not_mixed() -> None:
    with pytest.raises(
        InputError, match=r"different metrics \(choices: acc, acc_norm; ppl: none\): import one with --task"
    ):
        lm_eval.read(SAMPLES / "dummy", Choice())
    with pytest.raises(InputError, match="--task: the run has no 'other': it has choices, ppl"):
        lm_eval.read(SAMPLES / "dummy", Choice(tasks=("other",)))


def test_tasks_with_the_same_metrics_become_one_data_set(good: Path) -> None:
    rows = next(good.glob("samples_*"))
    rows.with_name(rows.name.replace("numbers", "more")).write_bytes(rows.read_bytes())

    def twice(told: dict[str, Any]) -> dict[str, Any]:
        for key in ("n-samples", "higher_is_better", "configs", "versions"):
            told[key]["more"] = told[key]["numbers"]
        return told

    _edit(good, "results_*", twice)
    found = lm_eval.read(good, Choice(cluster="kind"))
    assert (found.suite, len(found.samples), found.total) == ("more+numbers", 44, 44)
    assert (found.samples[0].id, found.samples[0].tags, found.samples[0].cluster) == (
        "more/0",
        ["more"],
        "more/kind=low",
    )


def test_rows_that_only_the_counts_know_are_samples_all_the_same(good: Path) -> None:
    _edit(good, "samples_*", lambda rows: [row for row in rows if row["doc_id"] not in (2, 5)])
    found = lm_eval.read(good, Choice())
    assert (len(found.samples), len(found.results)) == (22, 20)
    assert [sample.id for sample in found.samples if sample.input == UNREAD] == ["2", "5"]


def test_a_filter_without_a_row_is_a_metric_without_a_value(good: Path) -> None:
    _edit(good, "samples_*", lambda rows: [row for row in rows if (row["doc_id"], row["filter"]) != (2, "digits")])
    assert lm_eval.read(good, Choice()).results[2].values == {"exact_match,strip": 1.0}


def test_two_results_of_one_row_are_refused(good: Path) -> None:
    """Else a line at the end of the file, which says that the answer was right, would take the place of the first."""
    _edit(good, "samples_*", lambda rows: [*rows, {**rows[3], "exact_match": 1.0}])
    with pytest.raises(InputError, match=r"row 3 has two results of one filter"):
        lm_eval.read(good, Choice())


def test_a_run_without_samples_says_how_to_get_them(good: Path) -> None:
    next(good.glob("samples_*")).unlink()
    with pytest.raises(InputError, match=r"no samples of task 'numbers'.*--log_samples"):
        lm_eval.read(good, Choice())


def test_files_of_something_else_are_refused(good: Path, tmp_path: Path) -> None:
    _edit(good, "results_*", lambda told: {"results": {}})
    with pytest.raises(InputError, match="no results file of lm-eval"):
        lm_eval.read(good, Choice())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected one results_\*\.json of lm-eval below it, found none"):
        lm_eval.read(tmp_path / "empty", Choice())
    with pytest.raises(InputError, match="there is no such file or folder"):
        lm_eval.read(tmp_path / "other.json", Choice())
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"expected lm-eval's results_DATE.json"):
        lm_eval.read(tmp_path / "other.json", Choice())
    (tmp_path / "samples_a_1.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"expected its results_DATE\.json beside it"):
        lm_eval.read(tmp_path / "samples_a_1.jsonl", Choice())


@pytest.mark.parametrize(("left", "said"), [({}, "task 'numbers'"), ({"f1": "old"}, "task 'numbers'; f1: old;")])
def test_a_metric_that_is_not_there_is_told_in_one_sentence(left: dict[str, str], said: str) -> None:
    task = lm_eval._Task("numbers", [], (), left, frozenset(), (), 0, 0)
    assert lm_eval._where(Path("r.json"), task).endswith(said)
