from typing import Any

import pytest

from evals.schema import Sample, Score
from tests.evals.scorers.rag.scripted import REFUSED, Scripted, cut_off, input_of, score, unjudged

NAMES = {
    "context_relevance": "ContextRelevanceOutput",
    "response_groundedness": "ResponseGroundednessOutput",
    "answer_accuracy": "AnswerAccuracyOutput",
}


def rating(*ratings: Any) -> list[Any]:
    return [{"rating": each} if isinstance(each, int | float | str) else each for each in ratings]


def judge_of(metric: str, *ratings: Any) -> Scripted:
    return Scripted(**{NAMES[metric]: rating(*ratings)})


@pytest.mark.parametrize(
    ("metric", "ratings", "votes"),
    [
        ("context_relevance", (2, 1), [1.0, 0.5]),
        ("response_groundedness", (0, 1), [0.0, 0.5]),
        ("answer_accuracy", (4, 2), [1.0, 0.5]),
        ("answer_accuracy", (0, 0), [0.0, 0.0]),
    ],
)
async def test_the_mean_of_two_ratings(metric: str, ratings: tuple[int, int], votes: list[float]) -> None:
    found = await score(metric, judge_of(metric, *ratings))
    assert found == Score(sum(votes) / 2, f"rated {votes[0]:g} and {votes[1]:g}", votes)


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("broken", [REFUSED, cut_off({"rating": 2}), 3, 1.0, "2", -2])
@pytest.mark.parametrize("first", [True, False])
async def test_one_rating_alone_is_no_score(metric: str, broken: Any, first: bool) -> None:
    ratings = (broken, 2) if first else (2, broken)
    assert (await unjudged(metric, judge_of(metric, *ratings))).kind == "judge_failed"


async def test_a_rating_belongs_to_its_scale() -> None:
    failure = await unjudged("answer_accuracy", judge_of("answer_accuracy", 4, 1))
    assert "accuracy_2: rating: Value error, expected 0, 2 or 4, found 1" in str(failure)
    assert "expected 0, 1 or 2, found 4" in str(await unjudged("context_relevance", judge_of("context_relevance", 4)))


async def test_the_two_prompts_differ_and_accuracy_exchanges_its_sides() -> None:
    judge = judge_of("answer_accuracy", 4, 4)
    await score("answer_accuracy", judge, text="said", sample=Sample(id="s", input="q", reference="wanted"))
    prompts = [body["messages"][0]["content"] for _, body, _ in judge.asked]
    assert prompts[0].split("\n")[0] != prompts[1].split("\n")[0]
    assert [input_of(prompt) for prompt in prompts] == [
        {"query": "q", "user_answer": "said", "reference_answer": "wanted"},
        {"query": "q", "user_answer": "wanted", "reference_answer": "said"},
    ]


async def test_accuracy_takes_the_best_reference() -> None:
    judge = judge_of("answer_accuracy", 0, 0, 4, 2)
    found = await score("answer_accuracy", judge, sample=Sample(id="s", input="q", reference=["a", "b"]))
    assert found.value == 0.75


@pytest.mark.parametrize(
    ("metric", "given", "why"),
    [
        ("context_relevance", {"passages": []}, "no passages"),
        ("context_relevance", {"passages": [" ", ""]}, "no passages"),
        ("context_relevance", {"passages": ["Who was Ada?"]}, "the passages repeat the question"),
        ("context_relevance", {"passages": ["Ada"]}, "the passages repeat the question"),
        ("response_groundedness", {"passages": []}, "no passages: nothing supports the answer"),
        ("response_groundedness", {"text": " "}, "no answer in text"),
        ("answer_accuracy", {"text": ""}, "no answer in text"),
    ],
)
async def test_what_needs_no_judge_is_nothing(metric: str, given: dict[str, Any], why: str) -> None:
    assert await score(metric, Scripted(), **given) == Score(0.0, why)


@pytest.mark.parametrize("metric", ["context_relevance", "response_groundedness"])
async def test_without_a_retriever_nothing_is_measured(metric: str) -> None:
    assert (await unjudged(metric, Scripted(), passages=None)).kind == "not_measured"
