"""Expected values are those of the official script (evaluate-v2.0.py), written down here again in a few lines."""

import collections
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.schema import Answer, Sample
from evals.scorers.base import NoServices
from evals.scorers.squad import SquadEm, SquadF1, f1
from evals.scorers.text import normalise

WORDS = st.text(alphabet="ab the,.!\n", max_size=30)


def official(golds: list[str], said: str) -> tuple[float, float]:
    """(exact, f1) as the script counts them, in its own steps."""

    def tokens(text: str) -> list[str]:
        kept = "".join(c for c in text.lower() if c not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def overlap(gold: list[str], found: list[str]) -> float:
        if not gold or not found:
            return float(gold == found)
        same = sum((collections.Counter(gold) & collections.Counter(found)).values())
        if same == 0:
            return 0.0
        precision, recall = same / len(found), same / len(gold)
        return 2 * precision * recall / (precision + recall)

    kept = [gold for gold in golds if tokens(gold)] or [""]
    exact = max(float(tokens(gold) == tokens(said)) for gold in kept)
    return exact, max(overlap(tokens(gold), tokens(said)) for gold in kept)


async def both(text: str, *golds: str, **options: object) -> tuple[float, float]:
    sample, answer = Sample(id="a", input="q", reference=list(golds)), Answer(text=text)
    em = await SquadEm.model_validate(options).score(sample, answer, NoServices())
    overlap = await SquadF1.model_validate(options).score(sample, answer, NoServices())
    return em.value, overlap.value


@pytest.mark.parametrize(
    ("text", "golds", "em", "overlap"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1.0, 1.0),
        ("The Denver Broncos!", ["Denver Broncos", "Broncos"], 1.0, 1.0),
        ("the Broncos of Denver", ["Denver Broncos"], 0.0, 0.8),
        ("Carolina Panthers", ["Denver Broncos"], 0.0, 0.0),
        ("in the city of Santa Clara", ["Santa Clara, California", "Santa Clara"], 0.0, 4 / 7),
        ("gold gold gold", ["gold"], 0.0, 0.5),
        ("gold", ["golden", "gold anniversary"], 0.0, 2 / 3),
    ],
)
async def test_known_values(text: str, golds: list[str], em: float, overlap: float) -> None:
    found = await both(text, *golds)
    assert found == pytest.approx((em, overlap), abs=1e-12)
    assert found == pytest.approx(official(golds, text), abs=1e-12)


@pytest.mark.parametrize(
    ("text", "golds", "expected"),
    [
        ("", [""], 1.0),
        ("the.", [""], 1.0),
        ("Paris", [""], 0.0),
        ("", ["Paris"], 0.0),
        ("", ["", "Paris"], 0.0),  # a question that has an answer: the empty reference is left out
        ("Paris", ["", "Paris"], 1.0),
    ],
)
async def test_questions_without_an_answer(text: str, golds: list[str], expected: float) -> None:
    assert await both(text, *golds) == (expected, expected)
    assert official(golds, text) == (expected, expected)


async def test_a_phrase_can_stand_for_no_answer() -> None:
    assert await both("Unanswerable.", "") == (0.0, 0.0)
    assert await both("Unanswerable.", "", no_answer=["unanswerable"]) == (1.0, 1.0)
    assert await both("Unanswerable.", "Paris", no_answer=["unanswerable"]) == (0.0, 0.0)


@pytest.mark.parametrize("scorer", [SquadEm(), SquadF1()])
async def test_no_reference_is_no_empty_reference(scorer) -> None:
    with pytest.raises(ValueError, match="no reference"):
        await scorer.score(Sample(id="a", input="q"), Answer(text=""), NoServices())


@given(said=WORDS, golds=st.lists(WORDS, min_size=1, max_size=3))
async def test_every_value_is_the_scripts(said: str, golds: list[str]) -> None:
    assert await both(said, *golds) == pytest.approx(official(golds, said), abs=1e-12)


@given(one=WORDS, other=WORDS)
def test_f1_is_symmetric_and_one_for_the_same_words(one: str, other: str) -> None:
    first, second = normalise(one).split(), normalise(other).split()
    assert f1(first, second) == f1(second, first)
    assert f1(first, first[::-1]) == 1.0
