from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.schema import Sample, Score, Unjudged
from evals.scorers.rag.claims import fbeta
from tests.evals.scorers.rag.scripted import (
    REFUSED,
    Scripted,
    cut_off,
    input_of,
    judging,
    score,
    statements,
    unjudged,
    verdict_list,
    verdicts,
)

ABC = statements("a", "b", "c")
GIVEN_AB = Sample(id="s", input="q", reference="the reference")


def claims(*texts: str) -> dict[str, Any]:
    return {"claims": list(texts)}


def decompose(**texts: list[str]) -> Any:
    """Claims by the text that is taken apart; an underscore in a name is a space."""
    return lambda given: claims(*texts[given["response"].replace(" ", "_")])


def supporting(**supported: str) -> Any:
    """A judge that finds these letters in a text, and no others."""
    return lambda given: judging(lambda s: int(s in supported[given["context"].replace(" ", "_")]))(given)


async def test_two_of_three_statements_are_supported() -> None:
    judge = Scripted(StatementGeneratorOutput=ABC, NLIStatementOutput=verdicts(a=1, b=0, c=1))
    found = await score("faithfulness", judge, passages=["p", "q"])
    assert found == Score(2 / 3, "2 of 3 statements supported by the passages; not 'b'")
    first, second = (input_of(body["messages"][0]["content"]) for _, body, _ in judge.asked)
    assert first == {"question": "Who was Ada?", "answer": "Ada was a mathematician."}
    assert second == {"context": "p\nq", "statements": ["a", "b", "c"]}


async def test_a_repeated_statement_weighs_once() -> None:
    padded = statements("a", "A.", "a", "b")
    judge = Scripted(StatementGeneratorOutput=padded, NLIStatementOutput=judging(lambda s: int(s == "a")))
    assert (await score("faithfulness", judge)).value == 0.5


@pytest.mark.parametrize("verdict", [0, 1])
async def test_an_answer_without_statements_is_one_and_has_to_be_supported(verdict: int) -> None:
    judge = Scripted(StatementGeneratorOutput=statements(), NLIStatementOutput=judging(lambda s: verdict))
    found = await score("faithfulness", judge, text="I do not know.")
    assert found.value == verdict
    assert input_of(judge.asked[1][1]["messages"][0]["content"])["statements"] == ["I do not know."]


@pytest.mark.parametrize("given", [{"passages": []}, {"passages": ["", " "]}, {"text": " "}])
async def test_without_passages_or_an_answer_nothing_is_faithful(given: dict[str, Any]) -> None:
    assert (await score("faithfulness", Scripted(), **given)).value == 0.0


async def test_without_a_retriever_faithfulness_is_not_measured() -> None:
    failure = await unjudged("faithfulness", Scripted(), passages=None)
    assert failure.kind == "not_measured"


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((REFUSED, None), "statements: no verdict: rejected"),
        ((cut_off(ABC), None), "statements: expected a complete verdict"),
        ((statements("a", " "), None), "empty text among its statements"),
        (({"statements": "a"}, None), "statements: Input should be a valid array"),
        ((ABC, REFUSED), "support: no verdict: rejected"),
        ((ABC, cut_off(verdicts(a=1, b=1, c=1))), "support: expected a complete verdict"),
        ((ABC, verdicts(a=1, c=1)), "3 statements, but 2 verdicts"),
        ((ABC, verdicts()), "3 statements, but 0 verdicts"),
        ((ABC, verdicts(a=1, b=1, c=1, d=1)), "3 statements, but 4 verdicts"),
        ((ABC, verdict_list([("a", 1), ("a", 1), ("c", 1)])), "two verdicts on one statement"),
        ((ABC, verdicts(a=1, b=1, sea=1)), "1 of 3 statements were not judged word for word"),
        ((ABC, verdicts(a=1, b=2, c=1)), "statements.1.verdict: Value error, expected 0 or 1, found 2"),
        ((ABC, '{"statements": ['), "Invalid JSON"),
    ],
)
async def test_a_verdict_that_is_not_whole_is_no_score(replies: tuple[Any, Any], expected: str) -> None:
    listed, judged = replies
    failure = await unjudged("faithfulness", Scripted(StatementGeneratorOutput=listed, NLIStatementOutput=judged))
    assert failure.kind == "judge_failed"
    assert expected in str(failure)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=8), st.data())
async def test_dropping_verdicts_never_raises_the_score(judged: list[int], data: st.DataObject) -> None:
    names = [f"s{number}" for number in range(len(judged))]
    pairs = list(zip(names, judged, strict=True))
    kept = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=len(pairs)))
    listed = statements(*names)
    whole = await score(
        "faithfulness", Scripted(StatementGeneratorOutput=listed, NLIStatementOutput=verdict_list(pairs))
    )
    assert whole.value == sum(judged) / len(judged)
    try:
        part = await score(
            "faithfulness", Scripted(StatementGeneratorOutput=listed, NLIStatementOutput=verdict_list(kept))
        )
    except Unjudged:
        assert len(kept) < len(pairs)
    else:
        assert part == whole


async def test_factual_correctness_weighs_both_directions() -> None:
    # P = 2/3 of the answer, R = 1/2 of the reference: F1 = 2 · 2/3 · 1/2 / (2/3 + 1/2) = 4/7.
    judge = Scripted(
        ClaimDecompositionOutput=decompose(abc=["a", "b", "c"], the_reference=["x", "y"]),
        NLIStatementOutput=supporting(the_reference="ab", abc="x"),
    )
    found = await score("factual_correctness", judge, text="abc", sample=GIVEN_AB)
    assert found.value == pytest.approx(4 / 7, abs=1e-12)
    assert found.explanation == (
        "2 of 3 statements of the answer in the reference; not 'c'; "
        "1 of 2 statements of the reference in the answer; not 'y'"
    )


@pytest.mark.parametrize(("mode", "expected", "calls"), [("precision", 2 / 3, 2), ("recall", 1 / 2, 2)])
async def test_one_direction_alone(mode: str, expected: float, calls: int) -> None:
    judge = Scripted(
        ClaimDecompositionOutput=decompose(abc=["a", "b", "c"], the_reference=["x", "y"]),
        NLIStatementOutput=supporting(the_reference="ab", abc="x"),
    )
    found = await score("factual_correctness", judge, text="abc", sample=GIVEN_AB, mode=mode)
    assert (found.value, len(judge.asked)) == (pytest.approx(expected), calls)


async def test_saying_one_true_thing_in_many_ways_does_not_raise_recall() -> None:
    many = [f"a{number}" for number in range(10)]
    values = []
    for said in (["a0"], many):
        judge = Scripted(
            ClaimDecompositionOutput=decompose(abc=said, the_reference=["x", "y"]),
            NLIStatementOutput=judging(lambda s: int(s != "y")),
        )
        values.append((await score("factual_correctness", judge, text="abc", sample=GIVEN_AB)).value)
    assert values[0] == values[1] == pytest.approx(2 / 3)


async def test_the_best_of_several_references() -> None:
    judge = Scripted(
        ClaimDecompositionOutput=decompose(abc=["a", "b"], one=["a"], two=["a", "b"]),
        NLIStatementOutput=supporting(one="", two="ab", abc="ab"),
    )
    sample = Sample(id="s", input="q", reference=["one", "two"])
    assert (await score("factual_correctness", judge, text="abc", sample=sample)).value == 1.0
    assert judge.names.count("ClaimDecompositionOutput") == 3


@pytest.mark.parametrize("verdict", [0, 1])
async def test_a_text_without_claims_is_one(verdict: int) -> None:
    judge = Scripted(ClaimDecompositionOutput=claims(), NLIStatementOutput=judging(lambda s: verdict))
    assert (await score("factual_correctness", judge)).value == verdict


async def test_no_answer_in_text_is_not_correct() -> None:
    assert (await score("factual_correctness", Scripted(), text="")).value == 0.0


async def test_how_finely_claims_are_cut_is_told_to_the_judge() -> None:
    judge = Scripted(ClaimDecompositionOutput=claims("a"), NLIStatementOutput=judging(lambda s: 1))
    await score("factual_correctness", judge, atomicity="high", coverage="high")
    prompt = judge.asked[0][1]["messages"][0]["content"]
    assert input_of(prompt) == {"response": "Ada was a mathematician.", "atomicity": "high", "coverage": "high"}
    assert "Charles Babbage was a food critic." in prompt


@pytest.mark.parametrize(
    ("listed", "judged"),
    [(REFUSED, None), (claims("a", "b"), verdicts(a=1)), (claims(""), None), (claims("a"), cut_off(verdicts(a=1)))],
)
async def test_factual_correctness_needs_whole_verdicts(listed: Any, judged: Any) -> None:
    judge = Scripted(ClaimDecompositionOutput=listed, NLIStatementOutput=judged)
    assert (await unjudged("factual_correctness", judge)).kind == "judge_failed"


@pytest.mark.parametrize(
    ("precision", "recall", "beta", "expected"),
    [
        (0.5, 1.0, 1.0, 2 / 3),
        (0.5, 1.0, 2.0, 5 / 6),
        (0.5, 1.0, 0.5, 5 / 9),
        (0.0, 0.0, 1.0, 0.0),
        (1.0, 0.0, 1.0, 0.0),
    ],
)
def test_fbeta(precision: float, recall: float, beta: float, expected: float) -> None:
    assert fbeta(precision, recall, beta) == pytest.approx(expected)
