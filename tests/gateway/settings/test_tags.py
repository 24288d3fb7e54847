"""Tags: what they may be called, what they may say, and how they are written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.settings.tags import LONGEST, MOST, Tags, decode, encode, is_value, mistake

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")
VALUES = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=LONGEST).filter(str.isprintable)
HEADERS = TypeAdapter(Tags)


@given(st.dictionaries(NAMES, VALUES, max_size=MOST))
def test_what_is_written_is_read_back_and_order_does_not_matter(tags: dict[str, str]) -> None:
    assert mistake(tags) is None
    text = encode(tags)
    assert decode(text) == tags
    assert encode(dict(reversed(tags.items()))) == text
    assert (text is None) == (not tags)
    if text is not None:
        assert list(json.loads(text)) == sorted(tags)


@pytest.mark.parametrize("value", ["", "x" * (LONGEST + 1), "a\nb", "a\x00", "\u202e"])
def test_what_is_no_value(value: str) -> None:
    assert not is_value(value)
    assert repr(value) in str(mistake({"project": value}))


@pytest.mark.parametrize("name", ["", "-a", "a b", "é", "x" * 65])
def test_what_is_no_name(name: str) -> None:
    assert repr(name) in str(mistake({name: "v"}))


def test_there_are_at_most_16() -> None:
    assert "at most 16" in str(mistake({f"t{n}": "v" for n in range(MOST + 1)}))
    with pytest.raises(ValidationError, match="at most 16"):
        HEADERS.validate_python({f"t{n}": "x-a" for n in range(MOST + 1)})


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "cookie", "proxy-authorization"])
def test_a_header_with_a_secret_is_refused(header: str) -> None:
    with pytest.raises(ValidationError, match="carries a secret"):
        HEADERS.validate_python({"who": header})


@pytest.mark.parametrize("tags", [{"a b": "x-a"}, {"a": "X-Upper"}, {"a": "x a"}, {"a": ""}])
def test_names_and_headers_are_checked(tags: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        HEADERS.validate_python(tags)
