"""Rentals begin and end with declarations, exactly, on whatever clock."""

import logging
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.costs.closing import close
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import RENTALS
from gateway.stores.dialects import exclusively
from gateway.stores.rentals import Rentals

HOUR_S = 3600
T = 490_000.0 * HOUR_S


@pytest.fixture
def stores(url: str) -> Iterator[Stores]:
    made = open_stores(url)
    yield made
    made.rentals._engine.dispose()


@pytest.fixture
def rentals(stores: Stores) -> Rentals:
    return stores.rentals


def _price(usd: str = "2", **changes: Any) -> GpuPrice:
    return GpuPrice.model_validate({"usd_per_gpu_hour": usd, **changes})


def _spans(rentals: Rentals, replica: str = "r") -> list[tuple[float, float | None, Decimal]]:
    found = rentals.all().get(replica, [])
    return [(each.since - T, None if each.until is None else each.until - T, each.usd_per_hour) for each in found]


def test_a_replica_at_the_same_price_goes_on(rentals: Rentals) -> None:
    rentals.declare("g", T, {"r": ("main", _price("2.5", gpus=2))})
    rentals.declare("g", T + 5, {"r": ("main", _price("2.50", gpus=2))})
    assert _spans(rentals) == [(0, None, Decimal(5))]


def test_another_price_begins_another_rental(rentals: Rentals) -> None:
    for at, usd in enumerate(("2", "3", "3")):
        rentals.declare("g", T + at, {"r": ("main", _price(usd))})
    assert _spans(rentals) == [(0, 1, Decimal(2)), (1, None, Decimal(3))]


def test_another_pool_and_another_number_of_gpus_do_too(rentals: Rentals) -> None:
    rentals.declare("g", T, {"r": ("main", _price())})
    rentals.declare("g", T + 1, {"r": ("other", _price())})
    rentals.declare("g", T + 2, {"r": ("other", _price(gpus=4))})
    assert [(each.pool, each.gpus) for each in rentals.all()["r"]] == [("main", 1), ("other", 1), ("other", 4)]


def test_one_that_is_named_no_more_is_paid_for_no_more(rentals: Rentals) -> None:
    rentals.declare("g", T, {"r": ("main", _price()), "s": ("main", _price())})
    rentals.declare("g", T + 9, {"s": ("main", _price())})
    rentals.declare("g", T + 20, {"r": ("main", _price()), "s": ("main", _price())})
    assert _spans(rentals) == [(0, 9, Decimal(2)), (20, None, Decimal(2))]
    assert _spans(rentals, "s") == [(0, None, Decimal(2))]


def test_a_schedule_is_written_down_with_its_moments(rentals: Rentals) -> None:
    steps = [{"from": "2026-11-25T00:00:00+00:00", "usd_per_gpu_hour": "1"}]
    at = 1_795_564_800.0
    scheduled = _price("2", schedule=steps)
    rentals.declare("g", T, {"r": ("main", scheduled)})
    assert _spans(rentals) == [(0, at - T, Decimal(2)), (at - T, None, Decimal(1))]
    for now in (T + 1, at - 1, at, at + 9):
        rentals.declare("g", now, {"r": ("main", scheduled)})
        assert len(_spans(rentals)) == 2
    rentals.declare("g", at + 10, {"r": ("main", _price("1"))})
    assert _spans(rentals) == [(0, at - T, Decimal(2)), (at - T, None, Decimal(1))]


def test_a_schedule_that_is_called_off_never_counts(rentals: Rentals) -> None:
    steps = [{"from": "2027-01-01T00:00:00+00:00", "usd_per_gpu_hour": "1"}]
    rentals.declare("g", T, {"r": ("main", _price("2", schedule=steps))})
    rentals.declare("g", T + 1, {"r": ("main", _price("2"))})
    assert _spans(rentals) == [(0, None, Decimal(2))]
    rentals.declare("g", T + 2, {"r": ("main", _price("2", schedule=steps))})
    rentals.declare("g", T + 3, {})
    assert _spans(rentals) == [(0, 3, Decimal(2))]


def test_two_gateways_with_two_prices_are_told_and_the_last_one_counts(
    rentals: Rentals, caplog: pytest.LogCaptureFixture
) -> None:
    rentals.declare("one", T, {"r": ("main", _price("2")), "s": ("main", _price("2"))})
    (conflict,) = rentals.declare("two", T + 5, {"r": ("main", _price("3")), "s": ("main", _price("2"))})
    assert _spans(rentals) == [(0, 5, Decimal(2)), (5, None, Decimal(3))]
    assert rentals.conflicts() == [conflict]
    assert (conflict.replica, conflict.at, conflict.before.gateway, conflict.after.gateway) == (
        "r",
        T + 5,
        "one",
        "two",
    )
    assert rentals.conflicts(T + 6) == []
    assert "2 USD an hour, declared by 'one'" in caplog.text
    assert "3 USD an hour, declared by 'two'" in caplog.text
    assert rentals.declare("two", T + 6, {"r": ("main", _price("4")), "s": ("main", _price("2"))}) == []


def test_a_gateway_that_ends_what_another_declared_says_so(rentals: Rentals, caplog: pytest.LogCaptureFixture) -> None:
    rentals.declare("one", T, {"r": ("main", _price())})
    with caplog.at_level(logging.WARNING, "tollgate"):
        rentals.declare("two", T + 1, {})
    assert "'r' is paid for no more, says 'two'" in caplog.text


def test_nothing_is_written_when_nothing_changes(rentals: Rentals) -> None:
    rentals.declare("g", T, {"r": ("main", _price())})
    with rentals._engine.begin() as holder:
        exclusively(holder)
        rentals.declare("g", T + 1, {"r": ("main", _price())})


def test_a_price_that_changes_in_the_past_has_its_hours_closed_again(stores: Stores) -> None:
    stores.rentals.declare("g", T, {"r": ("main", _price("2"))})
    close(stores, T + 4 * HOUR_S, settle_s=0)
    stores.rentals.declare("g", T + 2.5 * HOUR_S, {"r": ("main", _price("4"))})  # its clock was an hour ahead
    close(stores, T + 4 * HOUR_S, settle_s=0)
    assert [(book.cost, book.revision) for book in stores.costs.hours()] == [(2, 1), (2, 1), (3, 2), (4, 2)]


MOMENTS = st.integers(-5, 5) | st.integers(-5120, 5120).map(lambda each: each / 1024)


@settings(deadline=None)
@given(
    told=st.lists(st.tuples(MOMENTS, st.sampled_from([None, "1", "2", "scheduled"]), st.sampled_from("ab")), max_size=8)
)
def test_no_rental_is_negative_and_none_overlaps_on_any_clock(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[float, str | None, str]]
) -> None:
    rentals = _shared(tmp_path_factory)
    step = [{"from": "2025-11-24T16:00:02+00:00", "usd_per_gpu_hour": "3"}]
    for at, price, gateway in told:
        made = _price("2", schedule=step) if price == "scheduled" else _price(price or "1")
        rentals.declare(gateway, T + at, {} if price is None else {"r": ("main", made)})
        spans = _spans(rentals)
        assert all(until is None or since < until for since, until, _ in spans)
        assert all(before[1] is not None and before[1] <= after[0] for before, after in pairwise(spans))
        now = [usd for since, until, usd in spans if since <= at and (until is None or at < until)]
        scheduled = Decimal(3) if T + at >= 1_764_000_002 else Decimal(2)
        assert now == ([] if price is None else [scheduled if price == "scheduled" else Decimal(price)])
        assert price is not None or all(until is not None for _, until, _ in spans)


_MADE: list[Rentals] = []


def _shared(factory: pytest.TempPathFactory) -> Rentals:
    if not _MADE:
        _MADE.append(open_stores(f"sqlite:///{factory.mktemp('rentals') / 't.db'}").rentals)
    with _MADE[0]._engine.begin() as connection:
        connection.execute(RENTALS.delete())
    return _MADE[0]
