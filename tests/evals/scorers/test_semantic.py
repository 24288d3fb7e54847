import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.embeddings import Wordllama
from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import NoServices
from evals.scorers.semantic import SemanticSimilarity

VECTORS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2).filter(any)


class Table(NoServices):
    """Looks vectors up, and remembers what it was asked."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.vectors, self.asked = vectors, []

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        self.asked.append((list(texts), model))
        return [self.vectors[text] for text in texts if text in self.vectors]


async def judge(answer: str, reference: Any, services: Any, **options: Any) -> Score:
    scorer = SemanticSimilarity(**options)
    return await scorer.score(Sample(id="s", input="q", reference=reference), Answer(text=answer), services)


@pytest.mark.parametrize(
    ("vector", "value"),
    [([1, 0], 1.0), ([7, 0], 1.0), ([3, 4], 0.6), ([0, 1], 0.0), ([-1, 0], 0.0), ([1, 1], math.sqrt(0.5))],
)
async def test_the_score_is_the_cosine_and_never_negative(vector: list[float], value: float) -> None:
    found = await judge("a", "r", Table({"a": vector, "r": [1, 0]}))
    assert found.value == pytest.approx(value)


@settings(deadline=None)
@given(VECTORS, VECTORS, VECTORS)
async def test_another_reference_never_lowers_and_the_same_vector_is_1(a: Any, b: Any, c: Any) -> None:
    table = Table({"a": a, "b": b, "c": c, "same": a})
    one, two = await judge("a", ["b"], table), await judge("a", ["b", "c"], table)
    assert 0 <= one.value <= two.value <= 1
    assert (await judge("a", ["b", "same"], table)).value == 1.0


async def test_answer_and_references_are_embedded_in_one_call_by_the_model_named() -> None:
    table = Table({"a": [1, 0], "r1": [0, 1], "r2": [1, 1]})
    await judge("a", ["r1", "r2"], table, model="bge")
    assert table.asked == [(["a", "r1", "r2"], "bge")]


@pytest.mark.parametrize(("floor", "value"), [(0.59, 1.0), (0.61, 0.0)])
async def test_a_floor_makes_it_a_yes_or_no(floor: float, value: float) -> None:
    found = await judge("a", "r", Table({"a": [3, 4], "r": [1, 0]}), at_least=floor)
    assert (found.value, found.explanation) == (value, "cosine 0.6000")


async def test_an_answer_without_text_resembles_nothing() -> None:
    table = Table({})
    assert (await judge(" \n", "r", table)).value == 0.0
    assert table.asked == []


@pytest.mark.parametrize("vector", [[0.0, 0.0], [math.nan, 1.0], [1.0], None])
async def test_a_vector_that_is_none_is_missing_evidence(vector: list[float] | None) -> None:
    vectors = {"r": [1.0, 0.0]} | ({"a": vector} if vector is not None else {})
    with pytest.raises(Unjudged) as caught:
        await judge("a", "r", Table(vectors))
    assert caught.value.kind == "not_measured"


async def test_without_a_model_nothing_is_measured() -> None:
    with pytest.raises(Unjudged, match="no embedding model"):
        await judge("a", "r", NoServices())


@pytest.mark.parametrize("reference", [None, "", ["fine", " "]])
async def test_a_sample_without_a_reference_cannot_be_judged(reference: Any) -> None:
    with pytest.raises(ValueError, match="reference"):
        await judge("a", reference, Table({"a": [1, 0], "fine": [1, 0]}))


async def test_the_real_model_knows_a_paraphrase() -> None:
    class Local(NoServices):
        async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
            return await Wordllama().embed(texts)

    reference = "The Team plan costs 29 dollars per month."
    same = await judge(reference, reference, Local())
    near = await judge("You pay 29 dollars every month for the Team plan.", reference, Local())
    far = await judge("Open Security, press Reset password.", reference, Local())
    assert same.value == 1.0
    assert 1.0 > near.value > 0.7 > 0.3 > far.value
