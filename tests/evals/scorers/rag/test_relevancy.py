import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from evals.schema import Score
from evals.scorers.rag.relevancy import AnswerRelevancy, cosine
from tests.evals.scorers.rag.scripted import ASKED, REFUSED, Scripted, cut_off, score, unjudged

# Cosines with the question: 1, 0.6, -0.8 and -1.
VECTORS = {ASKED: [1.0, 0.0], "same": [2.0, 0.0], "near": [3.0, 4.0], "far": [-4.0, 3.0], "opposite": [-1.0, 0.0]}


def guesses(*questions: str, noncommittal: int = 0) -> list[Any]:
    return [{"question": question, "noncommittal": noncommittal} for question in questions]


def judge_of(*said: Any, vectors: Any = VECTORS) -> Scripted:
    return Scripted(vectors, AnswerRelevanceOutput=list(said))


async def test_the_mean_cosine_of_three_guesses() -> None:
    found = await score("answer_relevancy", judge_of(*guesses("same", "near", "near")))
    assert found.value == pytest.approx(2.2 / 3, abs=1e-12)
    assert found.votes == pytest.approx([1.0, 0.6, 0.6])


async def test_each_guess_is_a_vote_of_its_own() -> None:
    judge = judge_of(*guesses("same", "same", "same", "same"))
    await score("answer_relevancy", judge, strictness=4, embedding_model="e@1")
    assert [(vote, body["temperature"]) for _, body, vote in judge.asked] == [(vote, 0.3) for vote in range(4)]
    assert judge.embedded == [([ASKED, "same", "same", "same", "same"], "e@1")]


async def test_an_answer_that_evades_in_every_vote_is_worth_nothing() -> None:
    judge = judge_of(*guesses("same", "same", "same", noncommittal=1))
    assert await score("answer_relevancy", judge) == Score(0.0, "noncommittal by 3 of 3 votes", [0.0, 0.0, 0.0])
    assert judge.embedded == []


async def test_one_committed_vote_is_enough_as_ragas_has_it() -> None:
    judge = judge_of(*guesses("same", "same", noncommittal=1), *guesses("near"))
    found = await score("answer_relevancy", judge)
    assert (found.value, found.explanation) == (pytest.approx(2.6 / 3), "noncommittal by 2 of 3 votes")


async def test_a_negative_mean_is_nothing() -> None:
    assert (await score("answer_relevancy", judge_of(*guesses("opposite", "far", "near")))).value == 0.0


async def test_rounding_lifts_no_score_above_1() -> None:
    vector = [0.3, 0.2]
    assert cosine(vector, vector) > 1
    judge = judge_of(*guesses("same"), vectors={ASKED: vector, "same": vector})
    assert (await score("answer_relevancy", judge, strictness=1)).value == 1.0


async def test_an_answer_without_text_is_not_relevant() -> None:
    assert await score("answer_relevancy", Scripted(), text="\n") == Score(0.0, "no answer in text")


@pytest.mark.parametrize(
    "last", [REFUSED, cut_off(guesses("same")[0]), *guesses(" "), {"question": "same", "noncommittal": 2}, {}]
)
async def test_one_vote_that_fails_leaves_no_score(last: Any) -> None:
    assert (await unjudged("answer_relevancy", judge_of(*guesses("same", "same"), last))).kind == "judge_failed"


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ([math.nan, 1.0], "null or holds a number that is not finite"),
        ([math.inf, 1.0], "not finite"),
        ([0.0, 0.0], "null"),
        ([1.0, 0.0, 0.0], r"embeddings of different lengths: \[2, 3\]"),
        ([], "different lengths"),
    ],
)
async def test_an_embedding_that_cannot_be_compared_leaves_no_score(broken: list[float], expected: str) -> None:
    for vectors in (VECTORS | {"near": broken}, VECTORS | {ASKED: broken}):
        failure = await unjudged("answer_relevancy", judge_of(*guesses("same", "same", "near"), vectors=vectors))
        assert failure.kind == "not_measured"
        assert re.search(expected, str(failure))


async def test_every_text_needs_its_embedding() -> None:
    class Short(Scripted):
        async def embed(self, texts: Any, model: str | None = None) -> Any:
            return (await super().embed(texts, model))[:-1]

    judge = Short(VECTORS, AnswerRelevanceOutput=guesses("same", "same", "same"))
    failure = await unjudged("answer_relevancy", judge)
    assert (failure.kind, str(failure)) == ("not_measured", "expected 4 embeddings, found 3")


def test_cosine_of_large_and_small_vectors() -> None:
    assert cosine([1e-200, 0.0], [3e200, 4e200]) == pytest.approx(0.6)


@pytest.mark.parametrize("options", [{"strictness": 0}, {"temperature": -1}, {"max_tokens": 0}, {"strictnes": 3}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AnswerRelevancy.model_validate(options)
