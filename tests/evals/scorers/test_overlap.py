"""Reference values: the tests of rouge-score 0.1.2 and of sacrebleu 2 (test_sentence_bleu.py, test_chrf.py)."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

from evals.schema import Answer, Sample
from evals.scorers.base import NoServices, Scorer
from evals.scorers.overlap import Bleu, Chrf, ChrfPlusPlus, Rouge, lcs_length

ZAHAR = (
    "producţia de zahăr brut se exprimă în zahăr alb;",
    "Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;",
)
WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


async def value(scorer: Scorer, reference: str | list[str], text: str) -> float:
    sample = Sample(id="s", input="q", reference=reference)
    return (await scorer.score(sample, Answer(text=text), NoServices())).value


async def rouge(variant: str, reference: str | list[str], text: str, **options: object) -> list[float]:
    """Precision, recall, F."""
    kinds = ("precision", "recall", "fmeasure")
    made = [Rouge.model_validate({"variant": variant, "measure": kind, **options}) for kind in kinds]
    return [await value(scorer, reference, text) for scorer in made]


@pytest.mark.parametrize(
    ("variant", "text", "expected"),
    [
        ("rouge1", "testing", [1, 1 / 3, 1 / 2]),
        ("rouge2", "testing one", [1, 1 / 2, 2 / 3]),
        ("rougeL", "testing one", [1, 2 / 3, 4 / 5]),
        ("rougeL", "testing two", [1, 2 / 3, 4 / 5]),
        ("rouge1", "", [0, 0, 0]),
        ("rouge2", "", [0, 0, 0]),
        ("rougeL", "", [0, 0, 0]),
        ("rougeLsum", "", [0, 0, 0]),
        ("rougeLsum", "/", [0, 0, 0]),
    ],
)
async def test_rouge_of_the_librarys_tests(variant: str, text: str, expected: list[float]) -> None:
    assert await rouge(variant, "testing one two", text) == pytest.approx(expected)


@pytest.mark.parametrize(("variant", "expected"), [("rouge1", 1.0), ("rouge2", 0.0), ("rougeL", 0.5)])
async def test_the_best_reference_counts_for_rouge(variant: str, expected: float) -> None:
    assert (await rouge(variant, ["first text", "first something"], "text first"))[2] == pytest.approx(expected)


async def test_rouge_lsum_takes_lines_for_sentences() -> None:
    found = await rouge("rougeLsum", "w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5")
    assert found == pytest.approx([0.4, 0.8, 0.5333], abs=1e-4)  # Lin 2004, section 3.2
    two, one = "First sentence.\nSecond Sentence.", "Second sentence.\nFirst Sentence."
    assert (await rouge("rougeLsum", two, one, stem=True))[2] == pytest.approx(1.0)
    assert (await rouge("rougeLsum", two.replace("\n", " "), one.replace("\n", " "), stem=True))[2] == 0.5


async def test_stems_cut_english_suffixes() -> None:
    assert (await rouge("rouge1", "the plans include storage", "plan includes storage"))[1] == 0.25
    assert (await rouge("rouge1", "the plans include storage", "plan includes storage", stem=True))[1] == 0.75


async def test_words_of_other_scripts_need_another_tokenizer() -> None:
    with pytest.raises(ValueError, match=r"holds no word; .* use `words: unicode`"):
        await value(Rouge(), "Бесплатный план", "Бесплатный план")
    assert await value(Rouge(words="unicode"), "Бесплатный план", "бесплатный тариф") == 0.5
    assert await value(Rouge(words="unicode", variant="rougeLsum"), "é a\né b", "é b") == pytest.approx(2 / 3)


async def test_a_reference_without_words_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"the reference '…' holds no word$"):
        await value(Rouge(words="unicode"), "…", "x")


def test_the_stemmer_knows_english_alone() -> None:
    with pytest.raises(ValidationError, match="stemmer knows English alone"):
        Rouge(stem=True, words="unicode")


async def test_rouge_l_needs_no_table_and_rouge_lsum_refuses_a_large_one() -> None:
    text = "one two three " * 1000
    assert await value(Rouge(variant="rougeL"), text, text) == 1.0
    with pytest.raises(ValueError, match="3000 words against 3000 are too many for rougeLsum"):
        await value(Rouge(variant="rougeLsum"), text, text)


@given(one=WORDS, other=WORDS)
def test_the_common_subsequence_is_as_long_as_the_librarys(one: list[str], other: list[str]) -> None:
    assert lcs_length(one, other) == rouge_scorer._lcs_table(one, other)[-1][-1]


@given(one=WORDS.filter(bool), other=WORDS, variant=st.sampled_from(["rouge1", "rouge2", "rougeL", "rougeLsum"]))
async def test_rouge_is_the_librarys(one: list[str], other: list[str], variant: str) -> None:
    theirs = rouge_scorer.RougeScorer([variant]).score(" ".join(one), " ".join(other))[variant]
    ours = await rouge(variant, " ".join(one), " ".join(other))
    assert ours == pytest.approx([theirs.precision, theirs.recall, theirs.fmeasure], abs=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 8.493),
        ({"smooth": "none"}, 0.0),
        ({"smooth": "floor"}, 4.51688),
        ({"smooth": "add-k"}, 14.882),
        ({"tokenize": "none"}, 7.347),
        ({"tokenize": "intl"}, 8.493),
        ({"tokenize": "char"}, 40.8759),
        ({"tokenize": "char", "lowercase": True}, 42.0267),
    ],
)
async def test_bleu_of_the_librarys_tests(options: dict[str, object], expected: float) -> None:
    assert 100 * await value(Bleu.model_validate(options), *ZAHAR) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("smooth", ["exp", "none", "floor", "add-k"])
async def test_no_smoothing_makes_something_of_nothing(smooth: str) -> None:
    assert await value(Bleu(smooth=smooth), "okay thanks", "this is a cat") == 0.0


async def test_short_texts_are_scored_by_the_n_grams_that_they_have() -> None:
    assert await value(Bleu(), "the cat", "the cat") == pytest.approx(1.0)
    assert BLEU().sentence_score("the cat", ["the cat"]).score == 0.0


async def test_bleu_takes_all_references_together() -> None:
    two = ["the cat sat on a mat", "a cat was on the mat"]
    together = await value(Bleu(), two, "the cat was on the mat")
    assert together > max([await value(Bleu(), one, "the cat was on the mat") for one in two])


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [("a", "a", 100.0), ("", "reference", 0.0), ("a b c", "abc", 100.0), ("aa", "ab", 25.0)],
)
async def test_chrf_of_the_librarys_tests(text: str, reference: str, expected: float) -> None:
    assert 100 * await value(Chrf(beta=3), reference, text) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("scorer", "order"), [(Chrf(), 0), (ChrfPlusPlus(), 2)])
async def test_chrf_is_the_librarys_and_its_best_reference_counts(scorer: Scorer, order: int) -> None:
    theirs = CHRF(word_order=order).sentence_score(ZAHAR[1], [ZAHAR[0]]).score
    assert 100 * await value(scorer, ZAHAR[0], ZAHAR[1]) == pytest.approx(theirs)
    assert 100 * await value(scorer, ["zzz", ZAHAR[0]], ZAHAR[1]) == pytest.approx(theirs)


async def test_chrf_plus_plus_looks_at_words_too() -> None:
    assert await value(Chrf(), "a b c", "ab c") == 1.0
    assert await value(ChrfPlusPlus(), "a b c", "ab c") < 1.0


@pytest.mark.parametrize("scorer", [Bleu(), Chrf(), ChrfPlusPlus()])
async def test_nothing_overlaps_with_a_blank_reference(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="blank reference"):
        await value(scorer, ["x", " \n"], "x")


@pytest.mark.parametrize("kind", [Rouge, Bleu, Chrf])
def test_libraries_are_loaded_with_the_suite_and_missed_there(kind: type[Scorer], monkeypatch) -> None:
    for module in ("rouge_score.tokenizers", "sacrebleu.metrics.bleu", "sacrebleu.metrics.chrf"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValidationError, match="is not installed: pip install"):
        kind()
