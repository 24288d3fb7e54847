"""Books are written whole or not at all, and by one at a time."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.costs.closing import close
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.cost_lines import HOUR_S
from gateway.stores.costs import ClosedHour, ReplicaHour
from gateway.stores.database import COST_LINES
from tests.gateway.builders import settled

FIRST = 490_000
T = float(FIRST * HOUR_S)
PRICE = GpuPrice(usd_per_gpu_hour=Decimal(2), gpus=2)


@pytest.fixture
def stores(url: str) -> Iterator[Stores]:
    made = open_stores(url)
    yield made
    made.costs._engine.dispose()


def _closed(revision: int, seen: int, **changes: Any) -> ClosedHour:
    values = dict.fromkeys(ReplicaHour.__slots__, 0)
    texts = {"replica": "r", "pool": "main", "step_model": "m"}
    book = ReplicaHour(**{**values, **texts, "hour": FIRST, "closed_at": 1.0, "revision": revision, **changes})  # type: ignore[arg-type]
    return ClosedHour(book, [], [], {("r", FIRST): seen})


def test_whoever_comes_second_writes_nothing(stores: Stores) -> None:
    assert stores.costs.write(_closed(1, 0, idle_nano=1))
    assert not stores.costs.write(_closed(1, 0, idle_nano=2))
    assert [book.idle_nano for book in stores.costs.hours()] == [1]
    assert stores.costs.write(_closed(2, 1, idle_nano=3))
    assert [(book.idle_nano, book.revision) for book in stores.costs.hours()] == [(3, 2)]


def test_a_neighbour_that_was_closed_meanwhile_counts_too(stores: Stores) -> None:
    assert stores.costs.write(_closed(1, 0, hour=FIRST + 1)._replace(seen={("r", FIRST + 1): 0}))
    other = _closed(1, 0)._replace(seen={("r", FIRST): 0, ("r", FIRST + 1): 0})
    assert not stores.costs.write(other)
    assert stores.costs.write(other._replace(seen={("r", FIRST): 0, ("r", FIRST + 1): 1}))


def test_hours_without_books_are_missing(stores: Stores) -> None:
    assert stores.costs.missing("r", FIRST, FIRST + 3) == [FIRST, FIRST + 1, FIRST + 2]
    stores.costs.write(_closed(1, 0))
    assert stores.costs.missing("r", FIRST, FIRST + 3) == [FIRST + 1, FIRST + 2]
    assert stores.costs.missing("r", FIRST, FIRST + 1) == []


def test_what_is_marked_is_unclosed_and_what_has_no_books_cannot_be(stores: Stores) -> None:
    stores.costs.write(_closed(1, 0))
    assert stores.costs.unclosed(FIRST + 1) == set()
    stores.costs.mark([("r", FIRST), ("r", FIRST + 1)])
    assert stores.costs.unclosed(FIRST + 2) == {("r", FIRST)}
    assert stores.costs.unclosed(FIRST) == set()


def test_hours_are_cut_and_in_order_and_show_replicas_alone(stores: Stores) -> None:
    stores.ledger.insert([settled("nobody", started_at=T, replica=None)])
    stores.rentals.declare("g", T, {"b": ("main", PRICE), "a": ("main", PRICE)})
    close(stores, T + 3 * HOUR_S, settle_s=0)
    assert [(book.replica, book.hour - FIRST) for book in stores.costs.hours(FIRST + 1, FIRST + 3)] == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip
    assert {book.cost for book in stores.costs.hours()} == {Decimal(4)}


def test_rows_are_read_with_those_that_reach_into_the_hour(stores: Stores) -> None:
    stores.ledger.insert(
        [
            settled("before", started_at=T - 10, duration_s=20.0, replica="r"),
            settled("at", started_at=T, duration_s=1.0, replica="r", tries='[["s", 0.0, 0.5]]'),
            settled("other", started_at=T + 1, duration_s=4000.0, replica="s"),
            settled("after", started_at=T + HOUR_S, replica="r"),
        ]
    )
    costs = stores.costs
    assert [row.request_id for row in costs.rows(FIRST, ["r"])] == ["at"]
    assert [row.request_id for row in costs.rows(FIRST, ["r", "s"])] == ["at", "other"]
    assert [row.request_id for row in costs.carried(FIRST)] == ["before"]
    assert [row.request_id for row in costs.retried(FIRST)] == ["at"]
    assert {row.request_id for row in costs.reaching(FIRST + 1)} == {"before", "at", "other"}
    places = {("r", FIRST - 1), ("r", FIRST), ("s", FIRST)}
    assert costs.unclosed(FIRST + 1) == places


def test_hours_that_were_put_together_are_over(stores: Stores) -> None:
    assert stores.costs.summed_until() == 0
    stores.ledger.insert([settled("a", started_at=T)])
    close(stores, T + 2 * HOUR_S)
    with stores.costs._engine.begin() as connection:
        connection.execute(COST_LINES.update().values(grain="month"))
    december = 1_764_547_200 // HOUR_S
    assert stores.costs.summed_until() == december
    assert stores.costs.stored(("", FIRST)) == []


def test_an_update_that_fails_leaves_everything_as_it_was(stores: Stores) -> None:
    stores.costs.write(_closed(1, 0))
    broken = _closed(2, 1)._replace(lines=[("hour", FIRST)])
    with pytest.raises(sa.exc.DatabaseError):
        stores.costs.write(broken)
    assert [book.revision for book in stores.costs.hours()] == [1]
