"""Other ways to split the same money, kept beside the one by shared time: they show how far a share moves with them.

    by requests   each request the same
    by tokens     tokens, whatever they are
    by weight     tokens by what they are worth on price lists

None of them knows what a GPU did; price lists and spreadsheets use them. All of them split the same amount.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from gateway.costs.apportion import Ordered, apportion

UNCACHED, CACHED, OUTPUT = 1.0, 0.1, 4.0
"""What a token weighs, as on price lists: a cached one a tenth of one that is read, a written one four times it."""

Key = TypeVar("Key", bound=Ordered)


class Asked(NamedTuple):
    """The tokens of a request, 0 where they are unknown, and which part of it fell here (0 to 1).

    A request that goes on in the next hour is one request, and its tokens are there once: each hour has the part of
    them that it has of the request's time.
    """

    uncached: int
    cached: int
    output: int
    part: float = 1.0


Weigh = Callable[[Asked], float]


def requests(asked: Asked) -> float:
    """One request."""
    return asked.part


def tokens(asked: Asked) -> float:
    """Its tokens: uncached, cached and written ones alike."""
    return asked.part * (asked.uncached + asked.cached + asked.output)


def weighted(asked: Asked) -> float:
    """Its tokens, each by its kind."""
    return asked.part * (UNCACHED * asked.uncached + CACHED * asked.cached + OUTPUT * asked.output)


def split(total: int, asked: Mapping[Key, Asked], weigh: Weigh) -> dict[Key, int]:
    """`total` units by one method, as `apportion` does it. Where nobody's tokens are known, each request counts."""
    weights = {key: weigh(each) for key, each in asked.items()}
    if not any(weights.values()):
        weights = {key: requests(each) for key, each in asked.items()}
    return apportion(total, weights)
