"""What every scorer is."""

from evals.schema import Answer, Sample, Score
from gateway.contracts import documents


class Scorer(documents.Frozen):
    """Judges one answer to one sample. Options are fields; a wrong option is a mistake in the suite, with its line."""

    async def score(self, sample: Sample, answer: Answer) -> Score:
        """A value in [0, 1]. Raises ValueError when it cannot judge, for example without a reference."""
        raise NotImplementedError


def references(sample: Sample) -> list[str]:
    """The acceptable answers of a sample. Raises ValueError when it has none: nothing can be compared then."""
    found = sample.references()
    if not found:
        raise ValueError(f"sample {sample.id!r} has no reference to compare with")
    return found
