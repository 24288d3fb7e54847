"""What the ledger says is spent: where counters of budgets begin, and what makes them true again.

A row that was allocated stands in the lines of its hour, and one that was not in the ledger alone: sums take lines of
whole hours and rows of what remains, so that nothing is missing or double. List money counts where its request began,
to the second. GPU money of a closed hour counts in the window in which that hour begins.
"""

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.policy.budgets import Counter
from gateway.stores.database import COST_LINES, LEDGER

HOUR = 3600.0
NOBODYS = ("__idle__", "__overhead__")
"""Teams of lines that no tenant asked for."""
SUBJECTS = {"key": "key_id", "team": "team"}

Conditions = list[sa.ColumnElement[bool]]


class Spend:
    """Sums in nano. What the gateway asked for itself (purpose `probe`) is in no budget."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def spent(self, counter: Counter, currency: str) -> int:
        """What a counter's rows come to, in its window; those in another currency do not count."""
        return sum(self._sums(counter, currency, []).values())

    def subjects(self, counter: Counter, each: str, currency: str) -> dict[str, int]:
        """The same for every key or team of whom there are rows."""
        return {str(name): nano for (name,), nano in self._sums(counter, currency, [SUBJECTS[each]]).items()}

    def corrected(self, counter: Counter, since: float) -> int:
        """By how much the truth about GPU money, found after `since`, differs from what was charged."""
        columns = LEDGER.c
        difference = columns.gpu_nano - sa.func.coalesce(columns.gpu_estimate_nano, 0)
        where = [*_of(LEDGER, counter), columns.gpu_nano.is_not(None), columns.allocated_at > since]
        query = sa.select(sa.func.coalesce(sa.func.sum(difference), 0)).where(
            *where, *_between(counter.since, counter.until)
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _sums(self, counter: Counter, currency: str, by: Sequence[str]) -> dict[tuple[Any, ...], int]:
        """In one transaction, so that an hour that is closed meanwhile is seen either open or closed."""
        rows, lines = LEDGER.c, COST_LINES.c
        listed = counter.money == "list"
        amount = rows.cost_nano if listed else sa.func.coalesce(rows.gpu_nano, rows.gpu_estimate_nano)
        whose, of_lines = _of(LEDGER, counter), _of(COST_LINES, counter)
        if listed:
            whose.append(rows.currency == currency)
            of_lines.append(lines.currency == currency)
        open_rows = _between(counter.since, counter.until)
        parts = [(LEDGER, amount, [*whose, rows.allocated_at.is_(None), *open_rows])]
        first, last = math.ceil(counter.since / HOUR), counter.until / HOUR
        closed: Conditions = [
            lines.grain.in_(("hour", "month") if counter.since == 0.0 else ("hour",)),
            lines.start >= first,
        ]
        if last != math.inf:
            closed.append(lines.start < (math.floor(last) if listed else math.ceil(last)))
        parts.append((COST_LINES, lines.list_nano if listed else lines.gpu_nano, [*of_lines, *closed]))
        if listed:  # of a zone whose midnight is not on the hour of UTC, an hour is cut in two
            for since, until in _cut(counter.since, counter.until):
                parts.append((LEDGER, amount, [*whose, rows.allocated_at.is_not(None), *_between(since, until)]))
        found = dict[tuple[Any, ...], int]()
        with self._engine.connect() as connection:
            for table, nano, where in parts:
                groups = [table.c[name] for name in by]
                query = sa.select(*groups, sa.func.coalesce(sa.func.sum(nano), 0)).where(*where).group_by(*groups)
                for *group, total in connection.execute(query):
                    found[tuple(group)] = found.get(tuple(group), 0) + int(total or 0)
        return found


def _of(table: sa.Table, counter: Counter) -> Conditions:
    wanted = {"team": counter.team, "key_id": counter.key, "model": counter.model}
    matches: Conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    return [*matches, table.c.purpose != "probe", table.c.team.not_in(NOBODYS)]


def _between(since: float, until: float) -> Conditions:
    started = LEDGER.c.started_at
    return [started >= since] if until == math.inf else [started >= since, started < until]


def _cut(since: float, until: float) -> list[tuple[float, float]]:
    """The parts of hours at the edges of a window."""
    head = (since, math.ceil(since / HOUR) * HOUR)
    tail = (until, until) if until == math.inf else (math.floor(until / HOUR) * HOUR, until)
    return [each for each in (head, tail) if each[0] < each[1]]
