"""Which replica answers. One signature per policy: loads in, the position of the choice out.

A policy sees the in-flight counts of the replicas that may still be tried, never empty, and a turn number that grows by
one with each request. It keeps no state.
"""

from collections.abc import Callable, Sequence

Policy = Callable[[Sequence[int], int], int]


def least_in_flight(loads: Sequence[int], turn: int) -> int:
    """The replica with the fewest requests in flight; ties are taken in turn, so that an idle pool is used evenly."""
    lowest = min(loads)
    ties = [position for position, load in enumerate(loads) if load == lowest]
    return ties[turn % len(ties)]


def round_robin(loads: Sequence[int], turn: int) -> int:
    """The next replica in order, whatever its load."""
    return turn % len(loads)


POLICIES: dict[str, Policy] = {"least_in_flight": least_in_flight, "round_robin": round_robin}
