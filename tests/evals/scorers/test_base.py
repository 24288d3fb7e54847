import pytest

from evals.schema import Answer, Sample, Unjudged
from evals.scorers.base import NoServices, Scorer, references


def test_a_sample_without_a_reference_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="sample 'a' has no reference"):
        references(Sample(id="a", input="q"))


async def test_the_base_scores_nothing() -> None:
    with pytest.raises(NotImplementedError):
        await Scorer().score(Sample(id="a", input="q"), Answer(text="x"), NoServices())


def test_what_depends_on_nothing_else_has_no_identity() -> None:
    assert Scorer().identity() is None


async def test_nobody_to_ask_is_missing_evidence() -> None:
    with pytest.raises(Unjudged, match="no judge to ask for 'j'") as failed:
        await NoServices().chat({"model": "j"})
    assert failed.value.kind == "judge_failed"
    with pytest.raises(Unjudged, match="no embedding model") as failed:
        await NoServices().embed(["a"])
    assert failed.value.kind == "not_measured"
