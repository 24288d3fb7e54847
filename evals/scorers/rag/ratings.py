"""Metrics of two ratings each: one question in two wordings, and the mean of both answers. One alone is not enough."""

from collections.abc import Mapping
from typing import ClassVar

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Services
from evals.scorers.rag.judge import Even, RagScorer, Reply, Thirds, best, contexts, question


class Half(Reply):
    """Not at all, in part, fully."""

    rating: Thirds


class Quarter(Reply):
    """No match, a match in part, the same."""

    rating: Even


class ContextRelevance(RagScorer):
    """How far the passages hold what the question asks for: the mean of two ratings from 0 to 2."""

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"relevance_1": Half, "relevance_2": Half}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """0 without passages, and for passages that only repeat words of the question."""
        asked, found = question(sample), "\n".join(contexts(sample, answer)).strip()
        if not found:
            return Score(0.0, "no passages")
        if found in asked:
            return Score(0.0, "the passages repeat the question")
        fields = {"user_input": asked, "context": found}
        return _mean([(await self._ask(services, prompt, Half, fields)).rating / 2 for prompt in self.ASKS])


class ResponseGroundedness(RagScorer):
    """How far the passages support the answer as a whole: the mean of two ratings from 0 to 2."""

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"groundedness_1": Half, "groundedness_2": Half}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """0 without passages, or without an answer in text."""
        found = "\n".join(contexts(sample, answer))
        if not found:
            return Score(0.0, "no passages: nothing supports the answer")
        if not answer.text.strip():
            return Score(0.0, "no answer in text")
        fields = {"response": answer.text, "context": found}
        return _mean([(await self._ask(services, prompt, Half, fields)).rating / 2 for prompt in self.ASKS])


class AnswerAccuracy(RagScorer):
    """How far answer and reference agree: the mean of two ratings, 0, 2 or 4, the second with both exchanged."""

    needs = "reference"

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"accuracy_1": Quarter, "accuracy_2": Quarter}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The best over the references. 0 without an answer in text."""
        asked = question(sample)
        if not answer.text.strip():
            return Score(0.0, "no answer in text")

        async def against(reference: str) -> Score:
            ratings = []
            for prompt, one, other in zip(self.ASKS, (answer.text, reference), (reference, answer.text), strict=True):
                fields = {"query": asked, "user_answer": one, "reference_answer": other}
                ratings.append((await self._ask(services, prompt, Quarter, fields)).rating / 4)
            return _mean(ratings)

        return await best(sample, against)


def _mean(votes: list[float]) -> Score:
    return Score(sum(votes) / len(votes), f"rated {' and '.join(f'{vote:g}' for vote in votes)}", votes)
