"""What engines counted long ago is kept for fewer moments, and what it grew by stays the same."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from gateway.costs.reconcile import pieces
from gateway.stores.counters import Counters, Snapshot
from gateway.stores.database import COST_LINES, ENGINE_COUNTERS
from gateway.stores.retention import EVERY_MINUTE_DAYS, fold, thin

DAY_S, HOUR_S = 86_400.0, 3600.0
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
OLD = NOW - EVERY_MINUTE_DAYS * DAY_S
"""A whole hour."""


def _count(engine: sa.Engine, moments: Sequence[float], replica: str = "r", started_at: float | None = 1.0) -> None:
    """Counters that grow by one token a second."""
    rows = [
        {"replica": replica, "at": at, "started_at": started_at, "prompt_tokens": int(at), "generation_tokens": int(at)}
        for at in moments
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(ENGINE_COUNTERS), rows)


def _left(engine: sa.Engine, replica: str = "r") -> list[float]:
    return [each.at for each in Counters(engine).snapshots(None, None, replica)]


def test_what_was_counted_every_minute_is_kept_by_the_hour_after_a_while(engine: sa.Engine) -> None:
    minutes = [OLD - 3 * HOUR_S + 60.0 * at + 30.0 for at in range(240)]
    _count(engine, minutes)
    _count(engine, [OLD - 60.0, OLD - 30.0], "s")
    assert list(thin(engine, NOW)) == [3 * 59, 1]
    assert _left(engine) == [*minutes[0:180:60], *minutes[180:]]
    assert _left(engine, "s") == [OLD - 60.0]
    assert list(thin(engine, NOW)) == [0, 0], "again changes nothing"


def test_what_a_counter_grew_by_is_the_same(engine: sa.Engine) -> None:
    _count(engine, [OLD + 97.0 * at for at in range(-400, 50)])
    counters = Counters(engine)
    (before,) = pieces(counters.snapshots(None, None), NOW).found
    assert sum(thin(engine, NOW)) > 0
    assert pieces(counters.snapshots(None, None), NOW).found == [before]


def test_each_process_of_an_engine_keeps_one_of_its_own(engine: sa.Engine) -> None:
    _count(engine, [OLD - 3000.0, OLD - 2900.0], started_at=1.0)
    _count(engine, [OLD - 2800.0, OLD - 2700.0], started_at=2.0)
    _count(engine, [OLD - 2600.0, OLD - 2500.0], started_at=None)
    assert list(thin(engine, NOW)) == [3]
    assert _left(engine) == [OLD - 3000.0, OLD - 2800.0, OLD - 2600.0]


def test_of_folded_months_a_snapshot_a_day_is_kept(engine: sa.Engine) -> None:
    texts = [column.name for column in COST_LINES.columns if isinstance(column.type, sa.Text)]
    line = {column.name: 0 for column in COST_LINES.columns} | dict.fromkeys(texts, "")
    august = datetime(2026, 8, 31, tzinfo=UTC).timestamp()
    with engine.begin() as connection:
        connection.execute(sa.insert(COST_LINES), [{**line, "grain": "hour", "start": int(august // HOUR_S)}])
    _count(engine, [august + HOUR_S * at for at in range(48)])
    fold(engine, int(OLD // HOUR_S))
    assert list(thin(engine, NOW)) == [23]
    assert _left(engine) == [august, *(august + HOUR_S * at for at in range(24, 48))]


def test_snapshots_of_now_are_all_kept(engine: sa.Engine) -> None:
    one = Snapshot("r", NOW, 1.0, 10, 2, 5)
    assert Counters(engine).add(one, 30.0)
    assert list(thin(engine, NOW)) == [0]
    assert Counters(engine).snapshots(None, None) == [one]
