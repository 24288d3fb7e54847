"""The words of a CEL condition: enough of its grammar to know which variables it reads.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>[bB]?[rR]"{3}.*?"{3}|[bB]?[rR]'{3}.*?'{3}|[bB]?[rR]"[^"\n]*"|[bB]?[rR]'[^'\n]*'
             |[bB]?"{3}(?:\\.|[^\\])*?"{3}|[bB]?'{3}(?:\\.|[^\\])*?'{3}
             |[bB]?"(?:\\.|[^"\\\n])*"|[bB]?'(?:\\.|[^'\\\n])*')
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_BEFORE, _AFTER = frozenset({"", "(", "&&", "||", "?", ":"}), frozenset({"", ")", "&&", "||", "?", ":"})
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


class Token(NamedTuple):
    """A word and its kind: `string`, `number`, `name` or `sign`."""

    kind: str
    text: str


class Reference(NamedTuple):
    """A root that a condition reads at words[start:end]; `member` is None where the root is read as a whole.

    `deeper` is a member of that member, which no value here has.
    """

    root: str
    member: str | None
    start: int
    end: int
    deeper: str | None = None


def tokens(text: str) -> list[Token]:
    """Every word but spaces and comments."""
    found = (Token(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(text))
    return [token for token in found if token.kind != "space"]


def plain(token: Token) -> str | None:
    """What a string says, where it has neither prefix nor escapes; None otherwise."""
    text = token.text
    if token.kind != "string" or "\\" in text or text[0] not in "\"'" or text[:3] in ('"""', "'''"):
        return None
    return text[1:-1]


def whole(token: Token) -> int | None:
    """What a number says, where it is a whole one."""
    return int(token.text) if token.kind == "number" and token.text.isdigit() else None


def word(words: Sequence[Token], at: int) -> str:
    """The text of a word; empty outside of them."""
    return words[at].text if 0 <= at < len(words) else ""


def bound(words: Sequence[Token]) -> Iterator[str]:
    """The names that macros such as `exists(x, …)` give to what they go through."""
    for at, token in enumerate(words):
        macro = word(words, at - 2) in _MACROS and word(words, at - 3) == "." and word(words, at - 1) == "("
        if macro and token.kind == "name" and word(words, at + 1) == ",":
            yield token.text


def references(words: Sequence[Token], roots: Collection[str], scalars: Collection[str]) -> Iterator[Reference]:
    """Every place where a root is read, in order. A scalar is its own member."""
    for at, token in enumerate(words):
        if token.kind != "name" or word(words, at - 1) == ".":
            continue
        if token.text in scalars:
            yield Reference(token.text, token.text, at, at + 1, _field(words, at + 1))
        elif token.text in roots:
            member, end = _member(words, at + 1)
            yield Reference(token.text, member, at, end, None if member is None else _field(words, end))


def _member(words: Sequence[Token], at: int) -> tuple[str | None, int]:
    field = _field(words, at)
    if field is not None:
        return field, at + 2
    if word(words, at) == "[" and word(words, at + 2) == "]" and (key := plain(words[at + 1])) is not None:
        return key, at + 3
    return None, at


def _field(words: Sequence[Token], at: int) -> str | None:
    """The name in `.name`, where it is not a method's."""
    is_field = word(words, at) == "." and at + 1 < len(words) and words[at + 1].kind == "name"
    return word(words, at + 1) if is_field and word(words, at + 2) != "(" else None


def guards(words: Sequence[Token], read: Sequence[Reference]) -> Iterator[tuple[Reference, frozenset[str]]]:
    """What must hold for the whole to be true: that a member is one of some texts, as in `a.b == "x" && …`.

    Sound, not complete: CEL's `&&` is false, and no error, where one of its sides is false.
    """
    starting, ending = {each.start: each for each in read}, {each.end: each for each in read}
    for start, end in _conjuncts(words):
        reference, texts = None, [plain(token) for token in words[start:end] if token.kind == "string"]
        if word(words, end - 2) == "==" and (first := starting.get(start)) is not None and first.end == end - 2:
            reference, texts = first, [plain(words[end - 1])]
        elif word(words, start + 1) == "==" and (last := ending.get(end)) is not None and last.start == start + 2:
            reference, texts = last, [plain(words[start])]
        elif (first := starting.get(start)) is not None and _is_list(words[first.end : end]):
            reference = first
        if reference is not None and None not in texts:
            yield reference, frozenset(str(text) for text in texts)


def cut(words: Sequence[Token], read: Reference) -> int | None:
    """The whole number that a member is compared with and nothing else is done with it there; None otherwise."""
    if word(words, read.end) in COMPARISONS and word(words, read.start - 1) in _BEFORE:
        literal, after = read.end + 1, read.end + 2
    elif word(words, read.start - 1) in COMPARISONS and word(words, read.start - 3) in _BEFORE:
        literal, after = read.start - 2, read.end
    else:
        return None
    return whole(words[literal]) if literal < len(words) and word(words, after) in _AFTER else None


def among(words: Sequence[Token], read: Reference) -> bool:
    """Whether a member is compared with plain texts there, by `==`, `!=` or `in [...]`, and nothing else is done."""
    before, end = read.start - 1, read.end
    if word(words, end) in ("==", "!="):
        texts, after = words[end + 1 : end + 2], end + 2
    elif word(words, before) in ("==", "!="):
        texts, before, after = words[max(0, before - 1) : before], before - 2, end
    elif word(words, end) == "in" and word(words, end + 1) == "[":
        listed = list(itertools.takewhile(lambda token: token.text != "]", words[end + 2 :]))
        texts, after = listed[::2], end + len(listed) + 3
    else:
        return False
    plainly = bool(texts) and all(plain(token) is not None for token in texts)
    return plainly and word(words, before) in _BEFORE and word(words, after) in _AFTER


def _conjuncts(words: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """The ranges between the `&&` of the outermost level; none where it has another operator that binds less."""
    depth, ends = 0, []
    for at, token in enumerate(words):
        depth += (token.text in _OPENING) - (token.text in _CLOSING) if token.kind == "sign" else 0
        if depth == 0 and token.text in ("||", "?"):
            return
        if depth == 0 and token.text == "&&":
            ends.append(at)
    yield from zip([0, *(end + 1 for end in ends)], [*ends, len(words)], strict=True)


def _is_list(words: Sequence[Token]) -> bool:
    """Whether it reads `in ["a", "b"]`."""
    if [word(words, 0), word(words, 1), word(words, len(words) - 1)] != ["in", "[", "]"]:
        return False
    return all((token.kind == "string") if at % 2 == 0 else token.text == "," for at, token in enumerate(words[2:-1]))


def compared(words: Sequence[Token], reference: Reference) -> list[Token]:
    """The strings and numbers that a member is compared with, where that can be seen; else all of the condition."""
    start, end = reference.start, reference.end
    if word(words, start - 1) == "(" and word(words, start - 2) in ("int", "double") and word(words, end) == ")":
        start, end = start - 2, end + 1
    found = []
    if word(words, end) in COMPARISONS:
        found = [*words[end + 1 : end + 3]][: 2 if word(words, end + 1) == "-" else 1]
    elif word(words, start - 1) in COMPARISONS:
        found = [*words[max(start - 2, 0) : start - 1]]
    elif word(words, end) == "in" and word(words, end + 1) == "[":
        found = [*itertools.takewhile(lambda token: token.text != "]", words[end + 2 :])]
    elif word(words, end) == "." and word(words, end + 2) == "(":
        found = [*words[end + 3 : end + 4]]
    literals = [token for token in found if token.kind in ("string", "number")]
    return literals or [token for token in words if token.kind in ("string", "number")]
