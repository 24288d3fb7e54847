"""Near-duplicates: all pairs of texts whose Jaccard similarity over character 4-grams reaches a threshold.

Exact, not sampled: a pair at or above the threshold is always found. The method is the prefix filter for set
similarity joins (Bayardo, Ma and Srikant 2007, All-Pairs; Xiao et al. 2008, PPJoin): with the grams of every text
ordered from rare to common, two similar texts share one of their first |x| - ceil(t |x|) + 1 grams. What shares one is
narrowed down by size, by position in the prefix, and by a bitmap of 256 bits (each bit that differs is at least one
gram that only one of the two has); the rest is counted.

Texts that are all alike (thousands of questions from one template) have too many pairs to look at. The search then
stops at a limit and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

GRAM = 4
"""Characters in a gram: short enough for Chinese and for a question of three words, long enough to be rare."""

MOST_CANDIDATES = 200_000_000
MOST_PAIRS = 300_000
_MOST_CHARACTERS = 40_000_000
_LEAST_COMPARED = 200
_CHUNK = 1 << 17
"""Candidates looked at together: as many as a processor's cache holds."""
_WORDS = 4
"""64-bit words in a bitmap."""
_EXACT = 1e-9


@dataclass(frozen=True, slots=True)
class Pair:
    """Positions of two texts, the first below the second, and their similarity in [threshold, 1]."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Found:
    """Pairs, the most similar first. `complete`: no limit was met. `compared`: so many last characters of a text."""

    pairs: list[Pair]
    complete: bool
    compared: int


@dataclass(frozen=True, slots=True)
class _Grams:
    """Sets of grams, one after the other: `ranks` (0 is the rarest), ascending in each; `sizes`; where each starts."""

    ranks: Any
    sizes: Any
    starts: Any


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of two texts over their sets of character 4-grams, in [0, 1]."""
    one, two = _grams_of(first), _grams_of(second)
    return len(one & two) / len(one | two)


def _grams_of(text: str) -> set[str]:
    padded = _padded(text)
    return {padded[at : at + GRAM] for at in range(len(padded) - GRAM + 1)}


def _padded(text: str) -> str:
    """A text with a space at both ends, at least as long as a gram."""
    return f" {text} ".ljust(GRAM)


def find(
    texts: Sequence[str],
    threshold: float,
    groups: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """All similar pairs. Texts of one group (any whole number that is not negative) are not compared.

    `on_progress` gets the candidates that were looked at, and their number. Raises ValueError for a threshold outside
    (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"expected a similarity above 0 and at most 1, found {threshold!r}")
    compared = max(_LEAST_COMPARED, _MOST_CHARACTERS // max(1, len(texts)))
    if len(texts) < 2:
        return Found([], True, compared)
    import numpy as np

    grams = _sets(np, [_padded(text[-compared:]) for text in texts])
    group = np.asarray(groups if groups is not None else [-1] * len(texts), dtype=np.int64)
    keys, complete = _candidates(np, grams, group, threshold, on_progress)
    pairs = _count(np, grams, keys, threshold)
    return Found(sorted(pairs, key=lambda p: (-p.similarity, p.first, p.second)), complete, compared)


def _sets(np: ModuleType, texts: list[str]) -> _Grams:
    """The set of grams of each text, as ranks by how often a gram occurs in all texts."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    hashed = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for shift in range(GRAM):
        # An odd multiplier, then the high bits folded down: 64 bits for at most 84, so that two grams of a data set
        # practically never meet in one.
        hashed = (hashed + codes[shift : len(hashed) + shift]) * np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(29)
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(texts)), lengths)[: len(hashed)]
    inside = np.arange(len(hashed)) + GRAM <= ends[owner]
    number, count = _numbered(np, hashed[inside])
    rank_of = np.empty(len(count), dtype=np.int64)
    rank_of[np.argsort(count, kind="stable")] = np.arange(len(count))
    key = np.sort(owner[inside] * len(count) + rank_of[number])
    key = key[np.concatenate(([True], key[1:] != key[:-1]))]
    sizes = np.bincount(key // len(count), minlength=len(texts))
    return _Grams(key % len(count), sizes, np.cumsum(sizes) - sizes)


def _numbered(np: ModuleType, values: Any) -> tuple[Any, Any]:
    """The number of each value among the distinct ones, and how often each of those occurs."""
    # numpy's own `unique` sorts positions to tell this, and takes six times as long.
    ordered = np.sort(values)
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return np.searchsorted(ordered[begins], values), np.diff(np.append(begins, len(ordered)))


def _candidates(
    np: ModuleType, grams: _Grams, group: Any, threshold: float, on_progress: Callable[[int, int], None]
) -> tuple[list[Any], bool]:
    """Keys (first * texts + second) of the pairs that no filter can rule out, and whether all were looked at."""
    owner, reach, until = _postings(np, grams, threshold)
    sizes, texts = grams.sizes.astype(np.int32), len(grams.sizes)
    size_of, group_of = sizes[owner], group.astype(np.int32)[owner]
    ahead = until - np.arange(len(owner)) - 1
    offset = np.concatenate(([0], np.cumsum(ahead)))
    total = min(int(offset[-1]), MOST_CANDIDATES)
    share = threshold / (1 + threshold)
    bits = _bitmaps(np, grams)
    keys: list[Any] = []
    kept = start = 0
    while offset[start] < total:
        end = max(start + 1, int(np.searchsorted(offset, offset[start] + _CHUNK, side="right")) - 1)
        left = np.repeat(np.arange(start, end), ahead[start:end])
        right = np.arange(offset[start], offset[end]) + np.repeat(
            np.arange(start, end) + 1 - offset[start:end], ahead[start:end]
        )
        both = size_of[left] + size_of[right]
        needed = np.ceil(share * both - _EXACT).astype(np.int32)
        good = np.flatnonzero(np.minimum(reach[left], reach[right]) >= needed)
        left, right = left[good], right[good]
        apart = (group_of[left] < 0) | (group_of[left] != group_of[right])
        one, two, room = owner[left[apart]], owner[right[apart]], (both - 2 * needed)[good][apart]
        differ = sum(np.bitwise_count(word[one] ^ word[two]).astype(np.int32) for word in bits)
        one, two = one[differ <= room], two[differ <= room]
        keys.append(np.unique(np.minimum(one, two) * texts + np.maximum(one, two)))
        kept += len(keys[-1])
        start = end
        on_progress(min(int(offset[start]), total), total)
        if kept > MOST_PAIRS:
            return keys, False
    return keys, int(offset[-1]) <= MOST_CANDIDATES


def _postings(np: ModuleType, grams: _Grams, threshold: float) -> tuple[Any, Any, Any]:
    """Prefixes turned round: by gram, then by size, which text has it, how many of its grams are left from there on,
    and up to where in this list the texts stand that share the gram and are not too long."""
    sizes = grams.sizes
    owner = np.repeat(np.arange(len(sizes)), sizes)
    position = np.arange(len(owner)) - grams.starts[owner]
    prefix = sizes - np.ceil(threshold * sizes - _EXACT) + 1
    inside = position < prefix[owner]
    owner, position, rank = owner[inside], position[inside], grams.ranks[inside]
    stride = int(sizes.max()) + 1
    key = rank * stride + sizes[owner]
    order = np.argsort(key, kind="stable")
    owner, rank, key = owner[order], rank[order], key[order]
    reach = (sizes[owner] - position[order]).astype(np.int32)
    longest = np.minimum(np.floor(sizes[owner] / threshold + _EXACT), stride - 1).astype(np.int64)
    return owner, reach, np.searchsorted(key, rank * stride + longest, side="right")


def _bitmaps(np: ModuleType, grams: _Grams) -> list[Any]:
    """256 bits for each text: one for each of its grams."""
    owner = np.repeat(np.arange(len(grams.sizes)), grams.sizes)
    bit = ((grams.ranks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)).astype(np.int64)
    maps = []
    for word in range(_WORDS):
        here = (bit >> 6) == word
        made = np.zeros(len(grams.sizes), dtype=np.uint64)
        np.bitwise_or.at(made, owner[here], np.uint64(1) << (bit[here] & 63).astype(np.uint64))
        maps.append(made)
    return maps


def _count(np: ModuleType, grams: _Grams, keys: list[Any], threshold: float) -> list[Pair]:
    """The candidates that are similar enough."""
    texts, sets, pairs = len(grams.sizes), {}, []

    def held(text: int) -> frozenset[int]:
        if text not in sets:
            start = int(grams.starts[text])
            sets[text] = frozenset(grams.ranks[start : start + int(grams.sizes[text])].tolist())
        return sets[text]

    for key in np.unique(np.concatenate(keys)).tolist() if keys else ():
        first, second = divmod(key, texts)
        one, two = held(first), held(second)
        shared = len(one & two)
        alike = shared / (len(one) + len(two) - shared)
        if alike >= threshold - _EXACT:
            pairs.append(Pair(first, second, alike))
    return pairs
