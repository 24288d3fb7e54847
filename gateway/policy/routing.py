"""Which replica answers. One signature per policy: loads and weights in, the position of the choice out.

A policy sees the in-flight counts of the replicas that may still be tried, never empty; their weights, each above 0 and
at most 1, or none when all are whole; and a turn number that grows by one with each request. It keeps no state.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

Policy = Callable[[Sequence[int], Sequence[float], int], int]

GOLDEN = 0.6180339887498949
"""The fractional parts of its multiples are spread evenly over [0, 1) (Weyl's sequence with the least discrepancy)."""


def least_in_flight(loads: Sequence[int], weights: Sequence[float], turn: int) -> int:
    """The replica with the fewest requests in flight for its weight, this one counted; ties are taken in turn.

    In turn, so that an idle pool is used evenly.
    """
    shares: Sequence[float] = loads
    if weights:
        shares = [(load + 1) / weight for load, weight in zip(loads, weights, strict=True)]
    lowest = min(shares)
    ties = [position for position, share in enumerate(shares) if share == lowest]
    return ties[turn % len(ties)]


def round_robin(loads: Sequence[int], weights: Sequence[float], turn: int) -> int:
    """The next replica in order, whatever its load; with weights, each in proportion to its own."""
    if not weights:
        return turn % len(loads)
    sums = list(accumulate(weights))
    point = turn * GOLDEN % 1.0 * sums[-1]
    return next((position for position, reached in enumerate(sums) if point < reached), len(sums) - 1)


POLICIES: dict[str, Policy] = {"least_in_flight": least_in_flight, "round_robin": round_robin}
