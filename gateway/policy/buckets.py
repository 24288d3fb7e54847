"""One limit per minute of one holder: how much of it is taken, and when it is there again.

A limit per minute is a bucket (the token bucket of RFC 2697): it holds one minute's worth, fills evenly, and a request
takes from it whole or not at all. A key that was idle may hence use a minute's worth at once, and in any t seconds at
most

    limit + limit / 60 * t      of it are taken: the burst, and what the bucket fills meanwhile.

Of tokens a request takes at first the most that it may need (`admit`), and when its true number is known the rest goes
back, or more is taken (`settle`). Each reservation has its place in the order in which the bucket is refilled, the
oldest first, and only what is not refilled yet goes back: a request that held a minute's worth for ten minutes has cost
its holder one minute's worth, and giving it back afterwards would let ten of them burst together. So the bound above
holds for true numbers too, as long as none takes more than it reserved. More leaves the bucket in debt, and the next
request waits for that as well: so the bound holds from then on, and what requests that named no limit of their output
take together beyond their reservations, while they are in flight at once, comes on top of it.
"""

import heapq
from dataclasses import dataclass, field

MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """What of one limit per minute is taken and not refilled yet, and in which order. It knows of no limit and no time.

    All that is ever taken is laid end to end, up to `charged`, and refilled in that order. What is not refilled yet is
    its `weight`, but for the holes in it, (start, size) each: what was given back before its turn came.
    """

    charged: float = 0.0
    weight: float = 0.0
    """0 when the bucket is full."""
    holes: list[tuple[float, float]] = field(default_factory=list)
    spared: float = 0.0
    """The size of all holes."""

    @property
    def paid(self) -> float:
        """Up to where it is refilled."""
        return self.charged - self.weight - self.spared

    def refill(self, amount: float) -> None:
        """Refill so much, if so much is taken."""
        if not self.holes:
            weight = self.weight - amount
            self.weight = weight if weight > 0.0 else 0.0
            return
        paid, holes = self.paid + amount, self.holes
        while holes and holes[0][0] <= paid:
            size = heapq.heappop(holes)[1]
            paid += size
            self.spared = self.spared - size if holes else 0.0  # adds up anew when there is none
        self.weight = max(0.0, self.charged - paid - self.spared)

    def take(self, amount: float) -> float:
        """Take so much: where it ends."""
        self.weight += amount
        self.charged += amount
        return self.charged

    def true_up(self, end: float, spare: float) -> None:
        """Give back what the reservation up to `end` took too much, as far as it still weighs; or take what lacks."""
        if spare <= 0.0:
            self.take(-spare)
            return
        spare = min(spare, end - self.paid)
        if spare <= 0.0:
            return
        self.weight = max(0.0, self.weight - spare)
        if end == self.charged:
            self.charged -= spare
        else:
            heapq.heappush(self.holes, (end - spare, spare))
            self.spared += spare
