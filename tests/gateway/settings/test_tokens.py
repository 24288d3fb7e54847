"""The words of a condition, and what can be told from them alone."""

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import tokens
from gateway.settings.tokens import Reference, Token
from tests.gateway.ruled import CONDITIONS

ROOTS, SCALARS = ("req", "key", "headers", "local"), ("region", "now")


def _read(text: str) -> list[tuple[str, str | None]]:
    return [(each.root, each.member) for each in tokens.references(tokens.tokens(text), ROOTS, SCALARS)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('"a \\" && b"', "string"),
        ("'a'", "string"),
        ('r"a\\"', "string"),
        ('"""a "quoted" && b"""', "string"),
        ("'''it's'''", "string"),
        ('b"abc"', "string"),
        ("0x1F", "number"),
        ("1.5e-3", "number"),
        (".5", "number"),
        ("12u", "number"),
        ("startsWith", "name"),
        ("&&", "sign"),
        ("<=", "sign"),
    ],
)
def test_a_word_is_one_token(text: str, kind: str) -> None:
    assert tokens.tokens(text) == [Token(kind, text)]


def test_comments_and_spaces_are_no_words() -> None:
    assert [each.text for each in tokens.tokens('a // "b\n == // c\n 1')] == ["a", "==", "1"]


@given(st.lists(st.sampled_from(['"a"', "'b && c'", "==", "&&", "local", ".", "hour", "(", ")", "1", "//x\n"])))
def test_nothing_of_a_text_is_lost(parts: list[str]) -> None:
    words = tokens.tokens(" ".join(parts))
    assert [each.text for each in words] == [part for part in parts if not part.startswith("//")]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("local.hour", [("local", "hour")]),
        ("local . hour", [("local", "hour")]),
        ('local["hour"] == 1', [("local", "hour")]),
        ("headers['x-tier'] == \"local.day\"", [("headers", "x-tier")]),
        ('headers["x\\x2dtier"]', [("headers", None)]),
        ('headers["x-" + req.model]', [("headers", None), ("req", "model")]),
        ("[local][0].hour", [("local", None)]),
        ('{"a": local}.a.hour', [("local", None)]),
        ("local.size()", [("local", None)]),
        ("local.holidays.exists(h, h == region)", [("local", "holidays"), ("region", "region")]),
        ("region.startsWith('BR')", [("region", "region")]),
        ('"req.model" == "key.team" // local', []),
        ("has(req.model)", [("req", "model")]),
        ("a.local.hour", []),
    ],
)
def test_what_a_condition_reads(text: str, read: list[tuple[str, str | None]]) -> None:
    assert _read(text) == read


@given(CONDITIONS)
def test_the_roots_are_those_that_cel_finds(text: str) -> None:
    words = tokens.tokens(text)
    found = {root for root, _ in _read(text)}
    assert found == set(cel.compile(text).variables()) - set(tokens.bound(words))


def test_the_names_of_macros() -> None:
    words = tokens.tokens("local.holidays.exists(h, h.size() > 1) && [1].map(x, x).all(y, y == x) && f.exists(a.b, c)")
    assert list(tokens.bound(words)) == ["h", "x", "y"]


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ('key.team == "a"', {"team": {"a"}}),
        ('"a" == key.team && local.hour > 1', {"team": {"a"}}),
        ('local.hour > 1 && key.team in ["a", "b"]', {"team": {"a", "b"}}),
        ('key.team == "a" && headers["x"] == "b"', {"team": {"a"}, "x": {"b"}}),
        ('key.team == "a" || local.hour > 1', {}),
        ('key.team == "a" ? true : false', {}),
        ('(key.team == "a" || local.hour > 1) && req.model == "m"', {"model": {"m"}}),
        ('!(key.team == "a") && req.model != "m"', {}),
        ('key.team == "a" + "b"', {}),
        ('key.team in ["a", req.model]', {}),
        ('key.team in ["a"] + ["b"]', {}),
        ('key.team == "\\x41"', {}),
        ('key.team in ["a", "\\x41"]', {}),
        ("key.team == key.id", {}),
        ('key == "a"', {}),
    ],
)
def test_what_must_hold_for_the_whole_to_hold(text: str, guarded: dict[str, set[str]]) -> None:
    words = tokens.tokens(text)
    read = list(tokens.references(words, ROOTS, SCALARS))
    assert {str(each.member): set(texts) for each, texts in tokens.guards(words, read) if each.member} == guarded


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("local.hour > 5", 5),
        ("5 <= local.hour", 5),
        ("(local.hour == 5) || true", 5),
        ("req.stream ? local.hour > 5 : false", 5),
        ("local.hour + 1 > 5", None),
        ("1 + local.hour > 5", None),
        ("local.hour > 5 + 1", None),
        ("5 + 1 > local.hour", None),
        ("-local.hour > 5", None),
        ("local.hour > -5", None),
        ("local.hour > 5.5", None),
        ("local.hour in [5]", None),
        ("local.hour == local.hour", None),
        ("local.hour > 5u", None),
        ("string(local.hour) == '5'", None),
        ("local.hour >", None),
    ],
)
def test_a_member_is_only_compared_with_a_number(text: str, number: int | None) -> None:
    words = tokens.tokens(text)
    reference = next(each for each in tokens.references(words, ROOTS, SCALARS) if each.member == "hour")
    assert tokens.cut(words, reference) == number


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('key.team == "a" && req.model == "b"', ['"a"']),
        ('"a" != key.team && req.model == "b"', ['"a"']),
        ('key.team in ["a", "c"] && req.model == "b"', ['"a"', '"c"']),
        ('key.team.startsWith("a") && req.model == "b"', ['"a"']),
        ("int(key.team) > 3 && req.choices == 9", ["3"]),
        ('size(key.team) > 3 && req.model == "b"', ["3", '"b"']),
    ],
)
def test_what_a_member_is_compared_with(text: str, texts: list[str]) -> None:
    words = tokens.tokens(text)
    reference = next(each for each in tokens.references(words, ROOTS, SCALARS) if each.member == "team")
    assert [each.text for each in tokens.compared(words, reference)] == texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('key.team == "a"', True),
        ('("a" != key.team) && req.stream', True),
        ('key.team in ["a", "b"] || req.stream', True),
        ("key.team in []", False),
        ("key.team == req.model", False),
        ('key.team in ["a", req.model]', False),
        ('"x" + key.team == "xa"', False),
        ('key.team == "a" + req.model', False),
        ('key.team.startsWith("a")', False),
        ('key.team == "\\u0061"', False),
        ('key.team < "a"', False),
    ],
)
def test_a_member_is_only_compared_with_texts(text: str, expected: bool) -> None:
    words = tokens.tokens(text)
    reference = next(each for each in tokens.references(words, ROOTS, SCALARS) if each.member == "team")
    assert tokens.among(words, reference) is expected


def test_a_member_of_a_member_is_told() -> None:
    assert list(tokens.references(tokens.tokens("region.name"), ROOTS, SCALARS)) == [
        Reference("region", "region", 0, 1, "name")
    ]
