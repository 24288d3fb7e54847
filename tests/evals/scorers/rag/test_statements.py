import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.schema import Unjudged
from evals.scorers.rag.statements import aligned, distinct, folded, sentences, shown

WORDS = st.lists(st.text("abc ", min_size=1).filter(str.strip), min_size=1, max_size=6, unique_by=folded)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada lived.", "Ada lived"),
        ("ada  LIVED", "Ada\nlived."),
        ("Zoe\u0308", "Zoë"),
    ],
)
def test_two_writings_of_one_statement(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("x > 3", "x < 3"), ("-5", "5"), ("x²", "x2"), ("...", "")])
def test_two_statements(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_repeated_statement_counts_once() -> None:
    assert distinct(["Ada lived.", "She died.", "ada lived"], "statements") == ["Ada lived.", "She died."]


@pytest.mark.parametrize("empty", ["", " \n"])
def test_a_statement_without_text_is_no_list_to_go_by(empty: str) -> None:
    with pytest.raises(Unjudged, match="empty text among its claims"):
        distinct(["a", empty], "claims")


def test_verdicts_follow_the_statements_in_any_order() -> None:
    assert aligned(["a", "b", "c"], [("c", 1), ("A.", 0), ("b", 1)], "support") == [0, 1, 1]


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        ([("a", 1)], "support: 2 statements, but 1 verdicts"),
        ([], "2 statements, but 0 verdicts"),
        ([("a", 1), ("b", 1), ("c", 1)], "2 statements, but 3 verdicts"),
        ([("a", 1), ("A", 1)], "two verdicts on one statement"),
        ([("a", 1), ("bee", 1)], "1 of 2 statements were not judged word for word"),
    ],
)
def test_verdicts_that_do_not_match_are_none(judged: list[tuple[str, int]], expected: str) -> None:
    with pytest.raises(Unjudged, match=expected) as failed:
        aligned(["a", "b"], judged, "support")
    assert failed.value.kind == "judge_failed"


@given(WORDS, st.data())
def test_what_is_dropped_doubled_or_renamed_leaves_no_verdicts(statements: list[str], data: st.DataObject) -> None:
    judged = [(text, data.draw(st.integers(0, 1))) for text in statements]
    at = data.draw(st.integers(0, len(judged) - 1))
    kept = judged[:at] + judged[at + 1 :]
    for broken in (kept, [*judged, judged[at]], [*kept, ("something else", 1)], [*kept, *kept[:1]]):
        with pytest.raises(Unjudged):
            aligned(statements, broken, "support")
    assert aligned(statements, data.draw(st.permutations(judged)), "support") == [verdict for _, verdict in judged]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("England", ["England"]),
        ("Ada lived. She died!  Why?", ["Ada lived.", "She died!", "Why?"]),
        (
            "Dr. A. Lovelace lived in the U.S. for years. Not so.",
            ["Dr. A. Lovelace lived in the U.S. for years.", "Not so."],
        ),
        ("It costs 5. It is 3.14 wide.", ["It costs 5.", "It is 3.14 wide."]),
        ("1. Open it.\n2. Close it.", ["1. Open it.", "2. Close it."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("东京是首都。人口很多。", ["东京是首都。", "人口很多。"]),
        ("first line\n\nsecond line", ["first line", "second line"]),
        ("See Dr.", ["See Dr."]),
        ("No. Never.", ["No.", "Never."]),
        ("...", ["..."]),
        (" ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text("Aa1. !?\"')]。\n", min_size=1).filter(str.strip))
def test_every_text_has_a_sentence_and_none_is_lost(text: str) -> None:
    found = sentences(text)
    assert found
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_long_statement_is_cut_for_people() -> None:
    assert shown("short") == "'short'"
    assert len(shown("x" * 500)) == 122
