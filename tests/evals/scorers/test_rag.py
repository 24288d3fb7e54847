"""Agreement with ragas' own metrics wherever a judge says everything that it should, and one run over HTTP."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics import collections as theirs

from evals.schema import Sample
from evals.scorers.rag import SCORERS
from tests.evals.scorers.rag.scripted import ASKED, Scripted, judging, score

ANSWER, REFERENCE, PASSAGES = "Ada lived.", "Ada lived.", ["Ada lived in London.", "She wrote."]
BITS = st.lists(st.integers(0, 1), min_size=1, max_size=6)


class TheirJudge(InstructorBaseRagasLLM):
    """The same script behind ragas' own seam, which takes what was said as it is."""

    def __init__(self, script: Scripted) -> None:
        self.script = script

    def generate(self, prompt: str, response_model: Any) -> Any:
        return response_model.model_validate(self.script.say(response_model.__name__, prompt))

    async def agenerate(self, prompt: str, response_model: Any) -> Any:
        return self.generate(prompt, response_model)


class TheirEmbeddings(BaseRagasEmbedding):
    """Vectors by text."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        super().__init__()
        self.vectors = vectors

    def embed_text(self, text: str, **_: Any) -> list[float]:
        return self.vectors[text]

    async def aembed_text(self, text: str, **_: Any) -> list[float]:
        return self.vectors[text]


def judged_as(verdicts: Sequence[int]) -> dict[str, Any]:
    """Replies to both prompts of faithfulness."""
    names = [f"s{number}" for number in range(len(verdicts))]
    decided = dict(zip(names, verdicts, strict=True))
    return {"StatementGeneratorOutput": {"statements": names}, "NLIStatementOutput": judging(decided.__getitem__)}


@settings(max_examples=25)
@given(BITS)
async def test_faithfulness(verdicts: list[int]) -> None:
    ours = await score("faithfulness", Scripted(**judged_as(verdicts)), passages=PASSAGES)
    metric = theirs.Faithfulness(llm=TheirJudge(Scripted(**judged_as(verdicts))))
    assert ours.value == (await metric.ascore(ASKED, ANSWER, PASSAGES)).value


@settings(max_examples=25)
@given(BITS)
@pytest.mark.parametrize("metric", ["context_precision", "context_utilization"])
async def test_context_precision(metric: str, verdicts: list[int]) -> None:
    said = {"ContextPrecisionOutput": [{"reason": "r", "verdict": each} for each in verdicts]}
    passages = [f"p{number}" for number in range(len(verdicts))]
    ours = await score(metric, Scripted(**said), passages=passages)
    kind = theirs.ContextPrecision if metric == "context_precision" else theirs.ContextUtilization
    metric_ = kind(llm=TheirJudge(Scripted(**said)))
    assert ours.value == pytest.approx((await metric_.ascore(ASKED, ANSWER, passages)).value, abs=1e-9)


@settings(max_examples=25)
@given(BITS)
async def test_context_recall(verdicts: list[int]) -> None:
    sentences = [f"Sentence {number}." for number in range(len(verdicts))]
    pairs = zip(sentences, verdicts, strict=True)
    said = {"classifications": [{"statement": s, "reason": "r", "attributed": v} for s, v in pairs]}
    sample = Sample(id="s", input=ASKED, reference=" ".join(sentences))
    ours = await score("context_recall", Scripted(ContextRecallOutput=said), passages=PASSAGES, sample=sample)
    metric = theirs.ContextRecall(llm=TheirJudge(Scripted(ContextRecallOutput=said)))
    assert ours.value == (await metric.ascore(ASKED, PASSAGES, " ".join(sentences))).value


@pytest.mark.parametrize("found", [["Ada", "London"], ["Ada"], []])
async def test_context_entity_recall(found: list[str]) -> None:
    said = [{"entities": ["Ada", "London", "Turin"]}, {"entities": found}]
    ours = await score("context_entity_recall", Scripted(EntitiesList=list(said)), passages=PASSAGES)
    metric = theirs.ContextEntityRecall(llm=TheirJudge(Scripted(EntitiesList=list(said))))
    assert ours.value == pytest.approx((await metric.ascore(REFERENCE, PASSAGES)).value, abs=1e-8)


@pytest.mark.parametrize("ratings", [(0, 0), (0, 2), (2, 1), (2, 2)])
async def test_two_ratings(ratings: tuple[int, int]) -> None:
    for name, schema, given_to_theirs in (
        ("context_relevance", "ContextRelevanceOutput", (ASKED, PASSAGES)),
        ("response_groundedness", "ResponseGroundednessOutput", (ANSWER, PASSAGES)),
        ("answer_accuracy", "AnswerAccuracyOutput", (ASKED, ANSWER, REFERENCE)),
    ):
        said = [{"rating": each - each % 2 if name == "answer_accuracy" else each} for each in ratings]
        kind = getattr(theirs, "".join(part.title() for part in name.split("_")))
        ours = await score(name, Scripted(**{schema: list(said)}), passages=PASSAGES)
        metric = kind(llm=TheirJudge(Scripted(**{schema: list(said)})))
        assert ours.value == (await metric.ascore(*given_to_theirs)).value


@pytest.mark.parametrize("evading", [(0, 0, 0), (1, 0, 1), (1, 1, 1)])
async def test_answer_relevancy(evading: tuple[int, ...]) -> None:
    vectors = {ASKED: [1.0, 2.0, 3.0], "q0": [1.0, 2.0, 2.0], "q1": [0.5, -0.1, 2.0], "q2": [3.0, 2.0, 1.0]}
    said = [{"question": f"q{vote}", "noncommittal": evades} for vote, evades in enumerate(evading)]
    ours = await score("answer_relevancy", Scripted(vectors, AnswerRelevanceOutput=list(said)))
    judge = TheirJudge(Scripted(AnswerRelevanceOutput=list(said)))
    metric = theirs.AnswerRelevancy(llm=judge, embeddings=TheirEmbeddings(vectors))
    assert ours.value == pytest.approx((await metric.ascore(ASKED, ANSWER)).value, abs=1e-12)


@pytest.mark.parametrize(("mode", "beta"), [("f1", 1.0), ("f1", 2.0), ("precision", 1.0), ("recall", 1.0)])
async def test_factual_correctness_where_as_many_claims_match_on_both_sides(mode: Any, beta: float) -> None:
    # Two of three claims of the answer, two of four of the reference; ragas rounds to two digits.
    said = {
        "ClaimDecompositionOutput": lambda given: {"claims": ["a", "b", "c", "d"][: 3 + (given["response"] != ANSWER)]},
        "NLIStatementOutput": judging(lambda claim: int(claim in "ab")),
    }
    sample = Sample(id="s", input=ASKED, reference="Another text.")
    ours = await score("factual_correctness", Scripted(**said), text=ANSWER, sample=sample, mode=mode, beta=beta)
    metric = theirs.FactualCorrectness(llm=TheirJudge(Scripted(**said)), mode=mode, beta=beta)
    assert ours.value == pytest.approx((await metric.ascore(ANSWER, "Another text.")).value, abs=0.005)


def test_every_metric_is_registered_under_its_own_name() -> None:
    assert {name: "".join(part.title() for part in name.split("_")) for name in SCORERS} == {
        name: kind.__name__ for name, kind in SCORERS.items()
    }
