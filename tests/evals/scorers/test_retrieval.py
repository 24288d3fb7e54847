"""Reference values: scikit-learn's and Wikipedia's examples, and trec_eval's definitions worked out by hand."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.schema import Answer, Passage, Sample, Unjudged
from evals.scorers.base import NoServices, Scorer
from evals.scorers.retrieval import AveragePrecision, Hit, Mrr, NdcgAtK, PrecisionAtK, RecallAtK

ALL = [RecallAtK(), PrecisionAtK(), NdcgAtK(), Mrr(), Hit(), AveragePrecision()]
NAMES = st.permutations("abcdef").flatmap(lambda names: st.integers(0, 6).map(lambda size: names[:size]))
GRADES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3), min_size=1)


async def value(scorer: Scorer, found: str | list[str], relevant: str | list[str] | dict[str, float]) -> float:
    wanted = list(relevant) if isinstance(relevant, str) else relevant
    sample = Sample(id="s", input="q", relevant=wanted)
    answer = Answer(passages=[Passage(name, "text") for name in found])
    return (await scorer.score(sample, answer, NoServices())).value


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (RecallAtK(k=5), 2 / 4),
        (RecallAtK(k=10), 3 / 4),
        (PrecisionAtK(k=5), 2 / 5),
        (PrecisionAtK(k=10), 3 / 10),  # trec_eval's P_10 of six documents
        (Hit(k=1), 0.0),
        (Hit(k=2), 1.0),
        (Mrr(), 1 / 2),
        (Mrr(k=1), 0.0),
        (AveragePrecision(), (1 / 2 + 2 / 4 + 3 / 6) / 4),
        (AveragePrecision(k=4), (1 / 2 + 2 / 4) / 4),  # trec_eval's map_cut: over all relevant, not over k
    ],
)
async def test_a_ranking_worked_out_by_hand(scorer: Scorer, expected: float) -> None:
    assert await value(scorer, "xbycza"[:6], "bcaq") == pytest.approx(expected)


async def test_ndcg_of_wikipedias_example() -> None:
    relevant = {"d1": 3, "d2": 2, "d3": 3, "d4": 0, "d5": 1, "d6": 2, "d7": 3, "d8": 2}
    found = ["d1", "d2", "d3", "d4", "d5", "d6"]
    assert await value(NdcgAtK(k=6), found, relevant) == pytest.approx(0.785, abs=5e-4)


@pytest.mark.parametrize(
    ("scores", "k", "expected"),
    [([0.1, 0.2, 0.3, 4, 70], 5, 0.69), ([0.05, 1.1, 1.0, 0.5, 0.0], 5, 0.49), ([0.05, 1.1, 1.0, 0.5, 0.0], 4, 0.35)],
)
async def test_ndcg_of_scikit_learns_examples(scores: list[float], k: int, expected: float) -> None:
    graded = {str(place): float(grade) for place, grade in enumerate([10, 0, 0, 1, 5])}
    found = sorted(graded, key=lambda name: -scores[int(name)])
    found_value = await value(NdcgAtK(k=k), found, graded)
    assert math.floor(found_value * 100) / 100 == expected  # its documentation prints two digits


async def test_the_exponential_gain_weighs_high_grades_more() -> None:
    graded = {"a": 3.0, "b": 1.0}
    best = 7 + 1 / math.log2(3)
    assert await value(NdcgAtK(gain="exponential"), "ba", graded) == pytest.approx((1 + 7 / math.log2(3)) / best)
    assert await value(NdcgAtK(), "ba", graded) == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    with pytest.raises(ValueError, match="at most 60"):
        await value(NdcgAtK(gain="exponential"), "a", {"a": 2000.0})


async def test_passages_of_one_document_count_once() -> None:
    found = ["x#1", "x#2", "a#7", "a#9", "b#1"]
    assert await value(PrecisionAtK(k=3), found, "ab") == pytest.approx(2 / 3)
    assert await value(Mrr(), found, "ab") == 1 / 2
    assert await value(RecallAtK(k=2, separator=None), found, ["a#7", "x#2"]) == 1 / 2
    assert await value(Mrr(separator="/"), ["x/1", "x/2", "a/1"], "a") == 1 / 2


@pytest.mark.parametrize("scorer", ALL)
async def test_nothing_retrieved_is_missing_and_nothing_found_is_zero(scorer: Scorer) -> None:
    assert await value(scorer, "", "a") == 0.0
    with pytest.raises(Unjudged, match="no passages") as failed:
        await scorer.score(Sample(id="s", input="q", relevant=["a"]), Answer(text="x"), NoServices())
    assert failed.value.kind == "retrieval_failed"


@pytest.mark.parametrize("scorer", ALL)
@pytest.mark.parametrize("relevant", [None, [], {"a": 0.0, "b": -1.0}])
async def test_a_question_without_a_relevant_document_is_an_error(scorer: Scorer, relevant) -> None:
    sample = Sample(id="s", input="q", relevant=relevant)
    with pytest.raises(ValueError, match="names no relevant document"):
        await scorer.score(sample, Answer(passages=[Passage("a", "t")]), NoServices())


async def test_a_passage_among_documents_would_never_be_found_and_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"names the passage 'a#1'; .*separator: null"):
        await value(RecallAtK(), ["a#1"], ["a#1"])


async def test_a_grade_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="the grade of 'a' is nan"):
        await value(NdcgAtK(), "a", {"a": math.nan})


@pytest.mark.parametrize("options", [{"k": 0}, {"separator": ""}, {"gain": "other"}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NdcgAtK.model_validate(options)


@given(found=NAMES, relevant=GRADES, k=st.integers(1, 7))
async def test_every_score_is_what_its_definition_says(found: list[str], relevant: dict[str, int], k: int) -> None:
    top, places = found[:k], [place for place, name in enumerate(found, 1) if name in relevant]
    assert await value(RecallAtK(k=k), found, relevant) == len(set(top) & set(relevant)) / len(relevant)
    assert await value(PrecisionAtK(k=k), found, relevant) == len(set(top) & set(relevant)) / k
    assert await value(Hit(k=k), found, relevant) == float(bool(set(top) & set(relevant)))
    assert await value(Mrr(), found, relevant) == (1 / min(places) if places else 0.0)
    precisions = [len(set(found[:place]) & set(relevant)) / place for place in places]
    assert await value(AveragePrecision(), found, relevant) == pytest.approx(sum(precisions) / len(relevant))


@given(found=NAMES, relevant=GRADES, k=st.integers(1, 4), gain=st.sampled_from(["linear", "exponential"]))
async def test_the_ideal_is_the_best_of_all_orders(found: list, relevant: dict[str, int], k: int, gain: str) -> None:
    def dcg(names) -> float:
        grades = [relevant.get(name, 0) for name in names]
        gains = grades if gain == "linear" else [2**grade - 1 for grade in grades]
        return sum(g / math.log2(place + 1) for place, g in enumerate(gains, 1))

    size = min(k, len(relevant))
    best = max(dcg(order) for order in itertools.permutations(relevant, size))
    scorer = NdcgAtK(k=k, gain=gain)
    assert await value(scorer, found, relevant) == pytest.approx(dcg(found[:k]) / best)
    assert await value(scorer, sorted(relevant, key=relevant.get, reverse=True), relevant) == 1.0
