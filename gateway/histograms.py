"""A histogram that counts many observations at once.

The client library's own looks through the buckets for each, and takes two locks: with three histograms that was a
fortieth of what a request costs. Its multi-process values are written by `inc` as well, so workers share these too.
"""

from bisect import bisect_right
from collections.abc import Sequence

import prometheus_client


class Histogram(prometheus_client.Histogram):
    """The client library's, with `observe_all`."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """As `observe` for each of them."""
        ordered, below = sorted(amounts), 0
        self._sum.inc(sum(ordered))
        for bucket, bound in zip(self._buckets, self._upper_bounds, strict=True):
            reached = bisect_right(ordered, bound, below)
            if reached > below:
                bucket.inc(reached - below)
            below = reached
