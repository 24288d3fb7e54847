"""Whether an answer addresses the question: a judge guesses the question from the answer, and embeddings compare."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Services
from evals.scorers.rag.judge import Binary, RagScorer, Reply, question


class Guess(Reply):
    """A question that the answer would answer, and whether the answer evades."""

    question: str
    noncommittal: Binary


class AnswerRelevancy(RagScorer):
    """The mean cosine similarity of the question and `strictness` questions that a judge makes of the answer.

    AR = 1/n Σ cos(e(q), e(q_i)) (Es et al. 2024, RAGAS, section 3); 0 when every guess calls the answer noncommittal,
    and 0 for a negative mean; the score's `votes` are the cosines as they are. Each guess is a vote with a number and a
    seed of its own, so that no cache gives one for another, at a `temperature` that lets them differ (0.3 is what ragas
    took for several completions).
    """

    strictness: int = Field(default=3, ge=1, le=32)
    temperature: float = Field(default=0.3, ge=0, le=2)
    embedding_model: str | None = None

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"question": Guess}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """0 without an answer in text. All guesses must come, and all embeddings."""
        asked = question(sample)
        if not answer.text.strip():
            return Score(0.0, "no answer in text")
        guesses = [await self._guess(services, answer.text, vote) for vote in range(self.strictness)]
        if all(guess.noncommittal for guess in guesses):
            return Score(0.0, f"noncommittal by {len(guesses)} of {len(guesses)} votes", [0.0] * len(guesses))
        texts = [asked, *(guess.question for guess in guesses)]
        wanted, *vectors = _checked(await services.embed(texts, self.embedding_model), len(texts))
        votes = [cosine(wanted, vector) for vector in vectors]
        evading = sum(guess.noncommittal for guess in guesses)
        told = f"noncommittal by {evading} of {len(guesses)} votes" if evading else ""
        return Score(min(1.0, max(0.0, math.fsum(votes) / len(votes))), told, votes)

    async def _guess(self, services: Services, text: str, vote: int) -> Guess:
        fields = {"response": text}
        guess = await self._ask(services, "question", Guess, fields, vote=vote, temperature=self.temperature)
        if not guess.question.strip():
            raise Unjudged("judge_failed", f"question: vote {vote} of {self.strictness} guessed no question")
        return guess


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors that are not null; in [-1, 1] but for rounding."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def _checked(vectors: Sequence[Sequence[float]], expected: int) -> list[list[float]]:
    """The vectors as floats. Raises Unjudged unless there are enough, of one length, finite, and none of them null."""
    found = [[float(number) for number in vector] for vector in vectors]
    if len(found) != expected:
        raise Unjudged("not_measured", f"expected {expected} embeddings, found {len(found)}")
    if len({len(vector) for vector in found}) != 1:
        raise Unjudged("not_measured", f"embeddings of different lengths: {sorted({len(v) for v in found})}")
    if not all(0 < math.hypot(*vector) < math.inf for vector in found):
        raise Unjudged("not_measured", "an embedding is null or holds a number that is not finite")
    return found
