import pytest

from evals.schema import Answer, Sample
from evals.scorers.base import Scorer, references


def test_a_sample_without_a_reference_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="sample 'a' has no reference"):
        references(Sample(id="a", input="q"))


async def test_the_base_scores_nothing() -> None:
    with pytest.raises(NotImplementedError):
        await Scorer().score(Sample(id="a", input="q"), Answer(text="x"))
