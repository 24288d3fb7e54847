"""Scores of what a retriever found for one question, against the documents that it should have found.

The ranking is that of the answer's `passages`. A passage belongs to the document whose id stands before `separator`
(`faq.md#3` is of `faq.md`); passages of one document count once, where the first one stands. `separator: null` compares
passages themselves. `relevant` of the sample names the documents, with grades or without (1 each); a grade of 0 or
below is not relevant. Definitions are those of trec_eval: precision at k divides by k however few were found, recall
and average precision by all relevant documents, also by those below k. A question without a relevant document cannot
be scored, and is an error in the data set. No passages at all (nothing was retrieved) are missing evidence; an empty
list of them is a score of 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Scorer, Services

_LARGEST_GRADE = 60
Grades = Mapping[str, float]


def document(passage_id: str, separator: str | None) -> str:
    """The id of a passage's document: what stands before the separator."""
    return passage_id.split(separator, 1)[0] if separator else passage_id


def ranking(answer: Answer, separator: str | None) -> list[str]:
    """The documents of an answer, best first, each once. Raises Unjudged when nothing was retrieved at all."""
    if answer.passages is None:
        raise Unjudged("retrieval_failed", "the answer carries no passages: was the suite run with retrieval?")
    return list(dict.fromkeys(document(passage.id, separator) for passage in answer.passages))


def grades(sample: Sample, separator: str | None) -> dict[str, float]:
    """The relevant documents and their grades, all above 0. Raises ValueError when there are none."""
    named = sample.relevant or {}
    graded = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named, 1.0)
    for name, grade in graded.items():
        if separator and separator in name:
            raise ValueError(
                f"sample {sample.id!r}: relevant names the passage {name!r}; name documents, or set `separator: null`"
            )
        if not math.isfinite(grade):
            raise ValueError(f"sample {sample.id!r}: the grade of {name!r} is {grade!r}: expected a number")
    positive = {name: float(grade) for name, grade in graded.items() if grade > 0}
    if not positive:
        raise ValueError(f"sample {sample.id!r} names no relevant document: nothing can be found for it")
    return positive


class _Retrieval(Scorer):
    needs = "relevant"

    separator: str | None = Field(default="#", min_length=1)

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """In [0, 1]. Raises Unjudged without passages, ValueError for a sample without a relevant document."""
        relevant = grades(sample, self.separator)
        return Score(self.of(ranking(answer, self.separator), relevant))

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """The score of distinct documents, best first."""
        raise NotImplementedError


class _AtK(_Retrieval):
    k: int = Field(default=10, ge=1)


class RecallAtK(_AtK):
    """The share of the relevant documents that is among the first k."""

    example: ClassVar[Mapping[str, Any]] = {"as": "recall_at_5", "k": 5}

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """Relevant among the first k, over all relevant."""
        return _hits(ranked[: self.k], relevant) / len(relevant)


class PrecisionAtK(_AtK):
    """The share of the first k places that holds a relevant document (empty places hold none)."""

    example: ClassVar[Mapping[str, Any]] = {"as": "precision_at_5", "k": 5}

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """Relevant among the first k, over k."""
        return _hits(ranked[: self.k], relevant) / self.k


class Hit(_AtK):
    """1 when any relevant document is among the first k."""

    example: ClassVar[Mapping[str, Any]] = {"as": "hit_at_3", "k": 3}

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """1 or 0."""
        return float(_hits(ranked[: self.k], relevant) > 0)


class NdcgAtK(_AtK):
    """Normalised discounted cumulative gain of the first k: gains over log2(place + 1), divided by the best possible.

    Järvelin and Kekäläinen 2002. The gain is the grade itself, as trec_eval and scikit-learn take it; `gain:
    exponential` is 2^grade - 1 (Burges et al. 2005).
    """

    example: ClassVar[Mapping[str, Any]] = {"as": "ndcg_at_10", "k": 10}

    gain: Literal["linear", "exponential"] = "linear"

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """DCG of the first k over that of the ideal order."""
        best = sorted(relevant.values(), reverse=True)
        found = [relevant.get(name, 0.0) for name in ranked[: self.k]]
        # The two sums of one order are the same to the last bit, and of any other one never larger but for rounding.
        return min(self._dcg(found) / self._dcg(best[: self.k]), 1.0)

    def _dcg(self, found: Sequence[float]) -> float:
        return math.fsum(self._gain(grade) / math.log2(place + 1) for place, grade in enumerate(found, start=1))

    def _gain(self, grade: float) -> float:
        if self.gain == "linear":
            return grade
        if grade > _LARGEST_GRADE:
            raise ValueError(f"a grade of {grade:g} has no exponential gain of use: at most {_LARGEST_GRADE}")
        return math.pow(2.0, grade) - 1.0


class Mrr(_Retrieval):
    """Reciprocal rank: 1 over the place of the first relevant document, 0 when none was found (within k, if given).

    Its mean over the samples is the MRR.
    """

    k: int | None = Field(default=None, ge=1)

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """1 / place of the first relevant one."""
        places = (place for place, name in enumerate(ranked[: self.k], start=1) if name in relevant)
        return 1.0 / next(places, math.inf)


class AveragePrecision(_Retrieval):
    """Mean of the precision at the place of every relevant document; those not found (within k, if given) count 0.

    Its mean over the samples is the MAP.
    """

    k: int | None = Field(default=None, ge=1)

    def of(self, ranked: Sequence[str], relevant: Grades) -> float:
        """The sum of precisions at relevant places, over all relevant documents."""
        places = [place for place, name in enumerate(ranked[: self.k], start=1) if name in relevant]
        return math.fsum(found / place for found, place in enumerate(places, start=1)) / len(relevant)


def _hits(ranked: Sequence[str], relevant: Grades) -> int:
    return sum(name in relevant for name in ranked)


SCORERS: dict[str, type[Scorer]] = {
    "recall_at_k": RecallAtK,
    "precision_at_k": PrecisionAtK,
    "ndcg_at_k": NdcgAtK,
    "mrr": Mrr,
    "hit": Hit,
    "average_precision": AveragePrecision,
}
