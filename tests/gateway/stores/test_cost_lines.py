"""Sums are exact, what is unknown is counted as unknown, and rows count before their hour is closed and after."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.errors import InputError
from gateway.costs.closing import close, provisional
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.cost_lines import DIMENSIONS, HOUR_S, CostLine, next_month
from tests.gateway.builders import NOW, settled
from tests.gateway.stores.conftest import KINDS

DAY_S = 86_400.0
COSTS = st.none() | st.decimals(0, 10_000, places=9).map(lambda cost: format(cost, "f"))
COUNTS = st.none() | st.integers(0, 10**12)


@pytest.fixture
def stores(url: str) -> Iterator[Stores]:
    made = open_stores(url)
    yield made
    made.costs._engine.dispose()


@pytest.fixture(scope="module", params=KINDS)
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stores]:
    made = open_stores(
        f"sqlite:///{tmp_path_factory.mktemp('ledger') / 't.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").url()
    )
    yield made
    made.costs._engine.dispose()


def _total(stores: Stores) -> CostLine:
    (line,) = stores.costs.lines(())
    return line


def test_an_empty_ledger_sums_to_nothing(stores: Stores) -> None:
    stores.ledger.insert([])
    assert _total(stores) == CostLine({}, 0, 0, 0, 0, 0, None, None, *[Decimal(0)] * 5, 0, 0, 0, 0)
    assert stores.costs.lines(("team",)) == []


def test_law_4_a_million_tenths_are_exact(stores: Stores) -> None:
    stores.ledger.insert([settled(f"tg-{n}", cost="0.100000001") for n in range(1_000)])
    assert _total(stores).list_cost == Decimal("100.000001000")


EACH = st.tuples(st.sampled_from(["a", "b", "c"]), COSTS, COUNTS, COUNTS, COUNTS)


@settings(deadline=None)
@given(made=st.lists(EACH, max_size=12))
def test_law_4_groups_add_up_to_the_whole(shared: Stores, made: list[tuple[str, str | None, int, int, int]]) -> None:
    model = f"model-{_total(shared).requests}"
    ours: dict[str, list[tuple[str | None, int | None]]] = defaultdict(list)
    for at, (team, cost, prompt, cached, output) in enumerate(made):
        counts = {"input_tokens": prompt, "cached_tokens": cached, "output_tokens": output}
        shared.ledger.insert([settled(f"{model}/{at}", team=team, model=model, cost=cost, **counts)])
        ours[team].append((cost, prompt))
    lines = {line.group["team"]: line for line in shared.costs.lines(("team", "model")) if line.group["model"] == model}
    assert lines.keys() == ours.keys()
    for team, rows in ours.items():
        line, costs = lines[team], [Decimal(cost) for cost, _ in rows if cost is not None]
        assert line.requests == len(rows)
        assert line.list_cost == (sum(costs) if costs else None)
        assert (line.unpriced, line.unmetered) == (len(rows) - len(costs), sum(count is None for _, count in rows))
        assert line.input_tokens == sum(count or 0 for _, count in rows)


GROUPS = {
    "key": ("key_id", "k1", "k2"),
    "team": ("team", "t1", "t2"),
    "model": ("model", "m1", "m2"),
    "release": ("release", "m@1", "m@2"),
    "purpose": ("purpose", "evaluate", "serve"),
    "outcome": ("outcome", "completed", "client_closed"),
    "replica": ("replica", "r1", None),
    "currency": ("currency", "EUR", "USD"),
    "region": ("region", "BR-SP", None),
    "tag:unit": ("tags", '{"unit":"faq"}', '{"team":"x"}'),
}


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("by", GROUPS)
def test_costs_are_grouped_by(stores: Stores, by: str, closed: bool) -> None:
    field, dear, cheap = GROUPS[by]
    made = [settled(f"tg-{n}", cost=str(n), **{field: dear if n > 1 else cheap}) for n in range(4)]
    stores.ledger.insert(made)
    if closed:
        close(stores, NOW + 9 * HOUR_S)
    dear, cheap = ("faq", None) if by.startswith("tag:") else (dear, cheap)
    expected = [({by: dear}, 2, Decimal(5)), ({by: cheap or "none"}, 2, Decimal(1))]
    lines = stores.costs.lines((by,))
    assert [(line.group, line.requests, line.list_cost) for line in lines] == expected
    lines = stores.costs.lines((by,), books=provisional(stores, NOW))
    assert [(line.group, line.requests, line.list_cost) for line in lines] == expected
    (line,) = stores.costs.lines((), where={by: dear})
    assert (line.requests, line.list_cost) == (2, Decimal(5))


def test_amounts_in_two_currencies_do_not_add_up(stores: Stores) -> None:
    stores.ledger.insert([settled("tg-1", cost="1", currency="EUR"), settled("tg-2", cost="2", currency="USD")])
    stores.ledger.insert([settled("tg-3", cost=None, currency="GBP")])
    assert (_total(stores).list_cost, _total(stores).currency, _total(stores).unpriced) == (None, None, 1)
    assert {line.currency: line.list_cost for line in stores.costs.lines(("currency",))} == {
        "EUR": 1,
        "USD": 2,
        None: None,
    }


def test_every_dimension_is_tried_here() -> None:
    assert set(GROUPS) - {"tag:unit"} | {"day", "hour", "month", "pool", "method"} == set(DIMENSIONS)


def test_days_are_utc_and_begin_at_midnight(stores: Stores) -> None:
    midnight = NOW - NOW % DAY_S
    stores.ledger.insert(
        [settled(f"tg-{at}", started_at=midnight + at, cost="1") for at in (-0.001, 0.0, DAY_S - 0.001)]
    )
    days = {line.group["day"]: line.requests for line in stores.costs.lines(("day",))}
    assert days == {"2026-11-21": 1, "2026-11-22": 2}


def test_times_are_made_wider_to_whole_hours(stores: Stores) -> None:
    hour = NOW - NOW % HOUR_S
    stores.ledger.insert([settled(f"tg-{at}", started_at=hour + at * 1800) for at in range(8)])
    for _ in range(2):
        (line,) = stores.costs.lines((), since=hour + 3700, until=hour + 7300)
        assert line.requests == 4
        assert {line.group["hour"] for line in stores.costs.lines(("hour",), since=hour, until=hour + 1)} == {
            "2026-11-22T12:00Z"
        }
        close(stores, hour + 99 * HOUR_S)


def test_the_pool_of_a_row_is_that_of_its_replicas_rental(stores: Stores) -> None:
    stores.rentals.declare("g", NOW - 9, {"r": ("big", GpuPrice(usd_per_gpu_hour=Decimal(2)))})
    stores.ledger.insert([settled("a", replica="r"), settled("b", replica="other")])
    assert {line.group["pool"]: line.requests for line in stores.costs.lines(("pool",))} == {"big": 1, "none": 1}
    close(stores, NOW + 2 * HOUR_S)
    found = {line.group["pool"]: line.requests for line in stores.costs.lines(("pool",))}
    assert found == {"big": 1, "none": 1}


def test_methods_say_what_is_open_and_what_has_no_price(stores: Stores) -> None:
    stores.rentals.declare("g", NOW - 9, {"r": ("big", GpuPrice(usd_per_gpu_hour=Decimal(2)))})
    made = [settled("a", replica="r", duration_s=3.0), settled("b", replica="other"), settled("c", replica=None)]
    stores.ledger.insert(made)
    (line,) = stores.costs.lines(("method",))
    assert (line.group, line.requests, line.unallocated) == ({"method": "unallocated"}, 3, 3)
    close(stores, NOW + 2 * HOUR_S)
    found = {line.group["method"]: (line.requests, line.unallocated) for line in stores.costs.lines(("method",))}
    assert found == {"averaged": (1, 0), "none": (1, 1), "absent": (1, 0)}
    (total,) = stores.costs.lines(())
    assert total.unallocated == 1


def test_months_are_utc(stores: Stores) -> None:
    for day in ("2026-11-30T23:59:59", "2026-12-01T00:00:00"):
        stores.ledger.insert([settled(day, started_at=datetime.fromisoformat(f"{day}+00:00").timestamp())])
    months = {line.group["month"]: line.requests for line in stores.costs.lines(("month",))}
    assert months == {"2026-11": 1, "2026-12": 1}


@pytest.mark.parametrize(("day", "after"), [("2026-11-22", "2026-12-01"), ("2026-12-31", "2027-01-01")])
def test_the_month_after(day: str, after: str) -> None:
    first, second = (int(datetime.fromisoformat(f"{each}T00:00+00:00").timestamp() // 3600) for each in (day, after))
    assert next_month(first) == second


@pytest.mark.parametrize("name", ["nobody", "tag:", ""])
def test_what_nothing_is_grouped_by_is_refused(stores: Stores, name: str) -> None:
    with pytest.raises(InputError, match="expected one of key, team"):
        stores.costs.lines((name,))


def test_law_5_a_group_without_prices_costs_none_and_not_zero(stores: Stores) -> None:
    stores.ledger.insert([settled("a", team="free"), settled("b", team="paid", cost="0"), settled("c", team="paid")])
    lines = {line.group["team"]: line for line in stores.costs.lines(("team",))}
    assert (lines["free"].list_cost, lines["free"].unpriced) == (None, 1)
    assert (lines["paid"].list_cost, lines["paid"].unpriced) == (Decimal(0), 1)


def test_a_cache_that_the_engine_does_not_report_is_unknown(stores: Stores) -> None:
    stores.ledger.insert([settled("a"), settled("b", cached_tokens=0), settled("c", cached_tokens=2)])
    assert (_total(stores).cached_tokens, _total(stores).cached_unknown) == (2, 1)


def test_unknown_tokens_are_unmetered(stores: Stores) -> None:
    stores.ledger.insert([settled("a"), settled("b", input_tokens=None, output_tokens=None)])
    assert (_total(stores).unmetered, _total(stores).input_tokens) == (1, 3)


def test_several_dimensions_at_once(stores: Stores) -> None:
    stores.ledger.insert([settled("a", team="t", model="m", cost="1"), settled("b", team="t", model="n", cost="2")])
    assert [line.group for line in stores.costs.lines(("team", "model"))] == [
        {"team": "t", "model": "n"},
        {"team": "t", "model": "m"},
    ]
