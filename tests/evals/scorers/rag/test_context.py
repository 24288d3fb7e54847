from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.schema import Sample
from evals.scorers.rag.context import average_precision
from tests.evals.scorers.rag.scripted import REFUSED, Scripted, cut_off, input_of, score, unjudged

WITH_REFERENCE = Sample(id="s", input="q", reference="Ada wrote notes. She lived in London.")
BOTH = ("Ada wrote notes.", "She lived in London.")


def useful(*verdicts: int) -> list[dict[str, Any]]:
    return [{"reason": "r", "verdict": verdict} for verdict in verdicts]


def attributed(*judged: tuple[str, Any]) -> dict[str, Any]:
    return {"classifications": [{"statement": s, "reason": "r", "attributed": v} for s, v in judged]}


def entities(**named: list[str]) -> Any:
    """Entities by the text; an underscore in a name is a space."""
    return lambda given: {"entities": named[given["text"].replace(" ", "_")]}


# (1/1 + 2/3) / 2 = 5/6, and so on.
@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [([1, 0, 1], 5 / 6), ([0, 1, 1], 7 / 12), ([0, 0, 1], 1 / 3), ([1], 1.0), ([1, 1, 0], 1.0), ([0, 0], 0.0)],
)
async def test_context_precision_is_average_precision(verdicts: list[int], expected: float) -> None:
    judge = Scripted(ContextPrecisionOutput=useful(*verdicts))
    found = await score("context_precision", judge, passages=["p", "q", "r"][: len(verdicts)], sample=WITH_REFERENCE)
    assert found.value == pytest.approx(expected, abs=1e-12)
    asked = [input_of(body["messages"][0]["content"]) for _, body, _ in judge.asked]
    assert [each["context"] for each in asked] == ["p", "q", "r"][: len(verdicts)]
    assert {each["answer"] for each in asked} == {WITH_REFERENCE.reference}


async def test_a_blank_passage_takes_up_its_rank_and_is_of_no_use() -> None:
    judge = Scripted(ContextPrecisionOutput=useful(1))
    assert (await score("context_precision", judge, passages=[" ", "q"])).value == 0.5
    assert len(judge.asked) == 1


async def test_the_best_reference_counts() -> None:
    judge = Scripted(
        ContextPrecisionOutput=lambda given: useful(int(given["context"] == "q" or given["answer"] == "two"))[0]
    )
    sample = Sample(id="s", input="q", reference=["one", "two"])
    assert (await score("context_precision", judge, passages=["p", "q"], sample=sample)).value == 1.0


async def test_utilization_compares_with_the_answer() -> None:
    judge = Scripted(ContextPrecisionOutput=useful(0, 1))
    found = await score("context_utilization", judge, passages=["p", "q"], text="so", sample=Sample(id="s", input="q"))
    assert (found.value, found.explanation) == (0.5, "1 of 2 passages of use, by rank: 0 1")
    assert input_of(judge.asked[0][1]["messages"][0]["content"])["answer"] == "so"
    assert (await score("context_utilization", Scripted(), text=" ")).value == 0.0


@pytest.mark.parametrize(
    "metric", ["context_precision", "context_utilization", "context_recall", "context_entity_recall"]
)
@pytest.mark.parametrize("passages", [[], ["", "\n"]])
async def test_a_retriever_that_finds_nothing_scores_nothing(metric: str, passages: list[str]) -> None:
    found = await score(metric, Scripted(), passages=passages)
    assert (found.value, found.explanation) == (0.0, "no passages")


@pytest.mark.parametrize(
    "metric", ["context_precision", "context_utilization", "context_recall", "context_entity_recall"]
)
async def test_without_a_retriever_nothing_is_measured(metric: str) -> None:
    assert (await unjudged(metric, Scripted(), passages=None)).kind == "not_measured"


@pytest.mark.parametrize("metric", ["context_precision", "context_recall", "context_entity_recall"])
async def test_without_a_reference_the_data_set_is_wrong(metric: str) -> None:
    with pytest.raises(ValueError, match="no reference"):
        await score(metric, Scripted(), sample=Sample(id="s", input="q"))


@pytest.mark.parametrize("last", [REFUSED, cut_off(useful(1)[0]), {"reason": "r", "verdict": 2}, {"reason": "r"}])
async def test_one_passage_without_a_verdict_leaves_no_precision(last: Any) -> None:
    judge = Scripted(ContextPrecisionOutput=[*useful(1), last])
    assert (await unjudged("context_precision", judge, passages=["p", "q"])).kind == "judge_failed"


async def test_context_recall_divides_by_the_sentences_of_the_reference() -> None:
    judge = Scripted(ContextRecallOutput=attributed((BOTH[1], 0), (BOTH[0], 1)))
    found = await score("context_recall", judge, passages=["p", "q"], sample=WITH_REFERENCE)
    assert (found.value, found.explanation) == (0.5, "1 of 2 sentences of the reference in the passages")
    ((_, body, _),) = judge.asked
    assert input_of(body["messages"][0]["content"]) == {"question": "q", "context": "p\nq", "answer": " ".join(BOTH)}
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["$defs"]["Attribution"]["properties"]["statement"]["enum"] == list(BOTH)
    assert schema["properties"]["classifications"]["minItems"] == 2


async def test_context_recall_takes_the_best_reference() -> None:
    judge = Scripted(ContextRecallOutput=lambda given: attributed((given["answer"], int(given["answer"] == "two"))))
    assert (
        await score("context_recall", judge, sample=Sample(id="s", input="q", reference=["one", "two"]))
    ).value == 1.0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (attributed((BOTH[0], 1)), "2 statements, but 1 verdicts"),
        (attributed((BOTH[0], 1), (BOTH[0], 1)), "two verdicts on one statement"),
        (attributed((BOTH[0], 1), ("Ada lived in London.", 1)), "not judged word for word"),
        (attributed((BOTH[0], 1), (BOTH[1], True)), "valid integer"),
        (cut_off(attributed((BOTH[0], 1), (BOTH[1], 1))), "complete verdict"),
        (REFUSED, "rejected"),
        (attributed(), "2 statements, but 0 verdicts"),
    ],
)
async def test_context_recall_needs_every_sentence_judged(said: Any, expected: str) -> None:
    failure = await unjudged("context_recall", Scripted(ContextRecallOutput=said), sample=WITH_REFERENCE)
    assert failure.kind == "judge_failed"
    assert expected in str(failure)


async def test_entity_recall_counts_what_the_passages_name() -> None:
    named = {"the_reference": ["Ada", "London", "1843"], "ada_in_london": ["ada", "London", "1843"]}
    judge = Scripted(EntitiesList=entities(**named))
    sample = Sample(id="s", input="q", reference="the reference")
    found = await score("context_entity_recall", judge, passages=["ada in london"], sample=sample)
    # 1843 is listed for the passage, but does not stand there.
    assert found.value == pytest.approx(2 / 3)
    assert found.explanation == "2 of 3 entities of the reference in the passages; not '1843'"


async def test_an_entity_that_is_not_listed_is_not_found() -> None:
    judge = Scripted(EntitiesList=entities(the_reference=["Ada"], ada_in_london=["London"]))
    sample = Sample(id="s", input="q", reference="the reference")
    assert (await score("context_entity_recall", judge, passages=["ada in london"], sample=sample)).value == 0.0


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([{"entities": []}], "found none in the reference"),
        ([{"entities": ["Ada", ""]}], "empty text among its entities"),
        ([{"entities": ["Ada"]}, cut_off({"entities": ["Ada"]})], "complete verdict"),
        ([REFUSED], "rejected"),
    ],
)
async def test_entity_recall_needs_both_lists(replies: list[Any], expected: str) -> None:
    failure = await unjudged("context_entity_recall", Scripted(EntitiesList=replies))
    assert failure.kind == "judge_failed"
    assert expected in str(failure)


@given(st.lists(st.integers(0, 1), max_size=12))
def test_average_precision_is_a_share_and_falls_when_a_verdict_does(verdicts: list[int]) -> None:
    value = average_precision(verdicts)
    assert 0 <= value <= 1
    assert (value == 0) == (not any(verdicts))
    # The last useful passage gone, or one of no use on top, is never better.
    assert average_precision([0, *verdicts]) <= value
