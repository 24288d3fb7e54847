"""Whatever requests there were, and in whatever order their rows came: the books add up, and to the same."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.contracts.ledger import LedgerRow
from gateway.costs.closing import close, provisional
from gateway.settings.gpu_price import GpuPrice
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import COST_LINES, LEDGER, RENTALS, REPLICA_HOURS
from tests.drawing import often
from tests.gateway.builders import settled
from tests.gateway.stores.conftest import KINDS

HOUR_S = 3600
FIRST = 490_000
START = float(FIRST * HOUR_S)
HOURS = 4
END = START + HOURS * HOUR_S
MONEY = ("gpu_nano", "loaded_nano", "by_requests_nano", "by_tokens_nano", "by_weight_nano")


@pytest.fixture(scope="module", params=KINDS)
def stores(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stores]:
    made = open_stores(
        f"sqlite:///{tmp_path_factory.mktemp('closing') / 't.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").url()
    )
    yield made
    made.costs._engine.dispose()


MOMENTS = st.floats(0, HOURS * HOUR_S - 1, allow_nan=False)
TAKES = st.sampled_from([0.0, 0.4, 30.0, 1800.0, 5000.0])
COUNTS = st.none() | st.integers(0, 5000)
REPLICAS = st.sampled_from(["a", "b", "unpriced", None])


@st.composite
def rows(draw: st.DrawFn) -> LedgerRow:
    started, took = START + draw(MOMENTS), draw(TAKES)
    begun = draw(st.none() | st.floats(0, max(took, 0.001)))
    tries = draw(st.none() | st.lists(st.tuples(st.sampled_from("ab"), st.just(0.0), TAKES), min_size=1, max_size=2))
    fields: dict[str, Any] = {
        "started_at": started,
        "duration_s": took,
        "replica": draw(REPLICAS),
        "team": draw(st.sampled_from(["red", "blue"])),
        "outcome": draw(st.sampled_from(["completed", "client_closed", "invalid_request", "upstream_timeout"])),
        "stream": draw(st.booleans()),
        "first_byte_s": draw(st.none() | st.floats(0, 2000)),
        "dispatched_s": begun,
        "input_tokens": draw(COUNTS),
        "cached_tokens": draw(COUNTS),
        "output_tokens": draw(COUNTS),
        "engine_prefill_s": draw(st.none() | st.floats(0, 10)),
        "cost": draw(st.none() | st.integers(0, 10**9).map(lambda nano: format(Decimal(nano).scaleb(-9), "f"))),
        "tries": None if tries is None else json.dumps(tries),
    }
    return settled("-", **fields)


PRICES = st.tuples(
    st.sampled_from(["a", "b"]),
    st.floats(-1000, HOURS * HOUR_S),
    st.none() | st.integers(0, 10**10),
    st.integers(1, 8),
)


def _numbered(made: list[LedgerRow]) -> list[LedgerRow]:
    return [msgspec.structs.replace(row, request_id=f"tg-{at}") for at, row in enumerate(made)]


def _empty(stores: Stores) -> None:
    with stores.costs._engine.begin() as connection:
        for table in (LEDGER, RENTALS, REPLICA_HOURS, COST_LINES):
            connection.execute(table.delete())


def _rent(stores: Stores, prices: list[tuple[str, float, int | None, int]]) -> None:
    wanted: dict[str, tuple[str, GpuPrice]] = {}
    for replica, at, nano, gpus in sorted(prices, key=lambda each: each[1]):
        wanted.pop(replica, None)
        if nano is not None:
            price = GpuPrice(usd_per_gpu_hour=Decimal(nano).scaleb(-9), gpus=gpus)
            wanted[replica] = ("main", price)
        stores.rentals.declare("here", START + at, wanted)


def _all(stores: Stores, table: sa.Table) -> list[dict[str, Any]]:
    with stores.costs._engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]


def _books(stores: Stores, *, without: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], ...]:
    """Lines, books and rows as they stand."""
    found = (_all(stores, COST_LINES), _all(stores, REPLICA_HOURS), _all(stores, LEDGER))
    return tuple([{k: v for k, v in row.items() if k not in without} for row in each] for each in found)


def _hold(stores: Stores, made: list[LedgerRow]) -> None:
    """The books are those of these rows, to the last nano."""
    lines, hours, ledger = _books(stores)
    paid, split = Counter[tuple[str, int]](), {name: Counter[tuple[str, int]]() for name in MONEY}
    for book in hours:
        place = book["replica"], book["hour"]
        assert book["cost_nano"] == book["allocated_nano"] + book["overhead_nano"] + book["idle_nano"]
        assert 0 <= book["busy_us"] <= book["paid_us"] <= HOUR_S * 10**6
        paid[place] = book["cost_nano"]
    for line in lines:
        for name in MONEY:
            split[name][line["replica"], line["start"]] += line[name]
    for name in MONEY:
        assert +split[name] == +paid, name
    tenants = [line for line in lines if not line["team"].startswith("__")]
    assert sum(row["gpu_nano"] or 0 for row in ledger) == sum(line["gpu_nano"] for line in tenants)
    assert all(row["allocated_at"] is not None for row in ledger)
    assert {row["gpu_method"] for row in ledger if row["gpu_nano"] is None} <= {"none"}
    assert sum(line["requests"] for line in lines) == len(made)
    assert sum(line["input_tokens"] for line in lines) == sum(row.input_tokens or 0 for row in made)
    assert sum(line["list_nano"] for line in lines) == sum(int(Decimal(row.cost or 0).scaleb(9)) for row in made)
    expected = Decimal(0)
    for rentals in stores.rentals.all().values():
        for each in rentals:
            closed = END + HOUR_S
            seconds = Decimal(min(closed, each.until or closed)) - Decimal(each.since)
            expected += each.usd_per_hour * seconds / HOUR_S
    assert abs(Decimal(sum(paid.values())).scaleb(-9) - expected) < Decimal("0.000001")


LAWS = settings(
    deadline=None, max_examples=often(8, thorough=100), phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@LAWS
@given(st.lists(rows(), max_size=14), st.lists(PRICES, max_size=4), st.data())
def test_law_4_books_add_up_whatever_comes_late(
    stores: Stores, made: list[LedgerRow], prices: list[tuple[str, float, int | None, int]], data: st.DataObject
) -> None:
    _empty(stores)
    _rent(stores, prices)
    made = _numbered(made)
    order = data.draw(st.permutations(made))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=3)))
    now = END
    for since, until in zip([0, *cuts], [*cuts, len(made)], strict=True):
        stores.ledger.insert(order[since:until])
        _once(stores, until, now)
        close(stores, now, settle_s=0)
        _once(stores, until, now)
        now += 1
    close(stores, END + 10 * HOUR_S, settle_s=9 * HOUR_S)
    _hold(stores, made)
    before = _books(stores)
    assert close(stores, now, settle_s=now - END) == []
    assert _books(stores) == before

    late = _books(stores, without=("revision", "closed_at", "allocated_at"))
    _empty(stores)
    _rent(stores, prices)
    stores.ledger.insert(made)
    close(stores, END + 10 * HOUR_S, settle_s=9 * HOUR_S)
    assert _books(stores, without=("revision", "closed_at", "allocated_at")) == late


def _once(stores: Stores, count: int, now: float) -> None:
    """Every row is counted once, closed or not, by hand or with what is not closed yet."""
    assert sum(line.requests for line in stores.costs.lines(("team", "day"))) == count
    books = provisional(stores, now)
    assert sum(line.requests for line in stores.costs.lines(("replica", "method"), books=books)) == count


@LAWS
@given(st.lists(rows(), min_size=1, max_size=10), st.lists(PRICES, min_size=1, max_size=3), st.integers(1, 9))
def test_an_hour_at_a_time_comes_to_the_same_as_all_at_once(
    stores: Stores, made: list[LedgerRow], prices: list[tuple[str, float, int | None, int]], hours: int
) -> None:
    made = _numbered(made)
    found = []
    for step in (hours, HOURS + 2):
        _empty(stores)
        _rent(stores, prices)
        for hour in range(0, HOURS + 2 + step, step):
            now = START + hour * HOUR_S
            stores.ledger.insert([row for row in made if row.started_at + row.duration_s < now])
            close(stores, now, settle_s=0)
        stores.ledger.insert(made)
        close(stores, START + (HOURS + 12) * HOUR_S, settle_s=9 * HOUR_S)
        found.append(_books(stores, without=("revision", "closed_at", "allocated_at")))
    lines = [[each for each in books if each["start"] < FIRST + HOURS] for books, _, _ in found]
    assert lines[0] == lines[1]
    assert found[0][2] == found[1][2]


@LAWS
@given(st.lists(rows(), max_size=10), st.lists(PRICES, min_size=1, max_size=3))
def test_what_is_provisional_is_what_closing_comes_to(
    stores: Stores, made: list[LedgerRow], prices: list[tuple[str, float, int | None, int]]
) -> None:
    _empty(stores)
    _rent(stores, prices)
    stores.ledger.insert(_numbered(made))
    now = END + 3 * HOUR_S
    by = ("team", "replica", "hour", "method", "outcome")
    guess = stores.costs.lines(by, books=provisional(stores, now))
    assert _all(stores, COST_LINES) == []
    close(stores, now, settle_s=0)
    assert stores.costs.lines(by, books=provisional(stores, now)) == stores.costs.lines(by) == guess
