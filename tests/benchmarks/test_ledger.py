"""The ledger's benchmark: every question is asked, of rows that are as they are said to be."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks import ledger
from gateway.stores.database import COST_LINES, LEDGER, open_database
from tests.gateway.postgres import Postgres

ROWS = 3000


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_question_is_answered_and_the_sums_are_those_of_the_rows(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        engine = open_database(server.url())
    found = ledger.measure(engine, ROWS)
    assert min(found.values()) > 0
    rows, lines = LEDGER.c, COST_LINES.c
    with engine.connect() as connection:
        closed = sa.select(sa.func.count(), sa.func.sum(rows.cost_nano), sa.func.sum(rows.gpu_nano)).where(
            rows.allocated_at.is_not(None)
        )
        sums = sa.select(sa.func.sum(lines.requests), sa.func.sum(lines.list_nano), sa.func.sum(lines.gpu_nano))
        assert tuple(map(int, connection.execute(closed).one())) == tuple(map(int, connection.execute(sums).one()))
        written = sa.select(sa.func.count()).where(rows.started_at < ledger.END)
        assert connection.execute(written).scalar() == ROWS
    asked = ledger.questions(engine, ROWS)
    assert len(asked["the 20 latest rows"]()) == 20
    assert asked["one row by its id"]() is not None
    assert len(asked["rows not allocated yet (2 hours)"]()) > 0
    assert len(asked["sums by team of a month, from lines"]()) == 20
    engine.dispose()


def test_the_table_has_a_column_for_each_case_and_a_line_for_each_question() -> None:
    found = {"closing": 0.5, "the 20 latest rows": 0.0004, "lines": 1234, "bytes": 2_500_000_000}
    results = [{"kind": kind, "rows": rows, "found": found} for kind in ("postgresql", "sqlite") for rows in (100, 10)]
    assert ledger.table(results).splitlines() == [
        "| | SQLite 10 | SQLite 100 | PostgreSQL 10 | PostgreSQL 100 |",
        "|---|---:|---:|---:|---:|",
        "| sums of all hours" + " | 0.50 s" * 4 + " |",
        "| the 20 latest rows" + " | 0.40 ms" * 4 + " |",
        "| sums of hours (`cost_lines`)" + " | 1,234" * 4 + " |",
        "| size of the database" + " | 2.50 GB" * 4 + " |",
    ]
