"""The books in the database: the rows of an hour, hours that are to be closed, closed ones, and sums over them."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.stores import cost_lines
from gateway.stores.cost_lines import (
    DIMENSIONS,
    GRAIN,
    HOUR_S,
    STALE,
    CostLine,
    Query,
    Replaced,
    amount,
    started_second,
)
from gateway.stores.database import COST_LINES, LEDGER, REPLICA_HOURS
from gateway.stores.dialects import exclusively
from gateway.stores.hours import without_books

__all__ = ["DIMENSIONS", "ClosedHour", "CostLine", "Costs", "Facts", "ReplicaHour"]

AT_ONCE = 5000
"""Rows that are fetched, or changed, together."""
NAMED = 200
"""So many replicas are named in a query; of more, all are read."""


class Facts(NamedTuple):
    """What closing reads of a row."""

    request_id: str
    started_at: float
    duration_s: float
    dispatched_s: float | None
    first_byte_s: float | None
    stream: bool
    outcome: str
    replica: str | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    engine_queue_s: float | None
    engine_prefill_s: float | None
    tries: str | None
    cost_nano: int | None
    key_id: str
    team: str
    model: str
    release: str
    purpose: str
    region: str | None
    tags: str | None
    currency: str
    last_hour: int | None
    gpu_nano: int | None
    gpu_method: str | None
    allocated_at: float | None

    @property
    def hour(self) -> int:
        """That of its start."""
        return int(self.started_at // HOUR_S)


@dataclass(frozen=True, slots=True)
class ReplicaHour:
    """The books of a replica and an hour: cost = allocated + overhead + idle, in nano of USD. Times in microseconds.

    `requests` began in it. `step_model` is the profile by which they shared it. `revision` counts how often it was
    closed.
    """

    replica: str
    hour: int
    pool: str
    paid_us: int
    busy_us: int
    cost_nano: int
    allocated_nano: int
    overhead_nano: int
    idle_nano: int
    requests: int
    step_model: str
    closed_at: float
    revision: int

    @property
    def cost(self) -> Decimal:
        """What left the account."""
        return amount(self.cost_nano)


Place = tuple[str, int]
"""A replica, and an hour since the epoch. Rows that no replica was asked for stand under the replica ""."""


class ClosedHour(NamedTuple):
    """An hour as it is to be written: `book`, its `lines` (in the order of `cost_lines.COLUMNS`), and what becomes of
    its rows (GPU money in nano, method, when they were allocated or None to leave that, request id).

    `seen` are the revisions (0: not closed) that all of this rests on, `reached` other hours that its new rows reach,
    which have to be closed again if they are closed. `summed_until` is the end of the months whose hours were put
    together.
    """

    book: ReplicaHour
    lines: list[tuple[Any, ...]]
    rows: list[tuple[int | None, str, float | None, str]]
    seen: Mapping[Place, int]
    reached: frozenset[Place] = frozenset()
    summed_until: int = 0

    @property
    def replaced(self) -> Replaced:
        """Its lines, for a report before they are written."""
        return Replaced(self.book.replica, self.book.hour, self.lines)


_BOOK = [REPLICA_HOURS.c[name] for name in ReplicaHour.__slots__]
_replica = sa.func.coalesce(LEDGER.c.replica, "")


class Costs:
    """What was used and what it cost, by hours."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        changed = {
            "gpu_nano": sa.bindparam("new_nano"),
            "gpu_method": sa.bindparam("new_method"),
            "allocated_at": sa.func.coalesce(LEDGER.c.allocated_at, sa.bindparam("now")),
        }
        update = LEDGER.update().where(LEDGER.c.request_id == sa.bindparam("id")).values(changed)
        # Given plain tuples: SQLAlchemy's own handling of each row costs more than changing it.
        self._update = str(update.compile(dialect=engine.dialect))
        insert = COST_LINES.insert().values(dict.fromkeys(cost_lines.COLUMNS))
        self._insert = str(insert.compile(dialect=engine.dialect))

    def lines(
        self,
        by: Sequence[str],
        since: float | None = None,
        until: float | None = None,
        where: Mapping[str, str] | None = None,
        books: Sequence[ClosedHour] | None = None,
    ) -> list[CostLine]:
        """Sums grouped by names out of DIMENSIONS or `tag:NAME`, the dearest first; `where` are values of such names.

        Times in seconds since the epoch, made wider to whole hours: costs are kept by the hour. With `books` (see
        `gateway.costs.closing.provisional`) hours that are not closed yet have their GPU money too; without, their
        requests are counted as `unallocated`. Raises InputError for a name that is none.
        """
        first = None if since is None else math.floor(since / HOUR_S)
        last = None if until is None else math.ceil(until / HOUR_S)
        given = None if books is None else [each.replaced for each in books]
        with self._engine.connect() as connection:
            return cost_lines.read(connection, Query(by, first, last, where or {}, given))

    def hours(self, since_hour: int | None = None, until_hour: int | None = None) -> list[ReplicaHour]:
        """The books of closed hours, from an hour on and before another, in order."""
        where = [REPLICA_HOURS.c.replica != ""]
        if since_hour is not None:
            where.append(REPLICA_HOURS.c.hour >= since_hour)
        if until_hour is not None:
            where.append(REPLICA_HOURS.c.hour < until_hour)
        return self._books(*where)

    def books(self, first: int, last: int) -> dict[Place, ReplicaHour]:
        """Those of the hours from `first` on and before `last`."""
        hour = REPLICA_HOURS.c.hour
        return {(each.replica, each.hour): each for each in self._books(hour >= first, hour < last)}

    def _books(self, *where: sa.ColumnElement[bool]) -> list[ReplicaHour]:
        query = sa.select(*_BOOK).where(*where).order_by(REPLICA_HOURS.c.hour, REPLICA_HOURS.c.replica)
        with self._engine.connect() as connection:
            return [ReplicaHour(*row) for row in connection.execute(query)]

    def rows(self, hour: int, replicas: Collection[str]) -> Iterator[Facts]:
        """Rows that began in an hour, one replica's after the other's. Read as they are iterated over."""
        started = LEDGER.c.started_at
        where = [started >= hour * HOUR_S, started < (hour + 1) * HOUR_S]
        if len(replicas) <= NAMED:
            where.append(_replica.in_(sorted(replicas)))
        yield from self._facts(*where, order=_replica)

    def carried(self, hour: int) -> list[Facts]:
        """Rows that began before an hour and reach into it."""
        return list(self._facts(LEDGER.c.last_hour >= hour, LEDGER.c.started_at < hour * HOUR_S))

    def retried(self, hour: int) -> list[Facts]:
        """Rows that began in an hour and failed on a replica first."""
        started = LEDGER.c.started_at
        return list(
            self._facts(LEDGER.c.tries.is_not(None), started >= hour * HOUR_S, started < (hour + 1) * HOUR_S)
        )  # fmt: skip

    def reaching(self, until_hour: int) -> list[Facts]:
        """Rows not allocated yet that reach into other hours, or other replicas, than their own."""
        special = sa.or_(LEDGER.c.last_hour.is_not(None), LEDGER.c.tries.is_not(None))
        new = (LEDGER.c.allocated_at.is_(None), LEDGER.c.started_at < until_hour * HOUR_S)
        return list(self._facts(*new, special))

    def _facts(self, *where: sa.ColumnElement[bool], order: sa.ColumnElement[Any] | None = None) -> Iterator[Facts]:
        query = sa.select(*(LEDGER.c[name] for name in Facts._fields)).where(*where).order_by(order)
        with (
            self._engine.connect() as connection,
            connection.execution_options(yield_per=AT_ONCE).execute(query) as rows,
        ):
            for some in rows.partitions():
                yield from map(Facts._make, some)

    def unclosed(self, until_hour: int) -> set[Place]:
        """Places before an hour whose rows are not all allocated, or whose books have to be closed again."""
        with self._engine.connect() as connection:
            hour = (started_second(connection) // HOUR_S).label("hour")
            new = (LEDGER.c.allocated_at.is_(None), LEDGER.c.started_at < until_hour * HOUR_S)
            rows = sa.select(_replica.label("replica"), hour).where(*new).distinct()
            books = REPLICA_HOURS.c
            again = sa.select(books.replica, books.hour).where(books.closed_at == STALE, books.hour < until_hour)
            return {(name, int(at)) for query in (rows, again) for name, at in connection.execute(query)}

    def missing(self, replica: str, first: int, last: int) -> list[int]:
        """Hours from `first` on and before `last` of which a replica has no books."""
        with self._engine.connect() as connection:
            return without_books(connection, replica, first, last)

    def summed_until(self) -> int:
        """The end of the last month whose hours have been put together, as an hour; 0 for none."""
        with self._engine.connect() as connection:
            return cost_lines.summed_until(connection)

    def stored(self, place: Place) -> list[tuple[Any, ...]]:
        """The lines of a closed hour."""
        columns = COST_LINES.c
        of = sa.and_(columns.grain == GRAIN, columns.replica == place[0], columns.start == place[1])
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(COST_LINES).where(of))]

    def mark(self, places: Iterable[Place]) -> None:
        """Those of these places that are closed have to be closed again."""
        if some := sorted(set(places)):
            with self._engine.begin() as connection:
                exclusively(connection)
                self._mark(connection, some)

    def write(self, closed: ClosedHour) -> bool:
        """Close an hour: its books and its lines in place of those that were there, and its rows' parts.

        All or nothing. False, with nothing written, when somebody closed something meanwhile that this rests on.
        """
        book = closed.book
        with self._engine.begin() as connection:
            exclusively(connection)
            hours = [hour for _, hour in closed.seen]
            query = sa.select(REPLICA_HOURS.c.hour, REPLICA_HOURS.c.revision).where(
                REPLICA_HOURS.c.replica == book.replica, REPLICA_HOURS.c.hour.in_(hours)
            )
            found = dict(connection.execute(query).all())
            changed = any(found.get(hour, 0) != revision for (_, hour), revision in closed.seen.items())
            if changed or cost_lines.summed_until(connection) != closed.summed_until:
                return False
            lines, books = COST_LINES.c, REPLICA_HOURS.c
            of_lines = (lines.grain == GRAIN, lines.start == book.hour, lines.replica == book.replica)
            connection.execute(COST_LINES.delete().where(*of_lines))
            connection.execute(REPLICA_HOURS.delete().where(books.replica == book.replica, books.hour == book.hour))
            values = {name: getattr(book, name) for name in ReplicaHour.__slots__}
            connection.execute(REPLICA_HOURS.insert(), [values])
            for statement, rows in ((self._insert, closed.lines), (self._update, closed.rows)):
                for start in range(0, len(rows), AT_ONCE):
                    connection.exec_driver_sql(statement, rows[start : start + AT_ONCE])
            self._mark(connection, sorted(closed.reached))
        return True

    def _mark(self, connection: sa.Connection, places: Sequence[Place]) -> None:
        books = REPLICA_HOURS.c
        this = sa.and_(books.replica == sa.bindparam("name"), books.hour == sa.bindparam("at"))
        if places:
            connection.execute(
                REPLICA_HOURS.update().where(this).values(closed_at=STALE),
                [{"name": name, "at": at} for name, at in places],
            )
