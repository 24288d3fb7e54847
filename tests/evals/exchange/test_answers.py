"""Results of a batch: matched to their requests, scored, and what becomes of those that are missing or odd."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals import dataset, run_log, scorers
from evals.composition import Plan, Target, request_of
from evals.config import load_suite
from evals.equipment import Outside
from evals.evidence import gather
from evals.exchange import answers, requests
from evals.exchange.answers import Files
from evals.schema import Failure
from gateway.contracts.errors import InputError

Rows = list[dict[str, Any]]


def _answered(text: str | None, **more: Any) -> dict[str, Any]:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "system_fingerprint": "fp"}
    return {"response": {"status_code": 200, "request_id": "r", "body": body}, "error": None, **more}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Six samples whose answer is their number."""
    lines = [{"id": f"q{n}", "input": f"number {n}", "reference": str(n)} for n in range(6)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "suite.yaml").write_text("suite: s\ndataset: d.jsonl\nscorers: [{name: exact}]\n")
    suite = load_suite(tmp_path / "suite.yaml", scorers.build)
    data = dataset.load(tmp_path / "d.jsonl")
    return Plan(suite, data, tmp_path, Target("", "faq"), datetime(2026, 11, 22, tzinfo=UTC))


@pytest.fixture
def read(plan: Plan, tmp_path: Path) -> Callable[..., tuple[answers.Matched, run_log.Log]]:
    """Write rows as the results of the batch, then read them."""

    def reading(rows: Rows | bytes, taken: Plan = plan) -> tuple[answers.Matched, run_log.Log]:
        batch, results = tmp_path / "batch.jsonl", tmp_path / "results.jsonl"
        batch.write_bytes(requests.written(plan.data, request_of(taken.suite, taken.target)))
        results.write_bytes(rows if isinstance(rows, bytes) else b"".join(json.dumps(r).encode() + b"\n" for r in rows))
        outside = Outside("", None, {}, time.monotonic, asyncio.sleep, random.Random(0), print)
        files = Files(batch, (results,), tmp_path / "log.jsonl")
        matched = asyncio.run(answers.read(answers.targeted(plan, batch), files, outside))
        return matched, run_log.read(tmp_path / "log.jsonl")

    return reading


def _rows() -> Rows:
    return [{"custom_id": f"candidate/0/q{n}", **_answered(str(n))} for n in range(6)]


def test_results_are_scored_like_a_run(read: Callable[..., Any], plan: Plan) -> None:
    rows = _rows()
    rows[2] = {"custom_id": "candidate/0/q2", **_answered("wrong")}
    matched, log = read(rows[::-1])
    assert (matched.unknown, matched.twice, matched.unreadable) == ((), (), ())
    assert [record.id for record in log.records] == [f"q{n}" for n in range(6)]
    assert [record.scores["exact"].value for record in log.records] == [1, 1, 0, 1, 1, 1]
    assert log.sealed
    found = gather(log)
    assert (found.problems, found.coverage, found.fingerprints) == ((), 1.0, ("fp",))
    # An online run of the same suite may be compared with it.
    assert log.manifest.suite_digest == plan.suite.digest(plan.data.digest)


def test_a_file_of_results_may_begin_with_a_byte_order_mark(read: Callable[..., Any]) -> None:
    matched, log = read(b"\xef\xbb\xbf" + b"".join(json.dumps(row).encode() + b"\n" for row in _rows()))
    assert matched.unreadable == ()
    assert [record.outcome for record in log.records] == ["scored"] * 6


def test_the_manifest_names_the_files(read: Callable[..., Any]) -> None:
    _, log = read(_rows())
    assert log.manifest.imported is not None
    assert sorted(log.manifest.imported.files) == ["batch.jsonl", "results.jsonl"]
    assert (log.manifest.imported.tool, log.manifest.model, log.manifest.base_url) == ("batch", "faq", "")


@pytest.mark.parametrize(
    ("row", "failure"),
    [
        (None, Failure("not_reported", "the results hold no answer to this request")),
        (_answered(None), Failure("empty_answer", "neither text nor a tool call; finish_reason 'stop'")),
        (
            {"response": {"status_code": 400, "body": None}, "error": {"error": {"message": "too long", "code": 400}}},
            Failure("rejected", "400: too long"),
        ),
        (
            {"response": {"status_code": 500, "body": {"error": {"message": "dead"}}}, "error": None},
            Failure("server_error", "500: dead"),
        ),
        (
            {"response": {"status_code": 404, "body": None}, "error": {"message": "no model", "code": 404}},
            Failure("not_found", "404: no model"),
        ),
        (
            {"response": None, "error": {"code": "batch_expired", "message": "24 h"}},
            Failure("not_reported", 'the batch engine gave no response: {"code":"batch_expired","message":"24 h"}'),
        ),
        ({"response": None, "error": "odd"}, Failure("not_reported", "the batch engine gave no response: odd")),
        ({"response": {"status_code": 200, "body": {}}, "error": None}, None),
    ],
)
def test_what_is_no_answer_is_a_failure(read: Callable[..., Any], row: Any, failure: Failure | None) -> None:
    rows = _rows()
    rows[1:2] = [] if row is None else [{"custom_id": "candidate/0/q1", **row}]
    _, log = read(rows)
    assert len(log.records) == 6
    assert [record.id for record in log.records if record.failure] == ["q1"]
    if failure is None:
        assert log.records[1].failure.kind == "bad_response"
    else:
        assert log.records[1].failure == failure


def test_two_results_of_one_request_are_none(read: Callable[..., Any]) -> None:
    matched, log = read([*_rows(), {"custom_id": "candidate/0/q1", **_answered("1")}])
    assert matched.twice == ("candidate/0/q1",)
    assert log.records[1].outcome == "harness_error"
    assert gather(log).coverage == pytest.approx(5 / 6)


def test_results_of_no_request_and_lines_that_are_none_are_told(read: Callable[..., Any]) -> None:
    text = b"".join(json.dumps(row).encode() + b"\n" for row in [*_rows(), {"custom_id": "x", **_answered("1")}])
    matched, log = read(text + b'{"custom_id": "candi')
    assert matched.unknown == ("x",)
    assert [where.rpartition(", ")[2] for where in matched.unreadable] == ["line 8"]
    assert gather(log).coverage == 1.0


def test_results_of_another_batch_write_nothing(read: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no result belongs to a request"):
        read([{"custom_id": "x", **_answered("1")}])
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("named", ["faq", "faq-2026-11-22", "faq-20261122", "", None, 7])
def test_an_answer_may_name_its_model_or_none(read: Callable[..., Any], named: Any) -> None:
    rows = _rows()
    rows[1]["response"]["body"]["model"] = named
    matched, log = read(rows)
    assert (matched.foreign, log.records[1].outcome) == ({}, "scored")


@pytest.mark.parametrize("named", ["faq@1", "faq-mini", "f", "old"])
def test_an_answer_of_another_model_is_missing_evidence(read: Callable[..., Any], named: str) -> None:
    rows = _rows()
    rows[1]["response"]["body"]["model"] = named
    matched, log = read(rows)
    assert matched.foreign == {"candidate/0/q1": named}
    told = f"the answer says that it is of {named!r}, and 'faq' was asked"
    assert log.records[1].failure == Failure("not_reported", told)


def test_results_of_another_models_batch_write_nothing(read: Callable[..., Any], tmp_path: Path) -> None:
    rows = _rows()
    for row in rows:
        row["response"]["body"]["model"] = "faq@1"
    with pytest.raises(InputError, match=r"'faq@1', where 'faq' was asked.*add --answered-as faq@1"):
        read(rows)
    assert not (tmp_path / "log.jsonl").exists()


def test_two_arms_and_a_part_are_recognised(read: Callable[..., Any], plan: Plan) -> None:
    part = Plan(plan.suite, plan.data, plan.folder, Target("", "faq", limit=2, baseline="old"), plan.created)
    names = [f"{arm}/0/q{n}" for n in range(2) for arm in ("candidate", "baseline")]
    _, log = read([{"custom_id": name, **_answered(name[-1])} for name in names], part)
    assert (log.manifest.model, log.manifest.baseline, log.manifest.limit, len(log.records)) == ("faq", "old", 2, 4)
    assert gather(log, "baseline").units["q1"].score("exact", "baseline") == (1.0, 1.0)


def test_files_that_are_not_there_are_told(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`evals batch write` makes it"):
        answers.targeted(plan, tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="name the results of the batch"):
        answers.match([tmp_path / "none.jsonl"], [])
