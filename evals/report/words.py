"""Two answers, word by word: which pieces of each the other one lacks."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from evals.report.view import Piece

_WORD = re.compile(r"\s*\S+\s*")
MOST_PAIRS = 40_000
"""Pairs of equal words of two answers, at most: texts with more of them are long and repeat themselves, and comparing
them would take longer than the rest of a page."""
LEAST_ALIKE = 0.15
"""Answers that share less than this are different from end to end, and marking every word would say nothing."""


def compared(one: str, other: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """The pieces of both texts. Unmarked when they are too long to compare, or have next to nothing in common."""
    first, second = _WORD.findall(one), _WORD.findall(other)
    ours, theirs = [word.strip() for word in first], [word.strip() for word in second]
    if ours == theirs or not ours or not theirs or _pairs(ours, theirs) > MOST_PAIRS:
        return whole(one), whole(other)
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return whole(one), whole(other)
    left: list[Piece] = []
    right: list[Piece] = []
    for what, a, b, c, d in matcher.get_opcodes():
        _add(left, first[a:b], what == "equal")
        _add(right, second[c:d], what == "equal")
    return tuple(left), tuple(right)


def whole(text: str) -> tuple[Piece, ...]:
    """A text without a mark."""
    return (Piece("same", text),) if text else ()


def _add(pieces: list[Piece], words: Sequence[str], same: bool) -> None:
    if words:
        pieces.append(Piece("same" if same else "changed", "".join(words)))


def _pairs(one: Sequence[str], other: Sequence[str]) -> int:
    counts = Counter(other)
    return sum(times * counts[word] for word, times in Counter(one).items()) + len(one) + len(other)
