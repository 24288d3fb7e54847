"""Canonical JSON: RFC 8785's own vectors, and digests that depend on the value alone."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts import canonical
from gateway.contracts.errors import InputError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    # A float of 2^53 or more is written without a point: read back it is an integer that has no canonical form.
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


TEXTS = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=12)
    | st.sampled_from(["\x00", "\x1f", "\x7f", "/", "\u2028", "\ufeff"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS | JSON)
def test_every_value_is_written_as_the_reference_implementation_writes_it(value: Any) -> None:
    assert canonical.canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("code", range(0x100))
def test_every_character_of_latin_1_too_in_keys_and_in_values(code: int) -> None:
    value = {chr(code) + "b": [chr(code), "a"], "a" + chr(code): (None, True), "a": "b"}
    assert canonical.canonical_json(value) == rfc8785.dumps(value)


def test_the_example_of_rfc_8785() -> None:
    """Section 3.2.2 and its result in 3.2.3."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical.canonical_json(value) == expected.encode()


def test_keys_are_sorted_by_utf_16_as_in_rfc_8785() -> None:
    """Section 3.2.3: a key beyond the basic plane sorts by its first surrogate, not by its code point."""
    value = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": 7}
    assert list(json.loads(canonical.canonical_json(value))) == ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-5e-324, "-5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740991, "9007199254740991"),
        (-9007199254740991, "-9007199254740991"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1.0000000000000001e23, "1.0000000000000001e+23"),
        (999999999999999700000.0, "999999999999999700000"),
        (1e21, "1e+21"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.3333332, "333333333.3333332"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
        (1.0, "1"),
    ],
)
def test_numbers_are_written_as_in_appendix_b(number: float, text: str) -> None:
    assert canonical.canonical_json(number) == text.encode()


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), -float("inf")])
def test_numbers_without_one_meaning_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="no canonical JSON form"):
        canonical.canonical_json({"a": [value]})


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, {"a": b"x"}, {"a": "\ud800"}, {"a": {1, 2}}])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        canonical.canonical_json(value)


@given(value=JSON)
def test_the_bytes_mean_the_value(value: Any) -> None:
    assert json.loads(canonical.canonical_json(value)) == value


@given(
    value=st.dictionaries(st.text(max_size=6), JSON, min_size=2, max_size=5), random=st.randoms(use_true_random=False)
)
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: random.Random) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical.digest({key: value[key] for key in keys}) == canonical.digest(value)


@given(value=JSON)
def test_canonical_is_a_fixed_point(value: Any) -> None:
    once = canonical.canonical_json(value)
    assert canonical.canonical_json(json.loads(once)) == once


@given(one=JSON, other=JSON)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    same = canonical.canonical_json(one) == canonical.canonical_json(other)
    assert (canonical.digest(one) == canonical.digest(other)) == same


def test_a_digest_never_changes() -> None:
    """Digests are written into verdicts and manifests: a new version may not compute another one."""
    assert canonical.digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert canonical.digest({"b": [1, 2.5, None], "a": "ü"}) == (
        "sha256:" + hashlib.sha256('{"a":"ü","b":[1,2.5,null]}'.encode()).hexdigest()
    )


def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"\x00\x01" * 100_000)
    assert canonical.file_digest(path) == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"")
    assert canonical.file_digest(path).endswith("b855")
