import time

from hypothesis import given
from hypothesis import strategies as st

from evals.report.view import Piece
from evals.report.words import MOST_PAIRS, compared, whole


def test_only_words_that_the_other_lacks_are_marked() -> None:
    left, right = compared("It costs 9 dollars per month.", "It costs 19 dollars per month.")
    assert [piece for piece in left if piece.change == "changed"] == [Piece("changed", "9 ")]
    assert [piece for piece in right if piece.change == "changed"] == [Piece("changed", "19 ")]


def test_equal_texts_have_no_mark() -> None:
    assert compared("same words", "same words") == (whole("same words"), whole("same words"))


def test_texts_with_nothing_in_common_are_not_marked_from_end_to_end() -> None:
    left, right = compared("one two three four", "five six seven eight")
    assert {piece.change for piece in (*left, *right)} == {"same"}


def test_long_texts_that_repeat_themselves_take_no_time() -> None:
    one, other = "a b " * MOST_PAIRS, "b a " * MOST_PAIRS
    start = time.process_time()
    assert compared(one, other) == (whole(one), whole(other))
    assert time.process_time() - start < 5


def test_an_empty_text_has_no_pieces() -> None:
    assert compared("", "words") == ((), whole("words"))


words = st.lists(st.sampled_from(["plan", "costs", "9", "\n", "  ", "€", "<b>"]), max_size=30).map(" ".join)


@given(words, words)
def test_no_character_is_lost(one: str, other: str) -> None:
    left, right = compared(one, other)
    assert "".join(piece.text for piece in left).strip() == one.strip()
    assert "".join(piece.text for piece in right).strip() == other.strip()
