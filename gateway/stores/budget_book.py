"""The books of budgets: where the counters of `policy.budgets` stand. One process, one machine, or many.

`reserve` takes of all counters or of none. `settle` never waits and never fails: what cannot be written at once is
written later, exactly once. A lease that nobody settles ends by itself.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.policy.budgets import Charge, Claim, Outcome, Standing

OnSpent = Callable[[str, int, int], None]
"""Hears of a counter and what was spent before and after: each sum is told once, to one of those who count."""


class BookAway(Exception):
    """The book cannot be asked now."""


class Book(Protocol):
    """One implementation each in `memory_budgets`, `file_budgets` and `redis_budgets`. Amounts in nano."""

    async def reserve(self, lease: str, claims: Sequence[Claim], seconds: float) -> Outcome:
        """Take the claims of a request for at most so many seconds: all, or none. Raises BookAway."""

    def settle(self, lease: str, charges: Sequence[Charge]) -> None:
        """The request is over: one charge for each of its claims. Said once for each lease.

        One that ran out before is charged all the same: its request did cost what it cost.
        """

    async def load(self, counter: str, spent: int, at: float, keep_until: float) -> None:
        """Begin a counter with what the ledger says is spent, read at a moment; one that is there stays as it is.

        After `keep_until` it may be forgotten; both in seconds since the epoch. Raises BookAway.
        """

    async def correct(self, counter: str, corrected: int) -> None:
        """The ledger's truth adds so much to what was charged. Raises BookAway."""

    async def standings(self, counters: Sequence[str]) -> list[tuple[Standing, float] | None]:
        """How counters stand, each with the moment of its loading; None: not loaded. Raises BookAway."""

    async def close(self) -> None:
        """Write what is settled, and let go."""
