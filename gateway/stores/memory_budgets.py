"""The book of budgets of one process."""

from collections.abc import Callable, Sequence
from itertools import takewhile

import msgspec

from gateway.policy.budgets import TAKEN, Charge, Claim, Outcome, Short, Standing
from gateway.stores.budget_book import OnSpent

SPARE = 1024
"""Counters that are kept in any case; beyond twice as many as are in use, those of windows long over are forgotten."""


class _Tally(Standing, gc=False):
    at: float = 0.0
    keep_until: float = 0.0


class _Held(msgspec.Struct, gc=False):
    ends: float
    claims: Sequence[Claim]


class MemoryBook:
    """`monotonic` in seconds of a clock that only goes forward, `clock` in seconds since the epoch."""

    def __init__(self, monotonic: Callable[[], float], clock: Callable[[], float], on_spent: OnSpent) -> None:
        self._monotonic, self._clock, self._on_spent = monotonic, clock, on_spent
        self._tallies: dict[str, _Tally] = {}
        self._held: dict[str, _Held] = {}
        self._sweep_at = SPARE

    async def reserve(self, lease: str, claims: Sequence[Claim], seconds: float) -> Outcome:
        """Take the claims: all, or none."""
        tallies, now = self._tallies, self._monotonic()
        try:
            short = [
                at
                for at, claim in enumerate(claims)
                if (tally := tallies[claim.counter]).spent + tally.corrected + tally.reserved + claim.amount
                > claim.limit
            ]
        except KeyError:
            return Outcome(False, unknown=tuple(at for at, each in enumerate(claims) if each.counter not in tallies))
        if short and self._expire(now):
            return await self.reserve(lease, claims, seconds)
        outcome = TAKEN
        if short:
            found = tuple(_short(at, tallies[claims[at].counter]) for at in short)
            outcome = Outcome(not any(claims[at].hard for at in short), found)
            if not outcome.taken:
                return outcome
        for claim in claims:
            tallies[claim.counter].reserved += claim.amount
        self._held[lease] = _Held(now + seconds, claims)
        return outcome

    def settle(self, lease: str, charges: Sequence[Charge]) -> None:
        """Put what it did cost in the place of what was reserved."""
        held = self._held.pop(lease, None) is not None
        for charge in charges:
            tally = self._tallies.get(charge.counter)
            if tally is None:
                continue
            before = tally.total
            tally.settle(charge.held if held else 0, charge.cost)
            if charge.cost:
                self._on_spent(charge.counter, before, before + charge.cost)

    def _expire(self, now: float) -> bool:
        """End the leases that ran out; whether there were any. They stand in the order of their beginning."""
        gone = list(takewhile(lambda lease: self._held[lease].ends <= now, self._held))
        for lease in gone:
            for claim in self._held.pop(lease).claims:
                if (tally := self._tallies.get(claim.counter)) is not None:
                    tally.reserved -= claim.amount
        return bool(gone)

    async def load(self, counter: str, spent: int, at: float, keep_until: float) -> None:
        """Begin a counter."""
        if counter in self._tallies:
            return
        if len(self._tallies) >= self._sweep_at:
            now = self._clock()
            self._tallies = {name: each for name, each in self._tallies.items() if each.keep_until > now}
            self._sweep_at = 2 * len(self._tallies) + SPARE
        self._tallies[counter] = _Tally(spent, at=at, keep_until=keep_until)

    async def correct(self, counter: str, corrected: int) -> None:
        """What the ledger adds."""
        if (tally := self._tallies.get(counter)) is not None:
            before, tally.corrected = tally.total, corrected
            self._on_spent(counter, before, tally.total)

    async def standings(self, counters: Sequence[str]) -> list[tuple[Standing, float] | None]:
        """How counters stand."""
        self._expire(self._monotonic())
        found = [self._tallies.get(counter) for counter in counters]
        return [
            None if each is None else (Standing(each.spent, each.reserved, each.corrected), each.at) for each in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _short(at: int, tally: Standing) -> Short:
    return Short(at, tally.total, tally.reserved)
