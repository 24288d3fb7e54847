import pytest
from pydantic import ValidationError

from evals.schema import Answer, Passage, Sample, Score
from evals.scorers.base import NoServices, Scorer
from evals.scorers.citations import Citations, Quotes

CONTEXTS = ["The Free plan has 5 GB of storage.", "Pro costs 12 euros a month, and includes support by phone."]


async def score(scorer: Scorer, text: str, ids: list[str] | None = None, **sample: object) -> Score:
    passages = None if ids is None else [Passage(name, f"text of {name}") for name in ids]
    asked = Sample(id="s", input="q", **{"contexts": CONTEXTS, **sample})
    return await scorer.score(asked, Answer(text=text, passages=passages), NoServices())


async def value(scorer: Scorer, text: str, ids: list[str] | None = None, **sample: object) -> float:
    return (await score(scorer, text, ids, **sample)).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Free has 5 GB [1].", 1.0),
        ("Free has 5 GB[1][2].", 1.0),
        ("Free has 5 GB [1, 2].", 1.0),
        ("Free has 5 GB [3].", 0.0),
        ("Free has 5 GB [1][3].", 0.5),
        ("Free has 5 GB [1; 0].", 0.5),
        ("Free has 5 GB [sic].", 0.0),
        ("Free has 5 GB.", 0.0),
        ("", 0.0),
    ],
)
async def test_contexts_are_numbered_from_one(text: str, expected: float) -> None:
    assert await value(Citations(), text) == expected


@pytest.mark.parametrize(
    ("text", "ids", "expected"),
    [
        ("so [d1]", ["d1", "d7"], 1.0),
        ("so [d2]", ["d1", "d7"], 0.0),
        ("so [2]", ["d1", "d7"], 1.0),  # a place, for no id is a number
        ("so [3]", ["d1", "d7"], 0.0),
        ("so [7]", ["1", "7"], 1.0),
        ("so [2]", ["1", "7"], 0.0),  # ids are numbers: a place is none of them
        ("so [1]", [], 0.0),
    ],
)
async def test_passages_are_named_by_id_or_place(text: str, ids: list[str], expected: float) -> None:
    assert await value(Citations(), text, ids) == expected


async def test_what_was_retrieved_stands_before_the_samples_contexts() -> None:
    assert await value(Citations(), "so [2]", ["d1"]) == 0.0


async def test_invented_citations_are_named() -> None:
    assert await score(Citations(), "a [9] b [8] c [9] d [1]") == Score(0.25, "no passage is called 9, 8")
    assert (await score(Citations(), "nothing")).explanation == "the answer cites nothing"


async def test_an_answer_without_citations_counts_only_where_that_is_allowed() -> None:
    assert await value(Citations(required=False), "nothing") == 1.0
    assert await value(Citations(required=False), "wrong [9]") == 0.0
    assert await value(Citations(required=False, mode="recall"), "nothing", ["a"], relevant=["a"]) == 0.0


async def test_recall_asks_for_the_relevant_documents() -> None:
    recall, ids = Citations(mode="recall"), ["a#1", "a#2", "b#1", "c#1"]
    assert await value(recall, "so [1] and [2]", ids, relevant=["a", "b"]) == 0.5
    assert await value(recall, "so [1], [3] and [99]", ids, relevant=["a", "b"]) == 1.0
    assert (await score(recall, "so [4]", ids, relevant=["a", "b"])).explanation == "not cited: a, b"
    assert await value(recall, "so [2]", relevant=["2", "1"]) == 0.5
    with pytest.raises(ValueError, match="names no relevant document"):
        await value(recall, "so [1]", ids)


async def test_markers_of_another_shape() -> None:
    scorer = Citations(pattern=r"\[doc:([\w.#-]+)\]")
    assert await value(scorer, "so [doc:faq.md#3] [1]", ["faq.md#3"]) == 1.0
    assert await value(scorer, "so [doc:faq.md#4]", ["faq.md#3"]) == 0.0


@pytest.mark.parametrize(("pattern", "expected"), [("(", "not a regular"), (r"\d+", "found 0"), ("(a)(b)", "found 2")])
def test_a_marker_has_one_group(pattern: str, expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Citations(pattern=pattern)


@pytest.mark.parametrize("scorer", [Citations(), Quotes()])
async def test_without_passages_nothing_is_guessed(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="'s' has no contexts, and nothing was retrieved"):
        await score(scorer, "so [1]", contexts=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('It says "the free plan has 5 GB".', 1.0),
        ("It says “Pro costs 12 euros a\nmonth,” and more.", 1.0),
        ("Es heißt: „Pro costs 12 euros“", 1.0),
        ("Il dit : « includes support by phone. »", 1.0),
        ('It says "the Free plan has 6 GB".', 0.0),
        ('It says "the Free plan has 5 GB" and "Pro costs 12 dollars".', 0.5),
        ('It says "the Free plan ... 5 GB".', 1.0),
        ('It says "5 GB [...] the Free plan".', 0.0),
        ('It says "the Free plan … support by phone".', 0.0),  # of two passages
        ('It says "... ... ...".', 0.0),
        ('The "Free" plan.', 0.0),
        ("", 0.0),
    ],
)
async def test_quotations_stand_in_a_passage(text: str, expected: float) -> None:
    assert await value(Quotes(), text) == expected


async def test_names_in_quotation_marks_are_looked_at_when_asked_for() -> None:
    assert await value(Quotes(min_words=1), 'The "Free" plan.') == 1.0
    assert await value(Quotes(min_words=1), 'The "Gold" plan.') == 0.0
    assert await value(Quotes(required=False), 'The "Gold" plan.') == 1.0


async def test_the_quotation_that_was_not_found_is_named() -> None:
    assert (await score(Quotes(), 'So "this was never said".')).explanation == "not in a passage: 'this was never said'"


async def test_what_was_retrieved_can_be_quoted() -> None:
    assert await value(Quotes(), 'So "text of a".', ["a"]) == 1.0
    assert await value(Quotes(), 'So "the Free plan has 5 GB".', ["a"]) == 0.0
