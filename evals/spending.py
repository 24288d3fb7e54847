"""Money of a run: what was spent, what it will come to, and a cap that is kept.

Costs are what the gateway puts on each answer (`x-tollgate-cost`), Decimal, in the currency of its prices. A request's
cost is known when it is over; until then the largest cost seen so far is held for it, so that the cap is passed only by
an answer dearer than all before it. The first request of a capped run goes alone: before it nothing is known.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from evals.client import Result
from evals.schema import Failure

MOST = Decimal(10) ** 15
"""No answer costs more, in any currency: what says so is no cost, and sums and squares of it would overflow."""
ENOUGH = 10
"""Costs below which nothing is said about the whole."""
_Z95 = Decimal("1.959963984540054")
_UNHEARD = frozenset({"timeout", "unreachable"})
"""Failures that may have cost something which nobody told."""


def amount(text: str | None) -> Decimal | None:
    """A cost as it came; None when it is missing, no number, negative, or more than `MOST`."""
    if not text:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and not found.is_signed() and found <= MOST else None


@dataclass(frozen=True, slots=True)
class Projection:
    """What a run will cost in all, with a 95 % prediction interval."""

    total: Decimal
    low: Decimal
    high: Decimal


class Forecast:
    """Costs of results so far, and what all of them will come to."""

    def __init__(self) -> None:
        self.count, self.costed = 0, 0
        self.total, self._squares = Decimal(0), Decimal(0)

    def add(self, cost: Decimal | None) -> None:
        """One more result; one without a cost counts as free."""
        self.count += 1
        if cost is not None:
            self.costed += 1
            self.total += cost
            self._squares += cost * cost

    def project(self, left: int) -> Projection | None:
        """The cost of these results and `left` more like them; None below `ENOUGH` of them, or when none had a cost.

        The interval is that of a sum of m further values given n: m mean +- 1.96 s sqrt(m + m^2 / n). It takes the
        order of the samples for random; costs are no lower than those already spent.
        """
        if self.count < ENOUGH or not self.costed:
            return None
        n, m = Decimal(self.count), Decimal(left)
        mean = self.total / n
        variance = max(Decimal(0), (self._squares - self.total * mean) / (n - 1))
        half = _Z95 * (variance * (m + m * m / n)).sqrt()
        whole = self.total + m * mean
        return Projection(whole, max(self.total, whole - half), whole + half)


class Spend:
    """Keeps a cap. `already` is what earlier attempts at this run cost, `largest` their dearest answer."""

    def __init__(self, cap: Decimal | None, *, already: Decimal = Decimal(0), largest: Decimal | None = None) -> None:
        self.cap, self.spent, self.largest = cap, already, largest
        self.unheard = Decimal(0)
        """Held for good: what requests without an answer may have cost."""
        self.refusal: Failure | None = None
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self) -> Failure | None:
        """Wait until one more request fits under the cap; the failure of its sample when none will."""
        if self.cap is None:
            return None
        while self.refusal is None:
            if self._fits(self.cap):
                self._held += 1
                self._wake()
                return None
            if not self._held:
                self._close(f"{self.spent:f} spent of --max-cost {self.cap:f}, and one more answer may not fit")
                break
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        return self.refusal

    def paid(self, cost: Decimal) -> None:
        """Money that something else of the run has cost: its judges. Answers that are there are judged all the same."""
        self.spent += cost

    def settle(self, result: Result | None) -> None:
        """A reserved request is over; None when it was never sent."""
        cost = amount(result.answer.cost) if result is not None and result.answer is not None else None
        if cost is not None:
            self.spent += cost
            if self.largest is None or cost > self.largest:
                self.largest = cost
        if self.cap is None:
            return
        self._held -= 1
        kind = result.failure.kind if result is not None and result.failure is not None else None
        if kind in _UNHEARD:
            self.unheard += self.largest or Decimal(0)
        elif result is not None and cost is None and kind in (None, "empty_answer"):
            self._close(
                f"--max-cost {self.cap:f} cannot be kept: the answers carry no cost (x-tollgate-cost); run against a "
                "gateway that has a price for this release, or without a cap"
            )
        self._wake()

    def _fits(self, cap: Decimal) -> bool:
        gone = self.spent + self.unheard
        if self.largest is None:
            return not self._held and gone < cap
        return gone + (self._held + 1) * self.largest <= cap

    def _close(self, message: str) -> None:
        if self.refusal is None:
            self.refusal = Failure("over_budget", message)
        self._wake()

    def _wake(self) -> None:
        """The next in the row, which hands the turn on if it fits; all of them when there is no more."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                if self.refusal is None:
                    return
