from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.composition import Plan, Target, log_path, manifest_of, suite_from
from gateway.contracts.errors import InputError

FLAGS = {"dataset": None, "scorer": (), "temperature": 0.0, "max_tokens": None, "epochs": None, "concurrency": None}


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "my questions.jsonl"
    path.write_text('{"id": "a", "input": "q", "reference": "x"}\n{"id": "b", "input": "q2", "reference": "y"}\n')
    return path


def target(limit: int | None = None) -> Target:
    return Target("http://127.0.0.1:1/v1", "faq@2", None, limit, None)


def test_flags_make_a_suite(data_file: Path) -> None:
    suite, data = suite_from(None, FLAGS | {"dataset": str(data_file), "max_tokens": 8, "epochs": 3})
    assert (suite.suite, suite.epochs, suite.params) == ("my-questions", 3, {"temperature": 0.0, "max_tokens": 8})
    assert [spec.name for spec in suite.scorers] == ["exact"]
    assert len(data.samples) == 2


def test_flags_change_the_suite_of_a_file(tmp_path: Path, data_file: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"suite: s\ndataset: {data_file.name!r}\nscorers: [{{name: exact, as: right}}]\nconcurrency: 4\n")
    suite, _ = suite_from(path, FLAGS | {"concurrency": 9})
    assert (suite.concurrency, suite.epochs, suite.scorers[0].metric) == (9, 1, "right")


def test_a_scorer_that_needs_options_needs_a_file(data_file: Path) -> None:
    with pytest.raises(InputError, match="options need a suite file"):
        suite_from(None, FLAGS | {"dataset": str(data_file), "scorer": ("regex",)})


@pytest.mark.parametrize(("limit", "expected"), [(None, None), (1, 1), (2, None), (99, None)])
def test_a_limit_counts_where_it_leaves_samples_out(data_file: Path, limit: int | None, expected: int | None) -> None:
    suite, data = suite_from(None, FLAGS | {"dataset": str(data_file)})
    manifest = manifest_of(Plan(suite, data, data_file.parent, target(limit), datetime(2026, 1, 2, tzinfo=UTC)))
    assert (manifest.limit, manifest.samples, manifest.dataset_sha256) == (expected, 2, data.digest)
    assert manifest.created == "2026-01-02T00:00:00+00:00"


def test_a_fresh_log_takes_a_name_that_is_free(tmp_path: Path) -> None:
    first = tmp_path / "run.jsonl"
    assert log_path(first, "s", "m", fresh=True) == first
    first.touch()
    (tmp_path / "run-2.jsonl").touch()
    assert log_path(first, "s", "m", fresh=True) == tmp_path / "run-3.jsonl"
    assert log_path(first, "s", "m", fresh=False) == first
    assert log_path(None, "faq", "my/model:1", fresh=False) == Path("runs/faq-my-model-1.jsonl")


@pytest.mark.parametrize(
    ("scorer", "field"), [("exact", "reference"), ("tool_calls", "expected_calls"), ("mrr", "relevant")]
)
def test_a_sample_that_a_scorer_cannot_judge_is_refused_before_it_is_asked(
    tmp_path: Path, scorer: str, field: str
) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text('{"id": "q7", "input": "why?"}\n')
    with pytest.raises(InputError, match=f"scorer '{scorer}' needs `{field}`, and 'q7' have none"):
        suite_from(None, FLAGS | {"dataset": str(path), "scorer": (scorer,)})
