"""Metrics of the passages: whether what was found is of use, and whether it is all that is needed."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from evals.schema import Answer, Sample, Score, Unjudged
from evals.scorers.base import Services
from evals.scorers.rag.judge import Binary, RagScorer, Reply, best, contexts, question
from evals.scorers.rag.statements import aligned, distinct, folded, sentences, shown


class Usefulness(Reply):
    """Whether one passage was of use, the reason first."""

    reason: str
    verdict: Binary


class Attribution(Reply):
    """Whether one sentence can be attributed to the passages."""

    statement: str
    reason: str
    attributed: Binary


class Attributions(Reply):
    """A verdict for each sentence."""

    classifications: list[Attribution]


class Entities(Reply):
    """The entities that a text names."""

    entities: list[str]


_NOTHING_FOUND = Score(0.0, "no passages")


class _Ranked(RagScorer):
    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"usefulness": Usefulness}

    async def _precision(self, services: Services, asked: str, target: str, found: Sequence[str]) -> Score:
        verdicts: list[int] = []
        for passage in found:
            if not passage.strip():
                verdicts.append(0)
                continue
            fields = {"question": asked, "context": passage, "answer": target}
            reply = await self._ask(services, "usefulness", Usefulness, fields)
            verdicts.append(reply.verdict)
        told = " ".join(map(str, verdicts))
        return Score(
            average_precision(verdicts), f"{sum(verdicts)} of {len(verdicts)} passages of use, by rank: {told}"
        )


class ContextPrecision(_Ranked):
    """Whether the passages that help to arrive at the reference stand on top: average precision over verdicts.

    One passage of use at the top is a 1, however much is missing below: look at recall too.
    """

    needs = "reference"

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The best over the references. 0 without passages."""
        asked, found = question(sample), contexts(sample, answer)
        if not found:
            return _NOTHING_FOUND
        return await best(sample, lambda reference: self._precision(services, asked, reference, found))


class ContextUtilization(_Ranked):
    """Whether the passages that were of use for the answer stand on top: context precision without a reference."""

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """0 without passages, or without an answer in text."""
        asked, found = question(sample), contexts(sample, answer)
        if not found:
            return _NOTHING_FOUND
        if not answer.text.strip():
            return Score(0.0, "no answer in text")
        return await self._precision(services, asked, answer.text, found)


class ContextRecall(RagScorer):
    """The share of the reference's sentences that can be attributed to the passages.

    ragas leaves it to the judge into how many statements the reference falls, and divides by how many came back. Here
    the sentences are ours, the same for every system, and each must have its verdict.
    """

    needs = "reference"

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"attribution": Attributions}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The best over the references. 0 without passages."""
        asked, found = question(sample), contexts(sample, answer)
        if not found:
            return _NOTHING_FOUND

        async def recall(reference: str) -> Score:
            said = distinct(sentences(reference), "sentences")
            fields = {"question": asked, "context": "\n".join(found), "answer": reference}
            reply = await self._ask(services, "attribution", Attributions, fields, judged=said)
            judged = [(each.statement, each.attributed) for each in reply.classifications]
            verdicts = aligned(said, judged, "attribution")
            return Score(
                sum(verdicts) / len(verdicts),
                f"{sum(verdicts)} of {len(said)} sentences of the reference in the passages",
            )

        return await best(sample, recall)


class ContextEntityRecall(RagScorer):
    """The share of the reference's entities that the passages name: |E(reference) ∩ E(passages)| / |E(reference)|.

    An entity counts as found when the judge lists it for the passages and it stands there, in any letter case.
    """

    needs = "reference"

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"entities": Entities}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The best over the references. 0 without passages. Raises Unjudged for a reference that names no entity."""
        found = contexts(sample, answer)
        if not found:
            return _NOTHING_FOUND
        text = "\n".join(found)

        async def recall(reference: str) -> Score:
            wanted = await self._entities(services, reference)
            if not wanted:
                raise Unjudged(
                    "judge_failed", "entities: the judge found none in the reference: another metric fits it"
                )
            there = {folded(entity) for entity in await self._entities(services, text)}
            missing = [each for each in wanted if folded(each) not in there or folded(each) not in folded(text)]
            told = f"{len(wanted) - len(missing)} of {len(wanted)} entities of the reference in the passages"
            return Score(1 - len(missing) / len(wanted), f"{told}; not {shown(missing[0])}" if missing else told)

        return await best(sample, recall)

    async def _entities(self, services: Services, text: str) -> list[str]:
        reply = await self._ask(services, "entities", Entities, {"text": text})
        return distinct(reply.entities, "entities")


def average_precision(verdicts: Sequence[int]) -> float:
    """AP = Σ P@k · v_k / Σ v_k over verdicts 0 and 1 in the order of the ranking; 0 when all are 0."""
    hits, total = 0, 0.0
    for rank, verdict in enumerate(verdicts, start=1):
        hits += verdict
        total += verdict * hits / rank
    return total / hits if hits else 0.0
