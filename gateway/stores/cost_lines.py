"""Sums of costs by what they are grouped by: closed hours from their lines, and rows of hours that are not closed yet.

A request's counts and list cost stand in the hour of its start, its GPU money in the hours in which it was there. So
both are there once, wherever a window of time is cut. What is not known is named `none`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.contracts.prices import PLACES
from gateway.stores.database import COST_LINES, LEDGER, RENTALS

HOUR_S = 3600
GRAIN = "hour"
IDLE, OVERHEAD = "__idle__", "__overhead__"
"""Teams of what nobody asked for: time without requests, and attempts that failed."""
STALE = 0.0
"""`closed_at` of books that have to be closed again."""
NONE = "none"
"""What is not known; of a method: the replica has no price."""
OPEN = "unallocated"
"""The method of rows whose hour is not closed yet."""

COUNTS = (
    "requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "unpriced", "unmetered",
    "cached_unknown", "list_nano",
)  # fmt: skip
MONEY = ("gpu_nano", "loaded_nano", "by_requests_nano", "by_tokens_nano", "by_weight_nano")
SUMS = (*COUNTS, *MONEY)
COLUMNS = tuple(column.name for column in COST_LINES.c)
FACTS = tuple(name for name in COLUMNS if name not in ("grain", "start", *SUMS))
"""What tells one line of an hour from another."""
_SUMS_AT = len(COLUMNS) - len(SUMS)


@dataclass(frozen=True, slots=True)
class CostLine:
    """Sums over a group of requests, each over what is known.

    `list_cost` is None when no request of the group has a price, and when the prices are in several currencies, which
    do not add up: then `currency` is None too, and grouping by it helps. The amounts of GPU money are in USD:
    `allocated` by shared time, `loaded` with its part of idle time and overhead, and the others what `allocated` would
    be by other methods. `unpriced` counts requests without a list price, `unmetered` those whose tokens the engine
    never reported, `cached_unknown` those of which it did not say what its cache held, and `unallocated` those without
    GPU money: their hour is not closed yet, or their replica has no price.
    """

    group: dict[str, str]
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    list_cost: Decimal | None
    currency: str | None
    allocated: Decimal
    loaded: Decimal
    by_requests: Decimal
    by_tokens: Decimal
    by_weight: Decimal
    unpriced: int
    unmetered: int
    cached_unknown: int
    unallocated: int


class Dimension(NamedTuple):
    """Something to group by: a column of the lines, whole numbers of it divided by `per`, and what its values are
    called."""

    column: str
    label: Callable[[Any], str]
    per: int = 1


def _name(value: Any) -> str:
    return str(value) if value else NONE


def _moment(form: str, per: int) -> Callable[[Any], str]:
    return lambda value: datetime.fromtimestamp(int(value) * per * HOUR_S, UTC).strftime(form)


_TEXT = {
    name: Dimension({"key": "key_id", "method": "gpu_method"}.get(name, name), _name)
    for name in (
        "key", "team", "model", "release", "purpose", "outcome", "replica", "pool", "region", "currency", "method",
    )
}  # fmt: skip
MOMENTS = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
"""How those of DIMENSIONS that are times are written."""
DIMENSIONS: dict[str, Dimension] = {
    **_TEXT,
    "hour": Dimension("start", _moment(MOMENTS["hour"], 1)),
    "day": Dimension("start", _moment(MOMENTS["day"], 24), 24),
    "month": Dimension("start", _moment(MOMENTS["month"], 24), 24),
}
"""What costs can be grouped by, and `tag:NAME` beside it. Hours, days and months are UTC; where the hours of an old
month have been put together, they stand in its first one."""
TAG = "tag:"


def dimension(name: str) -> Dimension:
    """One out of DIMENSIONS, or a tag. Raises InputError."""
    if name.startswith(TAG) and len(name) > len(TAG):
        return Dimension("tags", lambda tags: _name(json.loads(tags).get(name[len(TAG) :])) if tags else NONE)
    if name not in DIMENSIONS:
        raise InputError(f"costs cannot be grouped by {name!r}: expected one of {', '.join(DIMENSIONS)}, or tag:NAME")
    return DIMENSIONS[name]


class Replaced(NamedTuple):
    """Lines of a replica's hour, in the order of COLUMNS, instead of those that the database has of it by now."""

    replica: str
    hour: int
    lines: Sequence[tuple[Any, ...]]


class Query(NamedTuple):
    """What is asked for: hours from `first` on and before `last`; `where` are values of dimensions.

    With `books`, what is not closed yet is taken from there, and none of it from the ledger.
    """

    by: Sequence[str]
    first: int | None
    last: int | None
    where: Mapping[str, str]
    books: Sequence[Replaced] | None = None


class _Sums:
    def __init__(self) -> None:
        self.of = [0] * len(SUMS)
        self.unallocated = 0
        self.priced: dict[str, int] = {}

    def add(self, sums: Sequence[int], unallocated: int, currency: str) -> None:
        for at, value in enumerate(sums):
            self.of[at] += int(value)
        self.unallocated += unallocated
        if sums[0] > sums[5]:
            self.priced[currency] = self.priced.get(currency, 0) + int(sums[8])

    def line(self, group: dict[str, str]) -> CostLine:
        of = dict(zip(SUMS, self.of, strict=True))
        known = next(iter(self.priced.items())) if len(self.priced) == 1 else None
        return CostLine(
            group=group,
            **{name: of[name] for name in COUNTS[:-1]},
            list_cost=None if known is None else amount(known[1]),
            currency=None if known is None else known[0],
            allocated=amount(of["gpu_nano"]),
            loaded=amount(of["loaded_nano"]),
            by_requests=amount(of["by_requests_nano"]),
            by_tokens=amount(of["by_tokens_nano"]),
            by_weight=amount(of["by_weight_nano"]),
            unallocated=self.unallocated,
        )


def amount(nano: int) -> Decimal:
    """Whole nano-units as an amount."""
    return Decimal(nano) * PLACES


def next_month(hour: int) -> int:
    """The first hour of the month (UTC) after the one that an hour is in."""
    moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
    later = (moment.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0)
    return int(later.timestamp() // HOUR_S)


def summed_until(connection: sa.Connection) -> int:
    """The end of the last month whose hours have been put together, as an hour; 0 for none."""
    query = sa.select(sa.func.max(COST_LINES.c.start)).where(COST_LINES.c.grain != GRAIN)
    start = connection.execute(query).scalar()
    return 0 if start is None else next_month(start)


def started_second(connection: sa.Connection) -> sa.ColumnElement[int]:
    """The whole second of a row's start: SQLite cuts what PostgreSQL would round."""
    started: sa.ColumnElement[Any] = LEDGER.c.started_at
    if connection.dialect.name == "postgresql":
        started = sa.func.floor(started)
    return sa.cast(started, sa.BigInteger)


def read(connection: sa.Connection, query: Query) -> list[CostLine]:
    """The lines that are asked for, the dearest first; without dimensions one, whatever there is. Raises InputError."""
    names = tuple(dict.fromkeys((*query.by, *query.where)))
    dimensions = [dimension(name) for name in names]
    found: dict[tuple[str, ...], _Sums] = {} if query.by else {(): _Sums()}
    for raw, currency, sums, unallocated in _raw(connection, query, dimensions):
        labels = {
            name: each.label(value) for name, each, value in zip(names, dimensions, raw, strict=True)
        }  # fmt: skip
        if all(labels[name] == value for name, value in query.where.items()):
            key = tuple(labels[name] for name in query.by)
            found.setdefault(key, _Sums()).add(sums, unallocated, currency)
    lines = [sums.line(dict(zip(query.by, key, strict=True))) for key, sums in found.items()]
    return sorted(lines, key=lambda line: (-line.allocated, -(line.list_cost or 0), tuple(line.group.values())))


_Raw = tuple[Sequence[Any], str, Sequence[int], int]


def _raw(connection: sa.Connection, query: Query, dimensions: Sequence[Dimension]) -> Iterator[_Raw]:
    yield from _closed(connection, query, dimensions)
    if query.books is None:
        yield from _open(connection, query, dimensions)
    else:
        yield from _given(query, dimensions)


def _closed(connection: sa.Connection, query: Query, dimensions: Sequence[Dimension]) -> Iterator[_Raw]:
    columns = COST_LINES.c
    groups = [columns[each.column] // each.per if each.per > 1 else columns[each.column] for each in dimensions]
    groups.append(columns.currency)
    without = sa.func.sum(sa.case((columns.gpu_method == NONE, columns.requests), else_=0))
    statement = sa.select(*groups, without, *(sa.func.sum(columns[name]) for name in SUMS)).group_by(
        *(sa.literal_column(str(at + 1)) for at in range(len(groups)))
    )
    if query.first is not None:
        statement = statement.where(columns.start >= query.first)
    if query.last is not None:
        statement = statement.where(columns.start < query.last)
    for name, value in query.where.items():
        if name in _TEXT and value != NONE:
            statement = statement.where(columns[_TEXT[name].column] == value)
    if replaced := [(each.replica, each.hour) for each in query.books or ()]:
        # Written into the statement: of values beside it, databases take tens of thousands and no more.
        places: sa.BindParameter[Any] = sa.bindparam("places", replaced, expanding=True, literal_execute=True)
        this_hour = sa.tuple_(columns.replica, columns.start).in_(places)
        statement = statement.where(sa.not_(sa.and_(columns.grain == GRAIN, this_hour)))
    for row in connection.execute(statement):
        at = len(dimensions)
        yield row[:at], row[at], row[at + 2 :], int(row[at + 1])


def _given(query: Query, dimensions: Sequence[Dimension]) -> Iterator[_Raw]:
    places = [(COLUMNS.index(each.column), each.per) for each in dimensions]
    currency, method = COLUMNS.index("currency"), COLUMNS.index("gpu_method")
    for book in query.books or ():
        if (query.first is not None and book.hour < query.first) or (
            query.last is not None and book.hour >= query.last
        ):
            continue
        for line in book.lines:
            raw = [line[at] // per if per > 1 else line[at] for at, per in places]
            sums = line[_SUMS_AT:]
            yield raw, line[currency], sums, sums[0] if line[method] == NONE else 0


def _open(connection: sa.Connection, query: Query, dimensions: Sequence[Dimension]) -> Iterator[_Raw]:
    """Rows that are in no closed hour. Their pool is that of their replica's last rental."""
    columns, hour = LEDGER.c, started_second(connection) // HOUR_S
    rentals = connection.execute(sa.select(RENTALS.c.replica, RENTALS.c.pool).order_by(RENTALS.c.since))
    pools = dict(rentals.all())
    special: dict[str, sa.ColumnElement[Any]] = {
        "start": hour,
        "pool": columns.replica,
        "gpu_method": sa.literal_column(f"'{OPEN}'"),
    }
    named = {**{column.name: column for column in columns}, **special}
    groups = [named[each.column] // each.per if each.per > 1 else named[each.column] for each in dimensions]
    rows = sa.func.count()
    sums = (
        rows,
        *(sa.func.coalesce(sa.func.sum(columns[name]), 0) for name in COUNTS[1:5]),
        *(rows - sa.func.count(columns[name]) for name in ("cost_nano", "input_tokens", "cached_tokens")),
        sa.func.coalesce(sa.func.sum(columns.cost_nano), 0),
    )
    statement = sa.select(*groups, columns.currency, *sums).where(columns.allocated_at.is_(None))
    statement = statement.group_by(*(sa.literal_column(str(at + 1)) for at in range(len(groups) + 1)))
    if query.first is not None:
        statement = statement.where(columns.started_at >= query.first * HOUR_S)
    if query.last is not None:
        statement = statement.where(columns.started_at < query.last * HOUR_S)
    for row in connection.execute(statement):
        raw = [
            pools.get(value, "") if each.column == "pool" else value
            for each, value in zip(dimensions, row, strict=False)
        ]
        counts = row[len(dimensions) + 1 :]
        yield raw, row[len(dimensions)], (*counts, *(0 for _ in MONEY)), int(counts[0])
