"""The ledger in the database: idempotent inserts, and rows as they were.

Costs are stored as whole nano-units of the currency, so that the database adds them up without rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from types import NoneType
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.ledger import LedgerRow
from gateway.contracts.prices import PLACES
from gateway.stores.database import LEDGER
from gateway.stores.dialects import flag, insert

_ROW = [column for column in LEDGER.c if column.name not in ("decision", "last_hour")]
"""What is shown of rows: not where they are found, and what was decided on demand alone."""
_NANO = {"cost": "cost_nano", "gpu_estimate": "gpu_estimate_nano"}
"""Amounts, and the columns that hold them."""
HOUR = 3600.0
NANO = Decimal(10**9)

BATCH = 500
"""Rows given to the database at once, and in memory with it: a busy second leaves thousands, a long outage more."""

_FIELDS = LedgerRow.__struct_fields__
_COST, _ESTIMATE, _DECISION = map(_FIELDS.index, ("cost", "gpu_estimate", "decision"))
_COLUMNS = (*(_NANO.get(name, name) for name in _FIELDS), "last_hour")
_STREAM = _COLUMNS.index("stream")
_nullable = itemgetter(*(at for at, name in enumerate(_COLUMNS) if LEDGER.c[name].nullable))

Values = Sequence[Any]
Shape = tuple[type, ...]
"""The types of a row's values that may be missing, so it says which are."""


class Ledger:
    """Rows in, rows out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._flag = flag(engine)
        self._statements: dict[Shape, tuple[str, Callable[[Values], tuple[Any, ...]]]] = {}

    def insert(self, rows: Iterable[LedgerRow]) -> None:
        """Store all of the rows, or none; one whose request id is there already is left as it is."""
        left = iter(rows)
        batch = self._batch(left)
        if not batch:
            return
        with self._engine.begin() as connection:
            while batch:
                for shape, values in batch.items():
                    statement, present = self._statement(shape)
                    connection.exec_driver_sql(statement, list(map(present, values)))
                batch = self._batch(left)

    def _batch(self, rows: Iterator[LedgerRow]) -> dict[Shape, list[Values]]:
        """The next rows' values, by their shapes, of which there are few."""
        found: dict[Shape, list[Values]] = {}
        for row in islice(rows, BATCH):
            values = _values(row)
            values[_STREAM] = self._flag(row.stream)
            found.setdefault(tuple(map(type, _nullable(values))), []).append(values)
        return found

    def _statement(self, shape: Shape) -> tuple[str, Callable[[Values], tuple[Any, ...]]]:
        """What stores rows of a shape, and what it wants of their values.

        Compiled once, and given plain tuples: SQLAlchemy's own handling of each row costs more than storing it. And a
        None that is given costs SQLite's driver more than a value: it looks for an adapter, each time in vain.
        """
        found = self._statements.get(shape)
        if found is None:
            missing = {at for at, each in zip(_nullable(range(len(_COLUMNS))), shape, strict=True) if each is NoneType}
            there = [at for at in range(len(_COLUMNS)) if at not in missing]
            made = insert(self._engine, LEDGER).on_conflict_do_nothing().values({_COLUMNS[at]: None for at in there})
            found = self._statements[shape] = str(made.compile(dialect=self._engine.dialect)), itemgetter(*there)
        return found

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The latest rows, the newest first, with `cost` as a Decimal, and without what was decided."""
        query = sa.select(*_ROW).order_by(LEDGER.c.started_at.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_as_dict(row) for row in connection.execute(query).mappings()]

    def traffic(self, since: float | None, until: float | None, model: str | None) -> Iterator[sa.RowMapping]:
        """What clients and the harness asked for, the oldest first: when, who, of which model, tokens, and `decision`.

        Read as it is iterated over. Times in seconds since the epoch.
        """
        columns = LEDGER.c
        query = sa.select(
            columns.started_at,
            columns.team,
            columns.model,
            columns.input_tokens,
            columns.output_tokens,
            columns.decision,
        ).where(columns.purpose != "probe")
        if since is not None:
            query = query.where(columns.started_at >= since)
        if until is not None:
            query = query.where(columns.started_at < until)
        if model is not None:
            query = query.where(columns.model == model)
        query = query.order_by(columns.started_at, columns.request_id)
        with (
            self._engine.connect() as connection,
            connection.execution_options(yield_per=BATCH).execute(query) as rows,
        ):
            yield from rows.mappings()

    def find(self, request_id: str) -> dict[str, Any] | None:
        """One row, with `cost` as a Decimal; None when there is none of that id."""
        query = sa.select(*_ROW, LEDGER.c.decision).where(LEDGER.c.request_id == request_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _as_dict(row)


def _values(row: LedgerRow) -> list[Any]:
    """A row's fields in the order of `_COLUMNS`, its amounts in nano-units."""
    values = list(msgspec.structs.astuple(row))
    values[_DECISION] = _text(row.decision)
    for at in (_COST, _ESTIMATE):
        if values[at] is not None:
            values[at] = int(Decimal(values[at]) * NANO)
    first, last = row.started_at // HOUR, (row.started_at + row.duration_s) // HOUR
    values.append(int(last) if last > first else None)
    return values


def _text(decision: msgspec.Raw) -> str | None:
    """The JSON of a decision as text; None where there is none.

    In the spool of a gateway from before it was part of the line, which the next one reads, it is JSON of that text.
    """
    text = str(decision, "utf-8")
    return str(msgspec.json.decode(text)) if text.startswith('"') else text or None


def _as_dict(row: sa.RowMapping) -> dict[str, Any]:
    values = dict(row)
    for name, column in (*_NANO.items(), ("gpu_cost", "gpu_nano")):
        values[name] = _amount(values.pop(column))
    return values


def _amount(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano) * PLACES
