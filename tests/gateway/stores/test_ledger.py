"""Sums are exact, rows are stored once, and what is unknown is counted as unknown."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stores.database import open_database
from gateway.stores.ledger import DIMENSIONS, CostLine, Ledger
from tests.gateway.builders import NOW, settled

DAY_S = 86_400.0
COSTS = st.none() | st.decimals(0, 10_000, places=9).map(lambda cost: format(cost, "f"))
COUNTS = st.none() | st.integers(0, 10**12)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    yield Ledger(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 't.db'}")
    yield Ledger(engine)
    engine.dispose()


def _total(ledger: Ledger) -> CostLine:
    (line,) = ledger.costs(())
    return line


def test_an_empty_ledger_sums_to_nothing(ledger: Ledger) -> None:
    ledger.insert([])
    assert _total(ledger) == CostLine({}, 0, 0, 0, 0, None, None, 0, 0, 0)
    assert ledger.costs(("team",)) == []
    assert ledger.recent(5) == []


def test_a_row_comes_back_as_it_was(ledger: Ledger) -> None:
    row = settled(cost="0.000000001", cached_tokens=1, replica="r", first_byte_s=0.1, decision="{}", stream=True)
    ledger.insert([row])
    expected = {name: getattr(row, name) for name in row.__struct_fields__} | {"cost": Decimal("0.000000001")}
    assert ledger.find(row.request_id) == expected
    (found,) = ledger.recent(1)
    assert found == {name: value for name, value in expected.items() if name != "decision"}
    assert ledger.find("tg-none") is None


def test_law_4_a_million_tenths_are_exact(ledger: Ledger) -> None:
    ledger.insert([settled(f"tg-{n}", cost="0.100000001") for n in range(1_000)])
    assert _total(ledger).cost == Decimal("100.000001000")


EACH = st.tuples(st.sampled_from(["a", "b", "c"]), COSTS, COUNTS, COUNTS, COUNTS)


@settings(deadline=None)
@given(made=st.lists(EACH, max_size=12))
def test_law_4_groups_add_up_to_the_whole(shared: Ledger, made: list[tuple[str, str | None, int, int, int]]) -> None:
    model = f"model-{_total(shared).requests}"
    ours: dict[str, list[tuple[str | None, int | None]]] = defaultdict(list)
    for at, (team, cost, prompt, cached, output) in enumerate(made):
        counts = {"input_tokens": prompt, "cached_tokens": cached, "output_tokens": output}
        shared.insert([settled(f"{model}/{at}", team=team, model=model, cost=cost, **counts)])
        ours[team].append((cost, prompt))
    lines = {line.group["team"]: line for line in shared.costs(("team", "model")) if line.group["model"] == model}
    assert lines.keys() == ours.keys()
    for team, rows in ours.items():
        line, costs = lines[team], [Decimal(cost) for cost, _ in rows if cost is not None]
        assert line.requests == len(rows)
        assert line.cost == (sum(costs) if costs else None)
        assert (line.unpriced, line.unmetered) == (len(rows) - len(costs), sum(count is None for _, count in rows))
        assert line.input_tokens == sum(count or 0 for _, count in rows)


def test_a_row_is_stored_once_and_never_changed(ledger: Ledger) -> None:
    ledger.insert([settled(cost="1"), settled("tg-2", cost="1")])
    ledger.insert([settled(cost="5", team="other"), settled("tg-3", cost="1"), settled("tg-3", cost="7")])
    assert (_total(ledger).requests, _total(ledger).cost) == (3, Decimal(3))
    assert {row["team"] for row in ledger.recent(9)} == {"search"}


GROUPS = {
    "key": ("key_id", "k1", "k2"),
    "team": ("team", "t1", "t2"),
    "model": ("model", "m1", "m2"),
    "release": ("release", "m@1", "m@2"),
    "purpose": ("purpose", "evaluate", "serve"),
    "outcome": ("outcome", "completed", "client_closed"),
    "replica": ("replica", "r1", None),
    "currency": ("currency", "EUR", "USD"),
}


@pytest.mark.parametrize("by", GROUPS)
def test_costs_are_grouped_by(ledger: Ledger, by: str) -> None:
    field, dear, cheap = GROUPS[by]
    ledger.insert([settled(f"tg-{n}", cost=str(n), **{field: dear if n > 1 else cheap}) for n in range(4)])
    lines = ledger.costs((by,))
    assert [(line.group, line.requests, line.cost) for line in lines] == [
        ({by: dear}, 2, Decimal(5)),
        ({by: cheap or "none"}, 2, Decimal(1)),
    ]


def test_amounts_in_two_currencies_do_not_add_up(ledger: Ledger) -> None:
    ledger.insert([settled("tg-1", cost="1", currency="EUR"), settled("tg-2", cost="2", currency="USD")])
    ledger.insert([settled("tg-3", cost=None, currency="GBP")])
    assert (_total(ledger).cost, _total(ledger).currency, _total(ledger).unpriced) == (None, None, 1)
    assert {line.currency: line.cost for line in ledger.costs(("currency",))} == {"EUR": 1, "USD": 2, None: None}


def test_every_dimension_is_tried_here() -> None:
    assert set(GROUPS) | {"day"} == set(DIMENSIONS)


def test_days_are_utc_and_begin_at_midnight(ledger: Ledger) -> None:
    midnight = NOW - NOW % DAY_S
    ledger.insert([settled(f"tg-{at}", started_at=midnight + at, cost="1") for at in (-0.001, 0.0, DAY_S - 0.001)])
    days = {line.group["day"]: line.requests for line in ledger.costs(("day",))}
    assert days == {"2026-11-21": 1, "2026-11-22": 2}


def test_since_is_included_and_until_is_not(ledger: Ledger) -> None:
    ledger.insert([settled(f"tg-{at}", started_at=NOW + at) for at in range(4)])
    (line,) = ledger.costs((), since=NOW + 1, until=NOW + 3)
    assert line.requests == 2


def test_law_5_a_group_without_prices_costs_none_and_not_zero(ledger: Ledger) -> None:
    ledger.insert([settled("a", team="free"), settled("b", team="paid", cost="0"), settled("c", team="paid")])
    lines = {line.group["team"]: line for line in ledger.costs(("team",))}
    assert (lines["free"].cost, lines["free"].unpriced) == (None, 1)
    assert (lines["paid"].cost, lines["paid"].unpriced) == (Decimal(0), 1)


def test_a_cache_that_the_engine_does_not_report_is_unknown(ledger: Ledger) -> None:
    ledger.insert([settled("a"), settled("b", cached_tokens=0), settled("c", cached_tokens=2)])
    assert (_total(ledger).cached_tokens, _total(ledger).cached_unknown) == (2, 1)


def test_unknown_tokens_are_unmetered(ledger: Ledger) -> None:
    ledger.insert([settled("a"), settled("b", input_tokens=None, output_tokens=None)])
    assert (_total(ledger).unmetered, _total(ledger).input_tokens) == (1, 3)


def test_the_newest_row_is_the_first(ledger: Ledger) -> None:
    ledger.insert([settled(f"tg-{at}", started_at=NOW + at) for at in (2, 0, 1)])
    assert [row["request_id"] for row in ledger.recent(2)] == ["tg-2", "tg-1"]


def test_several_dimensions_at_once(ledger: Ledger) -> None:
    ledger.insert([settled("a", team="t", model="m", cost="1"), settled("b", team="t", model="n", cost="2")])
    assert [line.group for line in ledger.costs(("team", "model"))] == [
        {"team": "t", "model": "n"},
        {"team": "t", "model": "m"},
    ]
