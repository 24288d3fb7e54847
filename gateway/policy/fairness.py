"""Who is next when a pool has as much as it may: classes first, and in a class the team that was served least.

In a class that is a virtual token counter, which `counters` explains. Two tenants that both wait get shares that differ
by what is in flight at most, for as long as they both wait. A free slot goes to whoever waits: fairness leaves none
empty.

A class gives way to every higher one, so a request rises by one class for each `ageing` that it waits: nobody starves.
Each class has counters of its own; who rises is charged where it is served.

Nothing here knows of clocks or sockets; `now` is in seconds of one clock. Each call takes O(log n) for n that wait,
spread over all calls; what is kept is bounded by those who wait, are in flight, or are charged ahead of the others.
"""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from gateway.contracts.errors import QueueFull
from gateway.policy.counters import NEW, OPEN, OVER, SPARE, WAITING, Band, Fits, Ticket
from gateway.settings.queue import QueueConfig

__all__ = ["FairQueue", "Ticket", "patience"]

SOONEST_S, LATEST_S = 1, 60
"""The bounds of a Retry-After."""
JITTER = 0.2
"""The part by which a Retry-After is shortened or stretched, so that those who were refused do not return in step."""


class FairQueue:
    """The requests that wait for one pool, and the counters of those that it serves.

    `limits` says how many requests of a class may wait: level to number, None for no limit of its own. It names every
    class that there is: a request rises through each of them. A level that it does not name is known once it is seen;
    one that it names no more is none to rise to, once nobody of that class waits.
    """

    def __init__(self, config: QueueConfig, limits: Mapping[int, int | None] | None = None) -> None:
        self._bands: list[Band] = []
        self._by_level: dict[int, Band] = {}
        self._limits: Mapping[int, int | None] = {}
        self._removed: set[int] = set()
        self._of_class: defaultdict[int, int] = defaultdict(int)
        self._moments: list[tuple[float, int, Ticket]] = []
        self._late: list[Ticket] = []
        self._numbers = 0
        self._waiting = 0
        self.configure(config, limits)

    def configure(self, config: QueueConfig, limits: Mapping[int, int | None] | None = None) -> None:
        """Go on by other settings. Who waits keeps its place and its deadline."""
        named = limits or {}
        self._removed = (self._removed | self._limits.keys()) - named.keys() if named else set()
        self._config, self._limits = config, named
        for level in self._limits:
            self._band(level)

    def __len__(self) -> int:
        return self._waiting

    def ahead(self, priority: int) -> int:
        """How many wait of a class and of those above it, with those who rose there."""
        return sum(band.waiting for band in self._bands if band.level >= priority)

    def push(self, ticket: Ticket, now: float) -> None:
        """Wait, as long as it has waited since it arrived. Raises QueueFull, without a Retry-After."""
        self._pass(now)
        level, most = ticket.priority, self._config.max_queued
        if self._waiting >= most:
            raise QueueFull(f"{self._waiting} requests wait for this model already, and {most} may: ask again later")
        limit = self._limits.get(level)
        if limit is not None and self._of_class[level] >= limit:
            raise QueueFull(
                f"{self._of_class[level]} requests of this class wait already, and {limit} may: ask again later"
            )
        self._numbers += 1
        ticket.number = self._numbers
        ticket.rises_at = ticket.arrived_at + self._config.ageing
        band = self._band(level)
        self._enter(ticket)
        band.join(ticket, band.account(ticket.tenant))

    def pop(self, now: float, fits: Fits | None = None) -> Ticket | None:
        """The next one, charged for what it is expected to take; None when nobody waits whose deadline is to come.

        Of those that fit, where something is scarce that some of them need: the others keep their places.
        """
        self._pass(now)
        for band in self._bands:
            ticket = band.next(fits)
            if ticket is not None and (account := ticket.account) is not None:
                band.leave(ticket, account)
                self._gone(ticket)
                band.charge(ticket, account, self._expected(ticket))
                return ticket
        return None

    def expire(self, now: float) -> list[Ticket]:
        """Those whose deadline has come since the last call; they wait no more."""
        self._pass(now)
        late, self._late = self._late, []
        return late

    def cancel(self, ticket: Ticket) -> bool:
        """Wait no more. False when it does not wait."""
        account = ticket.account
        if ticket.state != WAITING or account is None:
            return False
        account.band.part(ticket, account)
        self._gone(ticket)
        ticket.state = OVER
        return True

    def put_back(self, ticket: Ticket) -> None:
        """A popped ticket cannot be served after all: its tenant's next one, as if it had not been popped."""
        if ticket.state == OPEN and (account := ticket.account) is not None:
            band = account.band
            band.settle(ticket, account, 0.0)
            band.accounts.setdefault(ticket.tenant, account)
            self._enter(ticket)
            band.join(ticket, account, front=True)

    def charge(self, ticket: Ticket) -> None:
        """A request that is in flight without having waited: charge it as if it had."""
        if ticket.state == NEW:
            ticket.waited = False
            band = self._band(ticket.priority)
            band.charge(ticket, band.account(ticket.tenant), self._expected(ticket))

    def settle(self, ticket: Ticket, input_tokens: int, cached_tokens: int, output_tokens: float) -> None:
        """What a request that was charged has taken; `input_tokens` includes `cached_tokens`. Counts once."""
        if ticket.state == OPEN and ticket.account is not None:
            cost = self._cost(ticket.weight, input_tokens, cached_tokens, output_tokens)
            ticket.account.band.settle(ticket, ticket.account, cost)

    def _expected(self, ticket: Ticket) -> float:
        return self._cost(ticket.weight, ticket.input_tokens, ticket.cached_tokens, ticket.output_tokens)

    def _cost(self, weight: float, input_tokens: int, cached_tokens: int, output_tokens: float) -> float:
        config = self._config
        computed = input_tokens - cached_tokens
        return (computed * config.input + cached_tokens * config.cached + output_tokens * config.output) / weight

    def _band(self, level: int) -> Band:
        band = self._by_level.get(level)
        if band is None:
            band = self._by_level[level] = Band(level)
            insort(self._bands, band, key=lambda each: -each.level)
        return band

    def _enter(self, ticket: Ticket) -> None:
        ticket.state = WAITING
        self._waiting += 1
        self._of_class[ticket.priority] += 1
        self._await(ticket)

    def _gone(self, ticket: Ticket) -> None:
        self._waiting -= 1
        self._of_class[ticket.priority] -= 1

    def _await(self, ticket: Ticket) -> None:
        """Remember when something happens to it next: it rises, or its deadline comes."""
        self._numbers += 1
        ticket.moment = self._numbers
        heappush(self._moments, (min(ticket.rises_at, ticket.deadline), ticket.moment, ticket))
        if len(self._moments) > 2 * self._waiting + SPARE:
            self._moments = [each for each in self._moments if each[2].state == WAITING and each[1] == each[2].moment]
            heapify(self._moments)

    def _pass(self, now: float) -> None:
        """Let happen what is due by now, in its order."""
        moments = self._moments
        while moments and moments[0][0] <= now:
            _, moment, ticket = heappop(moments)
            if ticket.state != WAITING or moment != ticket.moment:
                continue
            if ticket.deadline <= now:
                self.cancel(ticket)
                self._late.append(ticket)
            else:
                self._rise(ticket)
                moments = self._moments

    def _rise(self, ticket: Ticket) -> None:
        """One class up, if there is one."""
        account = ticket.account
        if account is None:
            return
        below = account.band
        above = next(filter(self._is_rung, reversed(self._bands[: self._bands.index(below)])), None)
        if above is not None:
            below.part(ticket, account)
            above.join(ticket, above.account(ticket.tenant))
        ticket.rises_at += self._config.ageing
        self._await(ticket)

    def _is_rung(self, band: Band) -> bool:
        """Whether others rise to it. Who waits of a class that was removed keeps its place before those below."""
        return band.level not in self._removed or self._of_class[band.level] > 0


def patience(ahead: int, ending_per_s: float, draw: float) -> int:
    """Whole seconds, 1 to 60, after which asking again may help: when those `ahead` and one more have got a slot.

    `ending_per_s` requests end per second and each makes room for one; 0 where nothing is known. `draw`, evenly spread
    over [0, 1), moves it by up to a fifth either way.
    """
    if ending_per_s <= 0:
        return LATEST_S
    seconds = (ahead + 1) / ending_per_s * (1.0 - JITTER + 2.0 * JITTER * draw)
    return min(LATEST_S, max(SOONEST_S, math.ceil(seconds)))
