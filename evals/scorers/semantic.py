"""Likeness of meaning: the cosine of embeddings.

It tells a paraphrase from another subject. It does not tell a right number from a wrong one, nor a sentence from its
negation: put a scorer of facts beside it.
"""

from typing import Annotated

from pydantic import Field

from evals.embeddings import cosine
from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services, references


class SemanticSimilarity(Scorer):
    """The cosine between the answer and the reference nearest to it; below 0 it counts as 0.

    The scale is the cosine's own, not (1 + cosine) / 2, which gives texts that have nothing in common a half. With
    `at_least` the score is 1 where the cosine reaches so much, and 0 elsewhere; what is high enough depends on the
    model. `model` names an embedding model; the suite's own without it.
    """

    needs = "reference"

    model: str | None = None
    at_least: Annotated[float, Field(gt=0, le=1)] | None = None

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """A value in [0, 1], 1 for an answer that is a reference word for word; 0 for one without text.

        Raises Unjudged("not_measured") when an embedding cannot be had, ValueError for a sample with a blank reference
        or none.
        """
        wanted = references(sample)
        if not all(reference.strip() for reference in wanted):
            raise ValueError(f"sample {sample.id!r} has a blank reference: nothing can resemble it")
        if not answer.text.strip():
            return Score(0.0, "the answer holds no text")
        texts = [answer.text, *wanted]
        vectors = await services.embed(texts, self.model)
        if len(vectors) != len(texts):
            raise Unjudged("not_measured", f"expected {len(texts)} embeddings, found {len(vectors)}")
        likeness = max(cosine(vectors[0], vector) for vector in vectors[1:])
        if self.at_least is not None:
            return Score(float(likeness >= self.at_least), f"cosine {likeness:.4f}")
        return Score(max(0.0, likeness))


SCORERS: dict[str, type[Scorer]] = {"semantic_similarity": SemanticSimilarity}
