"""What becomes of old rows: sums of hours become sums of months, and rows whose part is worked out go.

Only whole months are folded (UTC), and never one in which a row is not allocated yet, or an hour that was paid for has
no books: what belongs into a month is in it before it is folded. The books of each replica and hour stay. Every step is
a transaction of its own that leaves every total as it was, so that a fold that was cut short goes on where it ended.

What engines count is written down every minute. It is kept so for EVERY_MINUTE_DAYS, longer than any month that is
still to be compared, then once an hour, and of folded months once a day: what a counter grew by between two of them is
the same. That needs no retention to be set.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.stores.database import COST_LINES, ENGINE_COUNTERS, LEDGER, RENTALS
from gateway.stores.dialects import UtcDay, UtcHour, UtcMonth, exclusively, insert
from gateway.stores.hours import without_books

HOUR_S = 3600
EVERY_MINUTE_DAYS = 40
BATCH = 10_000
"""Rows that one transaction deletes: others write in between."""

_KEYS = [column.name for column in COST_LINES.primary_key.columns if column.name not in ("grain", "start")]
_SUMS = [column.name for column in COST_LINES.columns if not column.primary_key]


@dataclass(frozen=True, slots=True)
class Folded:
    """What a fold did, or would do. Hours are hours since the epoch.

    Everything before `until` is folded. `held_by` is why it was not more: the start of the oldest row that is not
    allocated, or, where it is `unbooked`, of the first hour that was paid for and is not closed. `hours` counts the
    sums of hours that became `months` sums of months, `rows` the rows deleted.
    """

    until: int
    held_by: float | None
    hours: int
    months: int
    rows: int
    unbooked: bool = False


def month_of(hour: int) -> int:
    """The first hour of the month (UTC) that an hour lies in."""
    moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) // HOUR_S


def month_after(hour: int) -> int:
    """The first hour of the next month."""
    return month_of(month_of(hour) + 31 * 24)


def folded_until(connection: sa.Connection) -> int:
    """The hour before which every hour is folded, 0 at first: what was folded is never worked out again."""
    lines = COST_LINES.c
    last = connection.execute(sa.select(sa.func.max(lines.start)).where(lines.grain == "month")).scalar()
    return 0 if last is None else month_after(last)


def fold(engine: Engine, before_hour: int) -> Folded:
    """Fold the whole months that end before an hour, and delete their rows. Raises SQLAlchemyError when it cannot.

    Doing it again changes nothing.
    """
    *_, done = steps(engine, before_hour)
    return done


def steps(engine: Engine, before_hour: int) -> Iterator[Folded]:
    """The same in steps of one transaction each, so that others get their turn: what is done so far, after each."""
    with engine.connect() as connection:
        until, held_by, unbooked = _reach(connection, before_hour)
    done = Folded(until, held_by, 0, 0, 0, unbooked)
    yield done
    while True:
        with engine.begin() as connection:
            exclusively(connection)
            found = _fold_month(connection, min(until, _reach(connection, before_hour)[0]))
        if found is None:
            break
        done = replace(done, hours=done.hours + found[0], months=done.months + found[1])
        yield done
    deleted = BATCH
    while deleted == BATCH:
        with engine.begin() as connection:
            old = _old(until).limit(BATCH)
            deleted = connection.execute(sa.delete(LEDGER).where(LEDGER.c.request_id.in_(old))).rowcount
        done = replace(done, rows=done.rows + deleted)
        yield done


def thin(engine: Engine, now: float) -> Iterator[int]:
    """Let go of old snapshots of the engines' counters, one replica's after the other's: how many went, after each.

    The first of each hour, or day, stays, and so does the first of each process that an engine had in it.
    """
    snapshots = ENGINE_COUNTERS.c
    with engine.connect() as connection:
        folded = float(folded_until(connection) * HOUR_S)
        replicas = connection.execute(sa.select(snapshots.replica).distinct().order_by(snapshots.replica)).scalars()
        names = list(replicas)
    for name in names:
        gone = 0
        with engine.begin() as connection:
            exclusively(connection)
            for until, step in ((now - EVERY_MINUTE_DAYS * 86_400, UtcHour), (folded, UtcDay)):
                old = (snapshots.replica == name, snapshots.at < until)
                first = sa.select(sa.func.min(snapshots.at)).where(*old)
                kept = first.group_by(snapshots.started_at, step(snapshots.at))
                gone += connection.execute(sa.delete(ENGINE_COUNTERS).where(*old, snapshots.at.not_in(kept))).rowcount
        yield gone


def foreseen(engine: Engine, before_hour: int) -> Folded:
    """What a fold would do, with nothing changed. Months are those that would be made or added to."""
    lines = COST_LINES.c
    with engine.connect() as connection:
        until, held_by, unbooked = _reach(connection, before_hour)
        old = sa.and_(lines.grain == "hour", lines.start < until)
        months = sa.select(UtcMonth(lines.start * HOUR_S), *(lines[name] for name in _KEYS)).where(old).distinct()
        asked = (sa.select(COST_LINES).where(old), months, _old(until))
        counts = [sa.select(sa.func.count()).select_from(each.subquery()).scalar_subquery() for each in asked]
        hours, made, rows = connection.execute(sa.select(*counts)).one()
    return Folded(until, held_by, hours, made, rows, unbooked)


def _reach(connection: sa.Connection, before_hour: int) -> tuple[int, float | None, bool]:
    """(The hour up to which can be folded, what holds back what comes after it, whether that is an hour)."""
    wanted, ledger = month_of(before_hour), LEDGER.c
    oldest = sa.select(sa.func.min(ledger.started_at)).where(ledger.allocated_at.is_(None))
    row, hour = connection.execute(oldest).scalar(), _unbooked(connection, wanted)
    holds = ((row, False), (None if hour is None else float(hour * HOUR_S), True))
    at, unbooked = min(((at, is_hour) for at, is_hour in holds if at is not None), default=(math.inf, False))
    if at >= wanted * HOUR_S:
        return wanted, None, False
    return month_of(int(at // HOUR_S)), at, unbooked


def _unbooked(connection: sa.Connection, until: int) -> int | None:
    """The first hour before another that is not folded, was paid for, and has no books: it would have none ever."""
    rentals, folded, found = RENTALS.c, folded_until(connection), until
    for each in connection.execute(sa.select(rentals.replica, rentals.since, rentals.until)).all():
        first = max(math.floor(each.since / HOUR_S), folded)
        last = found if each.until is None else min(found, math.ceil(each.until / HOUR_S))
        found = min(without_books(connection, each.replica, first, last, closed=True), default=found)
    return None if found == until else found


def _old(until: int) -> sa.Select[tuple[str]]:
    """Rows whose every hour is folded. One that reaches into an open hour takes part when that is worked out again."""
    ledger = LEDGER.c
    return sa.select(ledger.request_id).where(
        ledger.started_at < float(until * HOUR_S),
        ledger.allocated_at.is_not(None),
        sa.or_(ledger.last_hour.is_(None), ledger.last_hour < until),
    )


def _fold_month(connection: sa.Connection, until: int) -> tuple[int, int] | None:
    """Fold the oldest month. Returns (sums of hours, sums of months made or added to), None when nothing is left."""
    lines = COST_LINES.c
    first = connection.execute(sa.select(sa.func.min(lines.start)).where(lines.grain == "hour")).scalar()
    if first is None or first >= until:
        return None
    start = month_of(first)
    within = sa.and_(lines.grain == "hour", lines.start >= start, lines.start < month_after(first))
    keys = [lines[name] for name in _KEYS]
    sums = sa.select(
        sa.literal("month", sa.Text),
        sa.literal(start, sa.Integer),
        *keys,
        *(sa.func.sum(lines[name]) for name in _SUMS),
    )
    made = insert(connection.engine, COST_LINES).from_select(
        ["grain", "start", *_KEYS, *_SUMS], sums.where(within).group_by(*keys)
    )
    added = {name: lines[name] + made.excluded[name] for name in _SUMS}
    statement = made.on_conflict_do_update(index_elements=list(COST_LINES.primary_key.columns), set_=added)
    months = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    hours = connection.execute(sa.delete(COST_LINES).where(within)).rowcount
    return hours, months
