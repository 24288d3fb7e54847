"""One hour of one replica, from its rows and its rentals to its books and lines."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.costs.fleet import Engine
from gateway.costs.hour import HOUR_US, Part, Split, Work, split_hour
from gateway.costs.rows import ABSENT, work_of
from gateway.stores.cost_lines import COUNTS, GRAIN, IDLE, MONEY, NONE, OVERHEAD
from gateway.stores.costs import ClosedHour, Facts, Place, ReplicaHour
from gateway.stores.rentals import Rental

_COUNTS, _SUMS = len(COUNTS), len(COUNTS) + len(MONEY)
_NOTHING = Part(0, 0, 0, 0, 0)
FROM_THEN_ON = 2**62


class Hour(NamedTuple):
    """What the books of a replica's hour are made of.

    `rows` began in it on this replica, `carried` reach into it from before, `failed` are attempts on it that failed.
    `rentals` are all of the replica's; they are cut at `now_us` (microseconds since the epoch).
    """

    replica: str
    hour: int
    rows: Iterable[Facts]
    carried: Sequence[Facts]
    failed: Sequence[Work]
    rentals: Sequence[Rental]
    now_us: int

    @property
    def paid(self) -> list[tuple[int, int, Decimal]]:
        """The pieces of the hour in which the replica was paid for, as `split_hour` takes them."""
        begin, end, found = self.hour * HOUR_US, min((self.hour + 1) * HOUR_US, self.now_us), []
        for each in self.rentals:
            since, until = max(begin, _us(each.since)), end if each.until is None else min(end, _us(each.until))
            if since < until:
                found.append((since, until, each.usd_per_hour))
        return found


class Entry(NamedTuple):
    """A row on its way into the books: where its sums stand, its method, its GPU money and method until now.

    `new` ones are allocated with this; one that `reaches` is in other hours too, or failed on other replicas first.
    """

    request_id: str
    sums: list[int]
    method: str
    first_hour: int
    last_hour: int | None
    before: tuple[int | None, str | None]
    new: bool
    reaches: bool


class Tally:
    """Rows in; sums by what tells lines apart, and the work that is to be paid for, out."""

    def __init__(self, hour: Hour, pool: str) -> None:
        self.groups: dict[tuple[str, ...], list[int]] = {}
        self.entries: list[Entry] = []
        self.works: list[Work] = []
        self.known = self.began = 0
        self._hour, self._pool = hour, pool
        self._pieces = [
            (_us(each.since), FROM_THEN_ON if each.until is None else _us(each.until)) for each in hour.rentals
        ]

    def add(self, row: Facts, *, began: bool) -> None:
        """Count a row: with its tokens where it began in this hour, for its time alone where it was carried into it."""
        work = work_of(row)
        if work is None:
            method = ABSENT
        else:
            self.works.append(work)
            method = work.method if self._covered(work) else NONE
        key = (
            row.key_id, row.team, row.model, row.release, row.purpose, row.outcome, row.region or "", row.tags or "",
            row.currency, method,
        )  # fmt: skip
        if (sums := self.groups.get(key)) is None:
            sums = self.groups[key] = [0] * _SUMS
        if began:
            self.began += 1
            self.known += row.allocated_at is not None
            count(sums, row)
        before, new = (row.gpu_nano, row.gpu_method), began and row.allocated_at is None
        reaches = row.last_hour is not None or row.tries is not None
        self.entries.append(Entry(row.request_id, sums, method, row.hour, row.last_hour, before, new, reaches))

    def _covered(self, work: Work) -> bool:
        """Whether any of its time was paid for."""
        for since, until in self._pieces:  # noqa: SIM110 (it takes three times as long)
            if since <= work.ended_us and work.begun_us < until:
                return True
        return False


def count(sums: list[int], row: Facts) -> None:
    """Add a row's counts and list cost."""
    sums[0] += 1
    sums[1] += row.input_tokens or 0
    sums[2] += row.cached_tokens or 0
    sums[3] += row.output_tokens or 0
    sums[4] += row.reasoning_tokens or 0
    sums[5] += row.cost_nano is None
    sums[6] += row.input_tokens is None
    sums[7] += row.cached_tokens is None
    sums[8] += row.cost_nano or 0


def split(hour: Hour, works: Sequence[Work], engine: Engine) -> Split | None:
    """The hour's money; None where nothing was paid for."""
    paid = hour.paid
    if not paid:
        return None
    profile = engine.profile
    return split_hour([*works, *hour.failed], paid, profile.step, profile.max_num_batched_tokens)


def tally(hour: Hour, pool: str) -> Tally:
    """All of its rows."""
    found = Tally(hour, pool)
    for row in hour.rows:
        found.add(row, began=True)
    for row in hour.carried:
        found.add(row, began=False)
    return found


def shares(hour: Hour, engine: Engine) -> dict[str, int]:
    """What the requests that reach out of the hour have of it, by their ids, in nano."""
    found = tally(hour, "")
    parts = {} if (money := split(hour, found.works, engine)) is None else money.parts
    return {
        each.request_id: parts.get(each.request_id, _NOTHING).shared
        for each in found.entries
        if each.last_hour is not None
    }


def lines_of(hour: Hour, pool: str, found: Tally, money: Split | None) -> list[tuple[Any, ...]]:
    """The lines of the hour, in the order of `cost_lines.COLUMNS`: every column adds up to what was paid."""
    head = (GRAIN, hour.hour, hour.replica, pool)
    if money is not None:
        for each in found.entries:
            if (part := money.parts.get(each.request_id)) is not None:
                sums = each.sums
                sums[_COUNTS] += part.shared
                sums[_COUNTS + 1] += part.loaded
                sums[_COUNTS + 2] += part.by_requests
                sums[_COUNTS + 3] += part.by_tokens
                sums[_COUNTS + 4] += part.by_weight
    lines = [(*head, *key, *sums) for key, sums in found.groups.items() if any(sums)]
    return lines if money is None else [*lines, *_nobodys(head, found, money)]


def _nobodys(head: tuple[Any, ...], found: Tally, money: Split) -> list[tuple[Any, ...]]:
    """What is left of each column for overhead and for idle time."""
    left = [money.cost - sum(sums[at] for sums in found.groups.values()) for at in range(_COUNTS, _SUMS)]
    idle = [min(money.idle, each) for each in left]
    overhead = [each - unused for each, unused in zip(left, idle, strict=True)]
    return [
        (*head, "", team, "", "", "", "", "", "", "", "", *[0] * _COUNTS, *amounts)
        for team, amounts in ((OVERHEAD, overhead), (IDLE, idle))
        if any(amounts)
    ]


def book(hour: Hour, pool: str, engine: Engine, requests: int, money: Split | None, revision: int) -> ReplicaHour:
    """The books of the hour, closed now."""
    return ReplicaHour(
        replica=hour.replica,
        hour=hour.hour,
        pool=pool,
        paid_us=0 if money is None else money.paid_us,
        busy_us=0 if money is None else money.busy_us,
        cost_nano=0 if money is None else money.cost,
        allocated_nano=0 if money is None else money.allocated,
        overhead_nano=0 if money is None else money.overhead,
        idle_nano=0 if money is None else money.idle,
        requests=requests,
        step_model=engine.profile.name,
        closed_at=hour.now_us / 1e6,
        revision=revision,
    )


def late(
    place: Place, rows: Sequence[Facts], stored: Iterable[tuple[Any, ...]], before: ReplicaHour | None, now: float
) -> ClosedHour:
    """Rows that came after the others of their hour were let go: their counts join its lines, its money stays as it is.

    What they cost is not known any more: the hour cannot be split again.
    """
    replica, hour = place
    pool = "" if before is None else before.pool
    lines = {tuple(line[:-_SUMS]): list(line[-_SUMS:]) for line in stored}
    for row in rows:
        key = (
            GRAIN, hour, replica, pool, row.key_id, row.team, row.model, row.release, row.purpose, row.outcome,
            row.region or "", row.tags or "", row.currency, NONE,
        )  # fmt: skip
        count(lines.setdefault(key, [0] * _SUMS), row)
    blank = ReplicaHour(replica, hour, pool, 0, 0, 0, 0, 0, 0, 0, "", now, 1) if before is None else before
    values = {name: getattr(blank, name) for name in ReplicaHour.__slots__}
    values |= {"requests": blank.requests + len(rows), "revision": blank.revision + 1, "closed_at": now}
    return ClosedHour(
        book=ReplicaHour(**values),
        lines=[(*key, *sums) for key, sums in lines.items()],
        rows=[(None, NONE, now, row.request_id) for row in rows],
        seen={place: 0 if before is None else before.revision},
    )


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
