"""Hours are closed once they have ended, with everything that came in time; and again for what came late."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.costs.closing import SETTLE_S, close, closing, provisional
from gateway.costs.fleet import Engine
from gateway.settings.gpu_price import GpuPrice
from gateway.settings.profile import A10G
from gateway.stores import retention
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.cost_lines import HOUR_S
from tests.gateway.builders import settled

FIRST = 490_000
T = float(FIRST * HOUR_S)
PRICE = GpuPrice(usd_per_gpu_hour=Decimal(2), gpus=2)
RENTED = {"r": ("main", PRICE)}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    yield made
    made.costs._engine.dispose()


def _ask(stores: Stores, request_id: str, at: float, took: float, **changes: Any) -> None:
    row = settled(request_id, started_at=T + at, duration_s=took, **{"replica": "r", **changes})
    stores.ledger.insert([row])


def _gpu(stores: Stores, request_id: str) -> tuple[Any, Any]:
    found = stores.ledger.find(request_id)
    assert found is not None
    return found["gpu_cost"], found["gpu_method"]


def test_an_hour_is_closed_once_its_rows_have_had_time_to_come(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    assert close(stores, T + HOUR_S + SETTLE_S - 1) == []
    (book,) = close(stores, T + HOUR_S + SETTLE_S)
    assert (book.replica, book.hour, book.cost, book.idle_nano) == ("r", FIRST, 4, 4 * 10**9)
    assert close(stores, T + HOUR_S + SETTLE_S) == []


def test_idle_hours_cost_as_much(stores: Stores) -> None:
    stores.rentals.declare("g", T - 1800, RENTED)
    stores.rentals.declare("g", T + 2.5 * HOUR_S, {})
    assert [book.cost for book in close(stores, T + 9 * HOUR_S)] == [2, 4, 4, 2]
    (line,) = stores.costs.lines(("team",))
    assert (line.group, line.allocated, line.loaded, line.requests) == ({"team": "__idle__"}, 12, 12, 0)


def test_a_rental_inside_of_an_hour_costs_its_minutes(stores: Stores) -> None:
    stores.rentals.declare("g", T + 600, RENTED)
    stores.rentals.declare("g", T + 960, {})
    (book,) = close(stores, T + 9 * HOUR_S)
    assert (book.cost, book.paid_us) == (Decimal("0.4"), 360 * 10**6)


def test_a_step_of_a_schedule_counts_from_its_moment(stores: Stores) -> None:
    steps = [{"from": "2025-11-24T16:15:00+00:00", "usd_per_gpu_hour": "4"}]
    price = GpuPrice.model_validate({"usd_per_gpu_hour": "2", "schedule": steps})
    stores.rentals.declare("g", T, {"r": ("main", price)})
    first, second = close(stores, T + 2 * HOUR_S + SETTLE_S)
    assert (first.cost, second.cost) == (Decimal("3.5"), 4)


def test_a_request_over_the_turn_of_the_hour_has_its_money_in_both(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "over", 2700, 1800.0)
    close(stores, T + HOUR_S + SETTLE_S)
    assert _gpu(stores, "over") == (1, "averaged")
    close(stores, T + 2 * HOUR_S + SETTLE_S)
    assert _gpu(stores, "over") == (2, "averaged")
    lines = {line.group["hour"][-6:-4]: line for line in stores.costs.lines(("hour", "team"), where={"team": "search"})}
    assert [(line.requests, line.allocated) for _, line in sorted(lines.items())] == [(1, 1), (0, 1)]


def test_a_row_that_comes_late_has_every_hour_that_it_reaches_closed_again(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "early", 0, 2 * 3600.0)
    close(stores, T + 3 * HOUR_S + SETTLE_S)
    assert _gpu(stores, "early") == (8, "averaged")
    _ask(stores, "late", 1800, 3600.0)
    books = close(stores, T + 3 * HOUR_S + SETTLE_S)
    assert [(book.hour - FIRST, book.revision, book.cost) for book in books] == [(0, 2, 4), (1, 2, 4)]
    assert [book.revision for book in stores.costs.hours()] == [2, 2, 1]
    early, late = _gpu(stores, "early")[0], _gpu(stores, "late")[0]
    assert early + late == 8
    assert 0 < late < 4


def test_a_failed_attempt_elsewhere_has_that_replica_closed_again(stores: Stores) -> None:
    stores.rentals.declare("g", T, {**RENTED, "s": ("main", PRICE)})
    close(stores, T + HOUR_S + SETTLE_S)
    _ask(stores, "late", 0, 900.0, dispatched_s=360.0, tries='[["s", 0.0, 360.0]]')
    close(stores, T + HOUR_S + SETTLE_S)
    found = {(book.replica, book.revision): book for book in stores.costs.hours()}
    assert found["s", 2].overhead_nano == 4 * 10**8
    assert found["r", 2].allocated_nano == 6 * 10**8
    assert _gpu(stores, "late") == (Decimal("0.6"), "averaged")


def test_a_row_that_comes_while_hours_are_closed_is_not_lost(stores: Stores) -> None:
    stores.rentals.declare("g", T, {**RENTED, "q": ("main", PRICE)})
    now = T + HOUR_S + SETTLE_S
    due = closing(stores, now)
    assert next(due).replica == "q"
    _ask(stores, "now", 0, 900.0, dispatched_s=360.0, tries='[["q", 0.0, 360.0]]')
    _ask(stores, "any", 0, 0.0, replica="r")
    assert [book.replica for book in due] == ["r"]
    close(stores, now)
    found = {book.replica: book for book in stores.costs.hours()}
    assert found["q"].overhead_nano == 4 * 10**8
    assert sum(line.requests for line in stores.costs.lines(("team",))) == 2


def test_two_closers_at_once_close_each_hour_once(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "over", 2700, 1800.0)
    now = T + 3 * HOUR_S + SETTLE_S
    one, other = closing(stores, now), closing(stores, now)
    done = [next(one), next(other)]
    for closer in (one, other, one, other, one, other):
        done += [book for book in [next(closer, None)] if book is not None]
    close(stores, now)
    assert [(book.hour - FIRST, book.cost) for book in stores.costs.hours()] == [(0, 4), (1, 4), (2, 4)]
    assert _gpu(stores, "over") == (2, "averaged")
    assert sum(line.requests for line in stores.costs.lines(("team",))) == 1


def test_a_missing_price_is_unknown_and_never_zero(stores: Stores) -> None:
    _ask(stores, "free", 0, 60.0)
    _ask(stores, "refused", 0, 60.0, outcome="invalid_request", input_tokens=None, output_tokens=None)
    close(stores, T + 2 * HOUR_S, {"r": Engine("main")})
    assert _gpu(stores, "free") == (None, "none")
    assert _gpu(stores, "refused") == (0, "absent")
    (line,) = stores.costs.lines(("pool",))
    assert (line.group, line.requests, line.unallocated) == ({"pool": "main"}, 2, 1)


def test_a_replicas_own_step_model_counts(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "long", 0, 60.0, input_tokens=9000, output_tokens=1)
    _ask(stores, "short", 0, 60.0, input_tokens=10, output_tokens=1)
    (book,) = close(stores, T + HOUR_S + SETTLE_S, {"r": Engine("main", PRICE, A10G)})
    assert book.step_model == A10G.name


def test_today_is_shown_before_it_is_closed(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "now", 0, 900.0)
    books = provisional(stores, T + 1800)
    (book,) = (each.book for each in books)
    assert (book.cost, book.allocated_nano, book.idle_nano) == (2, 10**9, 10**9)
    found = {line.group["team"]: line.allocated for line in stores.costs.lines(("team",), books=books)}
    assert found == {"search": 1, "__idle__": 1}
    assert stores.costs.hours() == []
    assert stores.costs.lines(())[0].unallocated == 1


def test_rows_that_come_after_their_month_was_folded_are_added(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    stores.rentals.declare("g", T + 2 * HOUR_S, {})
    _ask(stores, "old", 0, 900.0, cost="1")
    close(stores, T + 3 * HOUR_S)
    assert retention.fold(stores.database, FIRST + 40 * 24).rows == 1
    _ask(stores, "late", 60, 900.0, cost="2")
    stores.rentals.declare("g", T + HOUR_S + 60, {"r": ("main", GpuPrice(usd_per_gpu_hour=Decimal(9)))})
    stores.rentals.declare("g", T + HOUR_S + 61, {})
    for _ in range(2):
        guess = stores.costs.lines(("team",), books=provisional(stores, T + 3 * HOUR_S))
        assert {line.group["team"]: (line.requests, line.list_cost, line.allocated) for line in guess} == {
            "search": (2, 3, 1),
            "__idle__": (0, None, 7),
        }
        close(stores, T + 3 * HOUR_S)
    assert _gpu(stores, "late") == (None, "none")
    assert {book.cost for book in stores.costs.hours()} == {4}
    assert retention.fold(stores.database, FIRST + 40 * 24).rows == 1
    assert sum(line.requests for line in stores.costs.lines(("team",))) == 2


def test_what_was_worked_out_before_a_fold_is_not_written_after_it(stores: Stores) -> None:
    later = retention.month_after(FIRST)
    stores.rentals.declare("g", T, RENTED)
    stores.rentals.declare("g", T + HOUR_S, {})
    stores.rentals.declare("g", float(later * HOUR_S), RENTED)
    close(stores, T + HOUR_S + SETTLE_S)
    closed = provisional(stores, later * HOUR_S + 60.0)
    assert retention.fold(stores.database, later).hours == 1
    assert [stores.costs.write(each) for each in closed] == [False]


def test_an_hour_that_somebody_closes_during_a_report_counts_once(stores: Stores) -> None:
    stores.rentals.declare("g", T, RENTED)
    _ask(stores, "tg-1", 10.0, 60.0, cost="1.5", dispatched_s=0.0)
    now = T + HOUR_S + SETTLE_S
    books = provisional(stores, now)
    before = stores.costs.lines(("team",), until=T + HOUR_S, books=books)
    assert close(stores, now)
    assert stores.costs.lines(("team",), until=T + HOUR_S, books=books) == before
    assert sum(line.allocated for line in before) == 4
