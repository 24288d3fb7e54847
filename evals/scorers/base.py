"""What every scorer is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from evals.client import Result
from evals.schema import Answer, Sample, Score, Unjudged
from gateway.contracts import documents


class Services(Protocol):
    """What a scorer may ask of others."""

    async def chat(self, body: Mapping[str, Any], *, vote: int = 0) -> Result:
        """A chat completion of a judge, with retries; `body` is OpenAI's. `vote` numbers repeats of one question."""
        ...

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        """A vector for each text, in their order. Raises Unjudged where one cannot be had."""
        ...


class NoServices:
    """There is nobody to ask: scorers that compare text need nobody."""

    async def chat(self, body: Mapping[str, Any], *, vote: int = 0) -> Result:
        """Raises Unjudged."""
        raise Unjudged("judge_failed", f"there is no judge to ask for {body.get('model')!r}")

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        """Raises Unjudged."""
        raise Unjudged("not_measured", "there is no embedding model to ask")


@dataclass(frozen=True, slots=True)
class Examined:
    """A score, and what only the measurement of a judge looks at.

    `flips` is the share of votes whose verdict the order of the answers changed; None where there is no order.
    """

    score: Score
    flips: float | None = None


class Scorer(documents.Frozen):
    """Judges one answer to one sample. Options are fields; a wrong option is a mistake in the suite, with its line.

    `example` holds options that show its use; they are needed where an option has no default. `needs` is the field
    without which a sample cannot be judged: such a sample is refused before anybody is asked.
    """

    example: ClassVar[Mapping[str, Any]] = {}
    needs: ClassVar[Literal["reference", "expected_calls", "relevant"] | None] = None

    def lacks(self, sample: Sample) -> bool:
        """Whether a sample is without what this scorer needs. No calls at all are an expectation too."""
        found = None if self.needs is None else getattr(sample, self.needs)
        return self.needs is not None and (found is None or (self.needs != "expected_calls" and found in ([], {})))

    async def score(self, sample: Sample, answer: Answer, services: Services) -> Score:
        """A value in [0, 1].

        Raises Unjudged with a kind of failure where the evidence is missing, ValueError for a sample that it cannot
        judge, for example one without a reference. It never guesses.
        """
        raise NotImplementedError

    def identity(self) -> str | None:
        """Digest of what a score depends on beside the options and this package: prompts, say. None: of nothing."""
        return None

    async def examine(self, sample: Sample, answer: Answer, services: Services) -> Examined:
        """The score with what a judge's card needs beside it. Raises as `score` does."""
        return Examined(await self.score(sample, answer, services))

    def label_values(self) -> dict[str | int | float, float]:
        """The labels that people may give on a judge's scale, with their values in [0, 1]; empty without a scale."""
        return {}

    def judging(self) -> dict[str, Any] | None:
        """What a judge is told, as JSON values, and under `model` whom it asks; None where no judge is asked."""
        return None


def references(sample: Sample) -> list[str]:
    """The acceptable answers of a sample. Raises ValueError when it has none: nothing can be compared then."""
    found = sample.references()
    if not found:
        raise ValueError(f"sample {sample.id!r} has no reference to compare with")
    return found
