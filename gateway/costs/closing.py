"""Closing the books: every hour of every replica, once it has ended and its rows have had time to arrive.

An hour is closed when its rows are not all allocated, or when a replica was paid for in it and it has no books yet: an
hour that nobody used costs as much. A row that comes later has its hour closed again, and every other one that it
reaches, as far as those are closed. What closing comes to depends on rows and rentals alone, and not on the order in
which they came. One replica's hour is in memory at a time.

Several workers and gateways may close at the same time: what one of them works out is written only if nothing that it
rests on has been closed by another one meanwhile, and is worked out again in the next round otherwise.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby

from gateway.costs import books
from gateway.costs.books import Entry, Hour, Tally
from gateway.costs.fleet import Engine
from gateway.costs.hour import HOUR_US, Work
from gateway.costs.rows import ABSENT, tries_of
from gateway.stores.bundle import Stores
from gateway.stores.cost_lines import HOUR_S, NONE
from gateway.stores.costs import ClosedHour, Facts, Place, ReplicaHour

SETTLE_S = 300.0
"""Rows get so long after an hour's end before it is closed: requests end, and spools are drained."""
SPAN = 25
"""Hours before and after that a request may reach into: none takes longer than a day."""
EVER = 2**31 - 1
UNKNOWN = Engine("")


def close(
    stores: Stores, now: float, engines: Mapping[str, Engine] | None = None, settle_s: float = SETTLE_S
) -> list[ReplicaHour]:
    """Close every hour that is due at `now` (seconds since the epoch), the oldest first. Returns the new books.

    `engines` (see `fleet.engines`) say by which step model each replica's requests share its time; those of others
    share it by the default one.
    """
    return list(closing(stores, now, engines, settle_s))


def due(stores: Stores, now: float, settle_s: float = SETTLE_S) -> bool:
    """Whether there is anything for `close` to do."""
    until = math.floor((now - settle_s) / HOUR_S)
    return bool(_Run(stores, {}, now).due(until, until))


def closing(
    stores: Stores, now: float, engines: Mapping[str, Engine] | None = None, settle_s: float = SETTLE_S
) -> Iterator[ReplicaHour]:
    """The same, one replica's hour after the other: whoever stops in between has closed some."""
    run = _Run(stores, engines or {}, now)
    until = math.floor((now - settle_s) / HOUR_S)
    reaching = stores.costs.reaching(until)
    stores.costs.mark(place for row in reaching for place in _reached(row))
    known = frozenset(row.request_id for row in reaching)
    for hour, replicas in _by_hour(run.due(until, until)):
        for closed in run.hour(hour, replicas, known):
            written = stores.costs.write(closed)
            run.done(closed, written=written)
            if written:
                yield closed.book


def provisional(stores: Stores, now: float, engines: Mapping[str, Engine] | None = None) -> list[ClosedHour]:
    """What closing would come to if every hour, the present one too, ended now. Nothing is written.

    For `Costs.lines`, whose sums then have everything. What is paid for until the end of an hour is not in it yet.
    """
    run = _Run(stores, engines or {}, now)
    places = run.due(EVER, int(now // HOUR_S) + 1)
    reached = {place for row in stores.costs.reaching(EVER) for place in _reached(row)}
    if reached:
        hours = [hour for _, hour in reached]
        places |= reached & stores.costs.books(min(hours), max(hours) + 1).keys()
    return [closed for hour, replicas in _by_hour(places) for closed in run.hour(hour, replicas, None)]


def _by_hour(places: Iterable[Place]) -> list[tuple[int, set[str]]]:
    found: dict[int, set[str]] = {}
    for replica, hour in places:
        found.setdefault(hour, set()).add(replica)
    return sorted(found.items())


def _reached(row: Facts) -> set[Place]:
    """The places that a row reaches into beside its own: later hours, and replicas on which it failed first."""
    own = row.replica or ""
    found = {(own, hour) for hour in range(row.hour, (row.last_hour or row.hour) + 1)}
    for replica, work in tries_of(row):
        found |= {(replica, hour) for hour in range(work.begun_us // HOUR_US, work.ended_us // HOUR_US + 1)}
    return found - {(own, row.hour)}


class _Run:
    """One round of closing."""

    def __init__(self, stores: Stores, engines: Mapping[str, Engine], now: float) -> None:
        self._costs = stores.costs
        self._rentals = stores.rentals.all()
        self._summed_until = stores.costs.summed_until()
        self._engines = engines
        self._now = now
        self._shares: dict[Place, dict[str, int]] = {}

    def due(self, until_hour: int, paid_until: int) -> set[Place]:
        """Places before an hour that have to be closed; where nothing was asked, before another one."""
        found = self._costs.unclosed(until_hour)
        for replica, rentals in self._rentals.items():
            for each in rentals:
                first = max(math.floor(each.since / HOUR_S), self._summed_until)
                last = paid_until if each.until is None else min(paid_until, math.ceil(each.until / HOUR_S))
                if first < last:
                    found |= {(replica, hour) for hour in self._costs.missing(replica, first, last)}
        return found

    def hour(self, hour: int, replicas: Collection[str], known: frozenset[str] | None) -> Iterator[ClosedHour]:
        """The books of these replicas' hour; `known` are rows whose other places are marked, None: nothing is written.

        The books are read before the rows: whoever closes an hour in between is noticed when this is written.
        """
        before = self._costs.books(hour - SPAN, hour + SPAN + 1)
        carried, failed = self._beside(hour)
        left = set(replicas)
        for replica, rows in groupby(self._costs.rows(hour, replicas), key=lambda row: row.replica or ""):
            if replica in left:
                left.discard(replica)
                yield self._closed(self._inputs(replica, hour, rows, carried, failed), before, known)
        for replica in sorted(left):
            yield self._closed(self._inputs(replica, hour, (), carried, failed), before, known)

    def done(self, closed: ClosedHour, *, written: bool) -> None:
        """It is in the database now, or somebody else's. Shares that no later hour asks for are let go."""
        here = closed.book.replica, closed.book.hour
        recent = {place: shares for place, shares in self._shares.items() if here[1] - place[1] <= 1}
        self._shares = {place: shares for place, shares in recent.items() if written or place != here}

    def _beside(self, hour: int) -> tuple[dict[str, list[Facts]], dict[str, list[Work]]]:
        """By replica: rows that reach into an hour from before, and attempts that failed in it."""
        carried, failed = dict[str, list[Facts]](), dict[str, list[Work]]()
        before = self._costs.carried(hour)
        for row in before:
            carried.setdefault(row.replica or "", []).append(row)
        for row in (*before, *self._costs.retried(hour)):
            for replica, work in tries_of(row):
                failed.setdefault(replica, []).append(work)
        return carried, failed

    def _inputs(
        self,
        replica: str,
        hour: int,
        rows: Iterable[Facts],
        carried: Mapping[str, list[Facts]],
        failed: Mapping[str, list[Work]],
    ) -> Hour:
        rentals, now_us = self._rentals.get(replica, []), int(self._now * 1e6)
        return Hour(replica, hour, rows, carried.get(replica, []), failed.get(replica, []), rentals, now_us)

    def _closed(
        self, inputs: Hour, before: Mapping[Place, ReplicaHour], known: frozenset[str] | None
    ) -> ClosedHour:  # fmt: skip
        place = inputs.replica, inputs.hour
        old, engine = before.get(place), self._engines.get(inputs.replica, UNKNOWN)
        pool = _pool(inputs, engine, old)
        tally = books.tally(inputs, pool)
        if inputs.hour < self._summed_until or tally.known < (0 if old is None else old.requests):
            return self._late(place, old)
        money = books.split(inputs, tally.works, engine)
        lines = books.lines_of(inputs, pool, tally, money)
        book = books.book(inputs, pool, engine, tally.began, money, 1 if old is None else old.revision + 1)
        others = {
            (inputs.replica, hour)
            for each in tally.entries
            if each.last_hour is not None
            for hour in range(each.first_hour, each.last_hour + 1)
        }
        seen = {each: before[each].revision if each in before else 0 for each in {place, *others}}
        if known is None:
            return ClosedHour(book, lines, [], seen)
        shares = {} if money is None else {name: part.shared for name, part in money.parts.items()}
        self._shares[place] = {
            each.request_id: shares.get(each.request_id, 0) for each in tally.entries if each.last_hour is not None
        }
        rows = [
            row
            for each in tally.entries
            if (row := self._row(each, place, shares.get(each.request_id, 0), seen)) is not None
        ]
        return ClosedHour(book, lines, rows, seen, self._reached_by(tally, known, place), self._summed_until)

    def _late(self, place: Place, old: ReplicaHour | None) -> ClosedHour:
        rows = [row for row in self._costs.rows(place[1], [place[0]]) if row.allocated_at is None]
        closed = books.late(place, rows, self._costs.stored(place), old, self._now)
        return closed._replace(summed_until=self._summed_until)

    def _row(
        self, entry: Entry, place: Place, share: int, seen: Mapping[Place, int]
    ) -> tuple[int | None, str, float | None, str] | None:
        """What becomes of a row; None where nothing does. Its GPU money is the sum over all of its closed hours."""
        nano: int | None = share
        if entry.method == NONE:
            nano = None
        elif entry.last_hour is not None and entry.method != ABSENT:
            nano = share + self._elsewhere(entry, place, share, seen)
        if entry.new:
            return nano, entry.method, self._now, entry.request_id
        return None if (nano, entry.method) == entry.before else (nano, entry.method, None, entry.request_id)

    def _elsewhere(self, entry: Entry, place: Place, share: int, seen: Mapping[Place, int]) -> int:
        """What a request has of its other hours that are closed."""
        replica, here = place
        last = entry.first_hour if entry.last_hour is None else entry.last_hour
        others = [hour for hour in range(entry.first_hour, last + 1) if hour != here and seen[replica, hour]]
        if not others:
            return 0
        if not seen[place]:  # this hour's part is in no sum yet
            return entry.before[0] or 0
        if min(others) < self._summed_until:  # rows of that hour are gone: what it came to cannot be worked out again
            return (entry.before[0] or share) - share
        return sum(self._shares_of((replica, hour)).get(entry.request_id, 0) for hour in others)

    def _shares_of(self, place: Place) -> dict[str, int]:
        if place not in self._shares:
            replica, hour = place
            carried, failed = self._beside(hour)
            inputs = self._inputs(replica, hour, self._costs.rows(hour, [replica]), carried, failed)
            self._shares[place] = books.shares(inputs, self._engines.get(replica, UNKNOWN))
        return self._shares[place]

    def _reached_by(self, tally: Tally, known: frozenset[str], place: Place) -> frozenset[Place]:
        """Places that rows reach which came after the others were marked."""
        late = {each.request_id for each in tally.entries if each.new and each.reaches} - known
        if not late:
            return frozenset()
        rows = self._costs.rows(place[1], [place[0]])
        return frozenset(other for row in rows if row.request_id in late for other in _reached(row))


def _pool(inputs: Hour, engine: Engine, old: ReplicaHour | None) -> str:
    """The pool that the replica was paid for in last until the hour's end; else the one that it is in now."""
    begun = [each.pool for each in inputs.rentals if each.since < (inputs.hour + 1) * HOUR_S]
    if begun:
        return begun[-1]
    return engine.pool or ("" if old is None else old.pool)
