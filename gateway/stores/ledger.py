"""The ledger in the database: idempotent inserts, and sums that are exact.

Costs are stored as whole nano-units of the currency, so that the database adds them up without rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Engine

from gateway.contracts.ledger import LedgerRow
from gateway.contracts.prices import PLACES
from gateway.stores.database import LEDGER

BATCH = 500
"""Rows given to the database at once: what a long outage leaves behind must not be in memory twice."""

_FIELDS = LedgerRow.__struct_fields__
_COST = _FIELDS.index("cost")
_COLUMNS = (*_FIELDS[:_COST], "cost_nano", *_FIELDS[_COST + 1 :])

DIMENSIONS: dict[str, sa.ColumnElement[Any]] = {
    "key": LEDGER.c.key_id,
    "team": LEDGER.c.team,
    "model": LEDGER.c.model,
    "release": LEDGER.c.release,
    "purpose": LEDGER.c.purpose,
    "outcome": LEDGER.c.outcome,
    "replica": sa.func.coalesce(LEDGER.c.replica, "none"),
    "currency": LEDGER.c.currency,
    "day": sa.func.date(LEDGER.c.started_at, "unixepoch"),
}
"""What costs can be grouped by. Days are UTC."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """Sums over a group of requests, each over what is known.

    `cost` is None when no request of the group has a price, and when the prices are in several currencies, which do
    not add up: then `currency` is None too, and grouping by it helps. `unpriced` counts requests without a price,
    `unmetered` those whose tokens the engine never reported, and `cached_unknown` those of which it did not say what
    its cache held.
    """

    group: dict[str, str]
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Decimal | None
    currency: str | None
    unpriced: int
    unmetered: int
    cached_unknown: int


class Ledger:
    """Rows in, sums out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Compiled once, and given plain tuples: SQLAlchemy's own handling of each row costs more than storing it.
        statement = insert(LEDGER).on_conflict_do_nothing().values(dict.fromkeys(_COLUMNS))
        self._insert = str(statement.compile(dialect=engine.dialect))

    def insert(self, rows: Sequence[LedgerRow]) -> None:
        """Store rows; one whose request id is there already is left as it is."""
        if not rows:
            return
        with self._engine.begin() as connection:
            for start in range(0, len(rows), BATCH):
                connection.exec_driver_sql(self._insert, [_values(row) for row in rows[start : start + BATCH]])

    def costs(self, by: Sequence[str], since: float | None = None, until: float | None = None) -> list[CostLine]:
        """Sums grouped by names out of DIMENSIONS, the dearest first. Times in seconds since the epoch."""
        groups = [DIMENSIONS[name].label(f"group_{name}") for name in by]
        columns = LEDGER.c
        priced = sa.case((columns.cost_nano.is_not(None), columns.currency))
        query = sa.select(
            *groups,
            sa.func.count().label("requests"),
            sa.func.coalesce(sa.func.sum(columns.input_tokens), 0).label("input_tokens"),
            sa.func.coalesce(sa.func.sum(columns.cached_tokens), 0).label("cached_tokens"),
            sa.func.coalesce(sa.func.sum(columns.output_tokens), 0).label("output_tokens"),
            sa.func.sum(columns.cost_nano).label("cost_nano"),
            sa.func.min(priced).label("one_currency"),
            sa.func.max(priced).label("other_currency"),
            (sa.func.count() - sa.func.count(columns.cost_nano)).label("unpriced"),
            (sa.func.count() - sa.func.count(columns.input_tokens)).label("unmetered"),
            (sa.func.count() - sa.func.count(columns.cached_tokens)).label("cached_unknown"),
        ).order_by(sa.func.coalesce(sa.func.sum(columns.cost_nano), 0).desc(), *groups)
        if groups:
            query = query.group_by(*groups)
        if since is not None:
            query = query.where(columns.started_at >= since)
        if until is not None:
            query = query.where(columns.started_at < until)
        with self._engine.connect() as connection:
            return [_line(row, by) for row in connection.execute(query).mappings()]

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The latest rows, the newest first, with `cost` as a Decimal, and without what was decided."""
        columns = [column for column in LEDGER.c if column is not LEDGER.c.decision]
        query = sa.select(*columns).order_by(LEDGER.c.started_at.desc()).limit(limit)
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
        with self._engine.connect() as connection:
            yield from connection.execute(query.order_by(columns.started_at, columns.request_id)).mappings()

    def find(self, request_id: str) -> dict[str, Any] | None:
        """One row, with `cost` as a Decimal; None when there is none of that id."""
        query = sa.select(LEDGER).where(LEDGER.c.request_id == request_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _as_dict(row)


def _values(row: LedgerRow) -> tuple[Any, ...]:
    """A row's fields in the order of `_COLUMNS`, its cost in nano-units."""
    values = msgspec.structs.astuple(row)
    if row.cost is None:
        return values
    return (*values[:_COST], int(Decimal(row.cost).scaleb(9)), *values[_COST + 1 :])


def _as_dict(row: sa.RowMapping) -> dict[str, Any]:
    values = dict(row)
    values["cost"] = _amount(values.pop("cost_nano"))
    return values


def _amount(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano) * PLACES


def _line(row: sa.RowMapping, by: Sequence[str]) -> CostLine:
    one = row["one_currency"] == row["other_currency"]
    return CostLine(
        group={name: str(row[f"group_{name}"]) for name in by},
        requests=row["requests"],
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        output_tokens=row["output_tokens"],
        cost=_amount(row["cost_nano"]) if one else None,
        currency=row["one_currency"] if one else None,
        unpriced=row["unpriced"],
        unmetered=row["unmetered"],
        cached_unknown=row["cached_unknown"],
    )
