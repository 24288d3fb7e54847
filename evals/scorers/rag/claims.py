"""Metrics made of statements: a text is taken apart, and each statement is judged against another text."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from evals.schema import Answer, Sample, Score
from evals.scorers.base import Services
from evals.scorers.rag.judge import Binary, RagScorer, Reply, best, contexts, question
from evals.scorers.rag.statements import aligned, distinct, shown


class Statements(Reply):
    """The statements of a text."""

    statements: list[str]


class Claims(Reply):
    """The claims of a text."""

    claims: list[str]


class Verdict(Reply):
    """Whether one statement is supported, the reason first."""

    statement: str
    reason: str
    verdict: Binary


class Verdicts(Reply):
    """A verdict for each statement."""

    statements: list[Verdict]


class _Supported(RagScorer):
    async def _support(self, services: Services, prompt: str, statements: Sequence[str], context: str) -> list[int]:
        """1 for each statement that the context supports, else 0; in their order."""
        fields = {"context": context, "statements": list(statements)}
        reply = await self._ask(services, prompt, Verdicts, fields, judged=statements)
        return aligned(statements, [(each.statement, each.verdict) for each in reply.statements], prompt)


class Faithfulness(_Supported):
    """The share of the answer's statements that follow from the passages.

    F = |supported| / |statements| (Es et al. 2024, RAGAS, section 3), over the statements that were found, each counted
    once. An answer in which the judge finds no statement, say a refusal, is one statement, word for word.
    """

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"statements": Statements, "support": Verdicts}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """A share. 0 without passages, or without an answer in text."""
        asked, found = question(sample), contexts(sample, answer)
        if not found:
            return Score(0.0, "no passages: nothing supports the answer")
        if not answer.text.strip():
            return Score(0.0, "no answer in text")
        fields = {"question": asked, "answer": answer.text}
        reply = await self._ask(services, "statements", Statements, fields)
        statements = distinct(reply.statements, "statements") or [answer.text]
        verdicts = await self._support(services, "support", statements, "\n".join(found))
        return Score(sum(verdicts) / len(verdicts), _told(statements, verdicts, "supported by the passages"))


class FactualCorrectness(_Supported):
    """How far the answer says what the reference says.

    Precision P is the share of the answer's claims that the reference supports, recall R the share of the reference's
    claims that the answer supports; f1 is (1 + b²) P R / (b² P + R) with b = `beta` (van Rijsbergen 1979). ragas takes
    the count of supported claims of the answer into its recall too, so that saying one thing in many words raises it;
    and it rounds to two digits. Both are left out: recall counts the claims of the reference alone.
    `atomicity` and `coverage` are those of ragas' examples: how finely claims are cut, and how many are kept.
    """

    needs = "reference"

    mode: Literal["f1", "precision", "recall"] = "f1"
    beta: float = Field(default=1.0, gt=0, le=100)
    atomicity: Literal["low", "high"] = "low"
    coverage: Literal["low", "high"] = "low"

    ASKS: ClassVar[Mapping[str, type[Reply]]] = {"claims": Claims, "claim_support": Verdicts}

    def _fixed(self, prompt: str) -> dict[str, str]:
        return {"atomicity": self.atomicity, "coverage": self.coverage} if prompt == "claims" else {}

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """The best over the references. 0 without an answer in text."""
        if not answer.text.strip():
            return Score(0.0, "no answer in text")
        said = [] if self.mode == "recall" else await self._claims(services, answer.text)

        async def against(reference: str) -> Score:
            precision, one = await self._share(services, said, reference, "of the answer in the reference")
            wanted = [] if self.mode == "precision" else await self._claims(services, reference)
            recall, other = await self._share(services, wanted, answer.text, "of the reference in the answer")
            value = {"precision": precision, "recall": recall, "f1": fbeta(precision, recall, self.beta)}[self.mode]
            return Score(value, "; ".join(part for part in (one, other) if part))

        return await best(sample, against)

    async def _claims(self, services: Services, text: str) -> list[str]:
        reply = await self._ask(services, "claims", Claims, {"response": text})
        return distinct(reply.claims, "claims") or [text]

    async def _share(self, services: Services, claims: Sequence[str], text: str, what: str) -> tuple[float, str]:
        if not claims:
            return 0.0, ""
        verdicts = await self._support(services, "claim_support", claims, text)
        return sum(verdicts) / len(verdicts), _told(claims, verdicts, what)


def fbeta(precision: float, recall: float, beta: float) -> float:
    """The weighted harmonic mean of two shares; 0 when both are. `beta` above 1 favours recall."""
    bottom = beta**2 * precision + recall
    return (1 + beta**2) * precision * recall / bottom if bottom else 0.0


def _told(statements: Sequence[str], verdicts: Sequence[int], what: str) -> str:
    told = f"{sum(verdicts)} of {len(verdicts)} statements {what}"
    lacking = [statement for statement, verdict in zip(statements, verdicts, strict=True) if not verdict]
    return f"{told}; not {shown(lacking[0])}" if lacking else told
