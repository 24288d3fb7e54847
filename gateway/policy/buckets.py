"""One limit per minute of one holder: how much of it is taken, and when it is there again.

A limit per minute is a bucket (the token bucket of RFC 2697): it holds one minute's worth, fills evenly, and a request
takes from it whole or not at all. A key that was idle may hence use a minute's worth at once, and in any t seconds at
most

    limit + limit / 60 * t      of it are taken: the burst, and what the bucket fills meanwhile.

Of tokens a request takes at first the most that it may need (`admit`), and when its true number is known the rest goes
back, or more is taken (`settle`). Each reservation has its place in the order in which the bucket is refilled, the
oldest first, and only what is not refilled yet goes back: a request that held a minute's worth for ten minutes has cost
its holder one minute's worth, and giving it back afterwards would let ten of them burst together. So the bound above
holds for true numbers too. More than was reserved leaves the bucket in debt: the next request waits for that as well.
"""

import heapq
import math
from dataclasses import dataclass, field

MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """One limit per minute of one holder.

    All that is ever taken is laid end to end, up to `charged`, and refilled in that order, up to `paid`. What lies
    between still weighs, but for the holes in it, (start, size) each: what was given back before its turn came.
    """

    limit: int = 1
    charged: float = 0.0
    paid: float = 0.0
    at: float = -math.inf
    holes: list[tuple[float, float]] = field(default_factory=list)
    spared: float = 0.0
    """The size of all holes."""
    left: float = 0.0
    """The room when it was last looked at, without what was taken since."""

    def room(self, limit: int, now: float) -> float:
        """What may be taken now under a limit per minute; below 0 in debt."""
        self.limit = limit
        self.left = left = limit - self.weight(now)
        return left

    def weight(self, now: float) -> float:
        """What is taken and not refilled yet; 0 when the bucket is full."""
        if now > self.at:
            paid, holes = self.paid + (now - self.at) * self.limit / MINUTE_S, self.holes
            while holes and holes[0][0] <= paid:
                paid += self._skip()
            self.paid = paid if paid < self.charged else self.charged
            self.at = now
        return self.charged - self.paid - self.spared

    def true_up(self, end: float, spare: float, now: float) -> None:
        """Give back what the reservation up to `end` took too much, as far as it still weighs; or take what lacks."""
        if spare <= 0.0:
            self.charged -= spare
            return
        self.weight(now)
        unpaid = end - self.paid
        spare = spare if spare < unpaid else unpaid
        if end == self.charged:
            self.charged -= spare
        elif spare > 0.0:
            heapq.heappush(self.holes, (end - spare, spare))
            self.spared += spare

    def _skip(self) -> float:
        """Pass over the first hole. The size of those that are left adds up anew when there is none."""
        size = heapq.heappop(self.holes)[1]
        self.spared = self.spared - size if self.holes else 0.0
        return size
