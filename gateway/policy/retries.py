"""How many attempts may follow a first one: a budget, so that a failing pool is not also a pool with twice the load.

One number, the balance, in retries. Each request adds `SHARE`; each retry takes one; and the balance tends towards
`PER_SECOND * WINDOW_S` as exp(-t / WINDOW_S): from below it grows by at most `PER_SECOND` a second, so that a pool with
little traffic can retry too, and from above what nobody used is forgotten. Over any span of t seconds with n requests,
hence, at most

    PER_SECOND * WINDOW_S + PER_SECOND * t + SHARE * n      retries, and what was left of the WINDOW_S before.

The share, a minimum per second and a window of ten seconds are those of Finagle's RetryBudget (percentCanRetry 0.2,
minRetriesPerSec, ttl 10 s; https://twitter.github.io/finagle/guide/Clients.html#retries). Envoy's `retry_budget`
(budget_percent 20, min_retry_concurrency 3) bounds the same by concurrency.
"""

import math
from dataclasses import dataclass

SHARE = 0.2
PER_SECOND = 1.0
WINDOW_S = 10.0
RESERVE = PER_SECOND * WINDOW_S


@dataclass(slots=True)
class RetryBudget:
    """The budget of one pool. Times are seconds of one monotonic clock."""

    balance: float = RESERVE
    at: float = -math.inf

    def deposit(self, now: float, share: float = SHARE) -> None:
        """A request came, and adds its share."""
        if now > self.at:
            self.balance = RESERVE + (self.balance - RESERVE) * math.exp((self.at - now) / WINDOW_S)
            self.at = now
        self.balance += share

    def withdraw(self, now: float) -> bool:
        """Whether one more retry is within the budget; then it is taken."""
        self.deposit(now, 0.0)
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        return True
