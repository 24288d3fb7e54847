import json

import pytest
from pydantic import ValidationError

from evals.client import Result
from evals.schema import Answer, Failure, Passage, Sample, Score, Unjudged
from evals.scorers.rag import prompts
from evals.scorers.rag.claims import FactualCorrectness, Faithfulness, Verdicts
from evals.scorers.rag.context import Usefulness
from evals.scorers.rag.judge import best, contexts, question, read
from tests.evals.scorers.rag.scripted import REFUSED, Scripted, cut_off, score, statements, verdicts

USEFUL = {"reason": "r", "verdict": 1}


def said(text: str, finish_reason: str | None = "stop") -> Result:
    return Result(answer=Answer(text=text, finish_reason=finish_reason))


@pytest.mark.parametrize("finish_reason", ["stop", None])
def test_a_complete_reply_is_read(finish_reason: str | None) -> None:
    assert read(said(json.dumps(USEFUL), finish_reason), "usefulness", Usefulness) == Usefulness(reason="r", verdict=1)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (REFUSED, "usefulness: no verdict: rejected: 400"),
        (Result(), "neither answer nor failure"),
        (cut_off(USEFUL), "finish_reason 'length'; raise `judge.max_tokens`"),
        (said(json.dumps(USEFUL), "content_filter"), "finish_reason 'content_filter'"),
        (said('{"reason": "r", "verd'), "the reply: Invalid JSON"),
        (said("```json\n" + json.dumps(USEFUL) + "\n```"), "does the judge's engine enforce"),
        (said('{"reason": "r"}'), "verdict: Field required"),
        (said('{"reason": "r", "verdict": 1, "confidence": 0.5}'), "confidence: Extra inputs"),
        *[
            (
                said(f'{{"reason": "r", "verdict": {verdict}}}'),
                "verdict: (Value error, expected 0 or 1|Input should be a valid integer)|Invalid JSON",
            )
            for verdict in ("2", "-1", "true", "1.0", '"1"', "null", "NaN", "[1]")
        ],
    ],
)
def test_anything_else_judges_nothing(result: Result, expected: str) -> None:
    with pytest.raises(Unjudged, match=expected) as failed:
        read(result, "usefulness", Usefulness)
    assert failed.value.kind == "judge_failed"


async def test_the_request_holds_everything_that_decides_the_verdict() -> None:
    judge = Scripted(StatementGeneratorOutput=statements("a b", "c"), NLIStatementOutput=verdicts(a_b=1, c=0))
    found = await score("faithfulness", judge, model="judge@1", max_tokens=100)
    assert found.value == 0.5
    (_, first, vote), (_, second, _) = judge.asked
    assert (first["model"], first["temperature"], first["max_tokens"], vote) == ("judge@1", 0.0, 100, 0)
    assert first["messages"][0]["content"].startswith("Given a question and an answer")
    shape = second["response_format"]["json_schema"]
    assert (second["response_format"]["type"], shape["name"], shape["strict"]) == (
        "json_schema",
        "NLIStatementOutput",
        True,
    )
    listed, verdict = shape["schema"]["properties"]["statements"], shape["schema"]["$defs"]["Verdict"]
    assert (listed["minItems"], listed["maxItems"]) == (2, 2)
    assert verdict["properties"]["statement"]["enum"] == ["a b", "c"]
    assert verdict["properties"]["verdict"]["enum"] == [0, 1]
    assert list(verdict["properties"]) == ["statement", "reason", "verdict"]
    assert verdict["additionalProperties"] is False
    assert "enum" not in json.dumps(Verdicts.model_json_schema()["$defs"]["Verdict"]["properties"]["statement"])


async def test_what_is_not_said_is_the_judges_of_the_suite() -> None:
    judge = Scripted(StatementGeneratorOutput=statements("a"), NLIStatementOutput=verdicts(a=1))
    await score("faithfulness", judge)
    assert not {"model", "max_tokens", "seed"} & judge.asked[0][1].keys()


def test_what_a_retriever_found_comes_before_what_the_sample_brings() -> None:
    sample = Sample(id="a", input="q", contexts=["own"])
    assert contexts(sample, Answer(passages=[Passage("1", "x"), Passage("2", " ")])) == ["x", " "]
    assert contexts(sample, Answer()) == ["own"]
    assert contexts(sample, Answer(passages=[])) == []
    assert contexts(sample, Answer(passages=[Passage("1", " \n")])) == []


def test_where_no_passages_take_part_nothing_is_measured() -> None:
    with pytest.raises(Unjudged, match="sample 'a': expected passages") as failed:
        contexts(Sample(id="a", input="q"), Answer(text="x"))
    assert failed.value.kind == "not_measured"


def test_a_question_is_needed() -> None:
    assert question(Sample(id="a", input="q", follow_ups=["and?"])) == "and?"
    with pytest.raises(ValueError, match="sample 'a': expected a question in text"):
        question(Sample(id="a", input=[{"role": "user", "content": [{"type": "image_url"}]}]))


async def test_the_best_reference_counts_and_all_are_judged() -> None:
    judged: list[str] = []

    async def judge(reference: str) -> Score:
        judged.append(reference)
        return Score(len(reference) / 10)

    assert await best(Sample(id="a", input="q", reference=["x", "xxx", "xx"]), judge) == Score(0.3)
    assert judged == ["x", "xxx", "xx"]


@pytest.mark.parametrize(("reference", "expected"), [(None, "no reference"), (["x", " "], "a reference is blank")])
async def test_a_reference_is_needed(reference: list[str] | None, expected: str) -> None:
    async def judge(reference: str) -> Score:
        return Score(1.0)

    with pytest.raises(ValueError, match=expected):
        await best(Sample(id="a", input="q", reference=reference), judge)


async def test_one_reference_that_is_not_judged_leaves_no_score() -> None:
    async def judge(reference: str) -> Score:
        if reference == "y":
            raise Unjudged("judge_failed", "no verdict")
        return Score(1.0)

    with pytest.raises(Unjudged):
        await best(Sample(id="a", input="q", reference=["x", "y"]), judge)


def test_the_identity_is_of_prompts_and_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Faithfulness().identity()
    assert before is not None
    assert before.startswith("sha256:")
    assert before == Faithfulness(max_tokens=3).identity()
    prompt = prompts.library()[1]["support"]
    monkeypatch.setattr(prompt, "instruction", prompt.instruction + " Be kind.")
    assert Faithfulness().identity() != before
    monkeypatch.undo()
    monkeypatch.setattr(prompt, "examples", prompt.examples[:0])
    assert Faithfulness().identity() != before
    monkeypatch.undo()
    assert Faithfulness().identity() == before


def test_another_version_of_ragas_is_another_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    before, known = Faithfulness().identity(), prompts.library()
    monkeypatch.setattr(prompts, "library", lambda: ("0.4.999", known[1]))
    assert Faithfulness().identity() != before


def test_options_that_choose_examples_belong_to_the_identity() -> None:
    assert FactualCorrectness(coverage="high").identity() != FactualCorrectness().identity()
    assert FactualCorrectness(beta=2.0).identity() == FactualCorrectness().identity()


def test_another_schema_is_another_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Faithfulness().identity()
    monkeypatch.setattr(Faithfulness, "ASKS", {**Faithfulness.ASKS, "support": Usefulness})
    assert Faithfulness().identity() != before


def test_a_suite_learns_at_once_that_ragas_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "installed", lambda: False)
    with pytest.raises(ValidationError, match=r"ragas is not installed: pip install 'tollgate\[evals\]'"):
        Faithfulness()


def test_a_failure_of_the_judge_keeps_its_own_words() -> None:
    failure = Failure("limited", "429: slow down")
    with pytest.raises(Unjudged, match="limited: 429: slow down"):
        read(Result(failure=failure, retryable=True), "support", Verdicts)
