"""Reports: cost centres of their own, shares by each method, and what is not known."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.costs.report import (
    FIELDS,
    IDLE_CENTRE,
    OVERHEAD_CENTRE,
    QUALITY,
    SERVE,
    grouping,
    notes,
    report,
    versions_in_use,
)
from gateway.stores.cost_lines import CostLine
from tests.gateway.costed import cost_line, nobody, usd


def _golden() -> list[CostLine]:
    search, sales = (
        {"by_requests": Decimal(a), "by_tokens": Decimal(2), "by_weight": Decimal(b)} for a, b in ((1, 3), (3, 1))
    )
    unpriced: dict[str, Any] = {"list_cost": None, "currency": None, "unpriced": 1}
    return [
        cost_line("3", team="search", **search),
        cost_line("1", team="sales", **sales, **unpriced),
        nobody("__idle__", "5", loaded=Decimal("0.5")),
        nobody("__overhead__", "1", loaded=Decimal(0), model="none"),
    ]


def test_a_small_report_in_full() -> None:
    found = report(("team",), _golden())
    assert [(row.line.group["team"], row.centre) for row in found.rows] == [
        ("search", SERVE),
        ("sales", SERVE),
        ("", IDLE_CENTRE),
        ("", OVERHEAD_CENTRE),
    ]
    values: dict[str, Any] = found.rows[0].values()
    assert values == {
        "team": "search",
        "cost_centre": "serve",
        "requests": 1,
        "input_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 10,
        "reasoning_tokens": 0,
        "list_cost": Decimal("0.5"),
        "currency": "USD",
        "allocated": Decimal(3),
        "provisional": Decimal(0),
        "fully_loaded": Decimal(3),
        "by_requests": Decimal(1),
        "by_tokens": Decimal(2),
        "by_weight": Decimal(3),
        "share": Decimal("0.75"),
        "share_min": Decimal("0.25"),
        "share_max": Decimal("0.75"),
        "unpriced": 0,
        "unmetered": 0,
        "cached_unknown": 0,
        "unallocated": 0,
    }
    assert list(found.columns) == ["team", *FIELDS]
    assert found.rows[1].values()["list_cost"] is None
    assert found.rows[2].shares is None
    assert (found.total.line.allocated, found.total.line.list_cost) == (10, Decimal("0.5"))
    assert found.centre(SERVE).allocated == 4


def test_what_nobody_asked_for_stands_in_lines_of_its_own_whatever_is_grouped_by() -> None:
    found = report(("model", "pool"), [*_golden(), nobody("__overhead__", "2", model="other")])
    assert [
        (row.line.group["model"], row.line.group["pool"], row.centre, row.line.allocated) for row in found.rows
    ] == [
        ("support", "main", SERVE, 4),
        ("", "main", IDLE_CENTRE, 5),
        ("", "main", OVERHEAD_CENTRE, 3),
    ]
    assert [row.centre for row in report((), _golden()).rows] == [SERVE, IDLE_CENTRE, OVERHEAD_CENTRE]


def test_what_measures_models_has_its_own_cost_centre_and_its_share() -> None:
    lines = [cost_line("3"), cost_line("1", purpose="evaluate"), cost_line("0", purpose="probe")]
    found = report(("team",), lines)
    assert [(row.centre, row.line.allocated) for row in found.rows] == [(SERVE, 3), (QUALITY, 1)]
    assert found.rows[1].shares is not None
    assert found.rows[1].shares["allocated"] == Decimal("0.25")


def test_shares_are_unknown_where_money_is() -> None:
    lost = replace(cost_line("0", team="lost"), unallocated=1)
    (row,) = report(("team",), [lost]).rows
    assert (row.shares, row.spread, row.values()["allocated"], row.values()["share"]) == (None, None, None, None)


def test_nothing_was_used_and_only_idle_time_was_paid() -> None:
    empty = report(("team",), [])
    assert (empty.rows, empty.total.line.allocated, empty.total.values()["list_cost"]) == ((), 0, 0)
    assert notes(empty)[-1] == "Nothing is unknown."
    (idle,) = report(("team",), [nobody("__idle__", "7")]).rows
    assert (idle.centre, idle.line.allocated, idle.values()["list_cost"]) == (IDLE_CENTRE, 7, 0)


def test_money_of_hours_that_are_not_closed_is_provisional() -> None:
    before = [cost_line("1"), cost_line("0", team="new")]
    found = report(("team",), [cost_line("3"), cost_line("2", team="new"), nobody("__idle__", "4")], before)
    assert {row.line.group["team"]: row.provisional for row in found.rows} == {"search": 2, "new": 2, "": 4}
    assert found.total.provisional == 8
    assert any(note.startswith("8 USD of it is provisional") for note in notes(found))
    assert report(("team",), before, before).total.provisional == 0


def test_notes_count_what_is_unknown_and_name_what_does_not_add_up() -> None:
    lines = [cost_line(), cost_line(currency="EUR"), cost_line(list_cost=None, currency=None, unpriced=1, unmetered=1)]
    lines.append(replace(cost_line("0"), unallocated=1, cached_unknown=1))
    said = "\n".join(notes(report(("team",), lines), ("a", "b")))
    for text in (
        "of 4 requests, 1 have no list price; 1 have no token counts",
        "1 say nothing of what was cached",
        "1 have no GPU cost",
        "several currencies",
        "several versions of the price list: a, b",
        "0.000000001",
    ):
        assert text in said
    assert "several versions" not in "\n".join(notes(report(("team",), lines), ("a",)))


def test_versions_of_prices_count_until_the_next_one_does() -> None:
    uses = [("b", 20.0), ("a", 10.0), ("c", 30.0)]
    assert versions_in_use(uses, None, None) == ["a", "b", "c"]
    assert versions_in_use(uses, 20.0, 30.0) == ["b"]
    assert versions_in_use(uses, 31.0, None) == ["c"]
    assert versions_in_use(uses, 15.0, 20.5) == ["a", "b"]
    assert versions_in_use([], 0.0, 1.0) == []


def test_lines_are_grouped_by_what_tells_the_cost_centre_too() -> None:
    assert grouping(("model", "team")) == ("model", "team", "purpose")


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(("serve", "evaluate", "")), st.integers(0, 10**18)),
        max_size=12,
    )
)
def test_rows_add_up_to_the_total_to_the_nano_however_they_are_grouped(parts: list[tuple[str, str, int]]) -> None:
    lines = [
        cost_line(usd(nano), team=team, purpose=purpose) if purpose else nobody("__idle__", usd(nano), model=team)
        for team, purpose, nano in parts
    ]
    for by in ((), ("team",), ("model", "team"), ("purpose",)):
        found = report(by, lines)
        assert found.total.line.allocated == usd(sum(nano for *_, nano in parts))
        assert sum((row.line.allocated for row in found.rows), Decimal(0)) == found.total.line.allocated
        keys = [(row.centre, *row.line.group.values()) for row in found.rows]
        assert len(keys) == len(set(keys))
