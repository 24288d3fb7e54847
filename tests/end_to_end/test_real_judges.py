"""A judge behind a real vLLM, whose grammar holds it to the schema.

The tiny model knows nothing of judging and would talk until it is cut off: a bias towards the quotation mark ends its
reasoning. So its verdicts mean nothing, and their form is what is tested.
"""

import json
from pathlib import Path

import pytest

from evals import run_log
from tests.end_to_end.test_real_vllm import ROOT, evals, questions

pytestmark = pytest.mark.engine

MODEL = ROOT / "datasets/orbit-faq/model"


def suite(folder: Path, url: str, **judge: object) -> Path:
    quote = json.loads((MODEL / "tokenizer.json").read_text())["model"]["vocab"]['"']
    asked = {"model": "faq", "base_url": f"{url}/v1", "params": {"logit_bias": {str(quote): 20}}, **judge}
    path = folder / "suite.yaml"
    path.write_text(
        "suite: judged\ndataset: questions.jsonl\nparams: {temperature: 0, max_tokens: 32}\n"
        f"judge: {json.dumps(asked)}\n"
        "scorers:\n  - {name: judge, as: quality, rubric: is it right, votes: 3}\n"
        "  - {name: judge, as: grade, rubric: is it right, scale: 5}\n"
    )
    return path


async def test_every_verdict_is_one_that_the_schema_allows(vllm: str, tmp_path: Path) -> None:
    questions(tmp_path)
    log = tmp_path / "run.jsonl"
    run = ("--model", "faq", "--base-url", f"{vllm}/v1", "--limit", "12", "--out", str(log))
    assert await evals(tmp_path, "run", str(suite(tmp_path, vllm, max_tokens=90)), *run) in (0, 3)
    records = run_log.read(log).records
    judged = [record for record in records if record.outcome == "scored"]
    assert len(records) == 12
    assert len(judged) > 6, [record.failure for record in records]
    for record in judged:
        assert set(record.scores["quality"].votes) <= {0.0, 1.0}
        assert len(record.scores["quality"].votes) == 3
        assert record.scores["grade"].value in (0.0, 0.25, 0.5, 0.75, 1.0)
    unjudged = [record.failure for record in records if record.failure is not None]
    assert {failure.kind for failure in unjudged} <= {"judge_failed"}


async def test_a_judge_that_never_finishes_ends_the_run_and_is_no_score(vllm: str, tmp_path: Path) -> None:
    questions(tmp_path)
    log = tmp_path / "run.jsonl"
    run = ("--model", "faq", "--base-url", f"{vllm}/v1", "--limit", "30", "--out", str(log))
    assert await evals(tmp_path, "run", str(suite(tmp_path, vllm, max_tokens=3)), *run) == 3
    records = run_log.read(log).records
    assert {record.outcome for record in records} == {"harness_error"}
    assert all(
        record.failure is not None and "raise `judge.max_tokens`" in record.failure.message for record in records
    )
