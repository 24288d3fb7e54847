"""A whole amount in whole parts that add up to it: the method of the largest remainder (Hamilton 1792)."""

import math
from collections.abc import Collection, Hashable, Mapping
from fractions import Fraction
from typing import Any, Protocol, TypeVar

Weight = int | float | Fraction
BITS = 96
"""Floats become integers of so many bits, the largest one: what that cuts off is far below one unit of any amount."""


class Ordered(Hashable, Protocol):
    """A key that others of its kind can be compared to: ties are broken by it."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether this one comes before the other."""
        ...


Key = TypeVar("Key", bound=Ordered)


def apportion(total: int, weights: Mapping[Key, Weight]) -> dict[Key, int]:
    """`total` units in proportion to the weights, each part less than one unit away from its exact share.

    The parts always add up to `total`. Each gets the whole units of its exact share, and the units that are left go to
    the largest remainders, of equal ones to the smaller key. A weight of 0 gets nothing; where all weights are 0, all
    keys weigh the same. Raises ValueError for a negative total, for weights that are negative, infinite or no number,
    and when there is something to share and nobody to take it.
    """
    if total < 0:
        raise ValueError(f"expected an amount of 0 or more to share, found {total}")
    if not weights:
        if total:
            raise ValueError(f"expected somebody to share {total} among, found nobody")
        return {}
    whole = _integers(weights.values())
    among = sum(whole)
    if not among:
        whole, among = [1] * len(whole), len(whole)
    divided = [divmod(total * weight, among) for weight in whole]
    parts = {key: part for key, (part, _) in zip(weights, divided, strict=True)}
    if missing := total - sum(parts.values()):
        remainders = [left for _, left in divided]
        least = sorted(remainders, reverse=True)[missing - 1]
        ahead = [key for key, left in zip(weights, remainders, strict=True) if left > least]
        level = sorted(key for key, left in zip(weights, remainders, strict=True) if left == least)
        for key in (*ahead, *level[: missing - len(ahead)]):
            parts[key] += 1
    return parts


def _integers(weights: Collection[Weight]) -> list[int]:
    """Integers in the proportions of the weights."""
    if not all(0 <= each < math.inf for each in weights):
        wrong = next(each for each in weights if not 0 <= each < math.inf)
        raise ValueError(f"expected weights of 0 or more, found {wrong!r}")
    kinds = set(map(type, weights))
    if Fraction in kinds:
        ratios = [each.as_integer_ratio() for each in weights]
        common = math.lcm(*(below for _, below in ratios))
        return [above * (common // below) for above, below in ratios]
    if kinds <= {int, bool}:
        return [int(each) for each in weights]
    shift, ldexp = BITS - math.frexp(max(weights))[1], math.ldexp
    return [int(ldexp(each, shift)) for each in weights]
