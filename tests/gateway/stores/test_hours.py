"""Hours of a replica without books."""

import pytest
import sqlalchemy as sa

from gateway.stores.cost_lines import STALE
from gateway.stores.database import REPLICA_HOURS
from gateway.stores.hours import without_books


def _close(engine: sa.Engine, replica: str, closed: dict[int, float]) -> None:
    zeros = ("paid_us", "busy_us", "cost_nano", "allocated_nano", "overhead_nano", "idle_nano", "requests")
    book = {**dict.fromkeys(zeros, 0), "replica": replica, "pool": "p", "step_model": "x", "revision": 1}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(REPLICA_HOURS), [{**book, "hour": hour, "closed_at": at} for hour, at in closed.items()]
        )


@pytest.mark.parametrize(
    ("first", "last", "closed", "missing"),
    [
        (10, 13, False, []),
        (10, 13, True, [11]),
        (9, 15, False, [9, 13, 14]),
        (9, 15, True, [9, 11, 13, 14]),
        (12, 12, True, []),
        (15, 9, False, []),
    ],
)
def test_what_is_not_there_or_has_to_be_closed_again(
    engine: sa.Engine, first: int, last: int, closed: bool, missing: list[int]
) -> None:
    _close(engine, "a", {10: 1.0, 11: STALE, 12: 1.0})
    _close(engine, "b", {9: 1.0, 13: 1.0, 14: 1.0})
    with engine.connect() as connection:
        assert without_books(connection, "a", first, last, closed=closed) == missing
