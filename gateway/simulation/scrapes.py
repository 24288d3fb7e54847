"""When each engine of a fleet is asked for its load: every `period` seconds, each from a moment of its own.

Who looks sees only the last time, so the ones before it cost next to nothing, however long nobody looked.
"""

import math
from collections.abc import Iterator
from heapq import heapify, heapreplace
from random import Random

MANY = 1000
"""Periods that are added one by one, as a clock does, so that times are the same to the bit whoever looks between."""


class Scrapes:
    """The times at which engines are asked. `period` None: never."""

    def __init__(self, engines: int, period: float | None, random: Random) -> None:
        self._period = period or math.inf
        self._next = [] if period is None else [(random.random() * period, number) for number in range(engines)]
        heapify(self._next)

    def latest(self, now: float) -> Iterator[tuple[int, float]]:
        """(an engine, when it was asked last) for each that was asked since the last call, up to `now`."""
        due, period = self._next, self._period
        while due and due[0][0] <= now:
            first, number = due[0]
            at = _last(first, period, now)
            # Where a float cannot tell a time from the next one, the next one is the next float.
            heapreplace(due, (max(at + period, math.nextafter(now, math.inf)), number))
            yield number, at


def _last(at: float, period: float, now: float) -> float:
    """The last time up to `now` of those that follow `at`."""
    passed = (now - at) / period
    if passed > MANY:
        at = min(now, at + (math.floor(passed) - 1) * period)
    while at < (following := at + period) <= now:
        at = following
    return at
