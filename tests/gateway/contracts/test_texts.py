"""Text is whole: two halves are a character, and one half is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.texts import whole


@given(st.text())
def test_text_is_as_it_was(text: str) -> None:
    assert whole(text) == text


@given(st.text())
def test_what_json_writes_in_pairs_is_one_character_again(text: str) -> None:
    halves = "".join(chr(int.from_bytes(pair)) for pair in _units(text))
    assert whole(halves) == json.loads(json.dumps(text)) == text


def _units(text: str) -> list[bytes]:
    encoded = text.encode("utf-16-be")
    return [encoded[at : at + 2] for at in range(0, len(encoded), 2)]


@pytest.mark.parametrize("text", ["\ud83c", "a\udf89", "\udf89\ud83c"])
def test_half_a_character_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="half a character"):
        whole(text)
