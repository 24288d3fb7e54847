"""Split charges of FOCUS 1.3: they add up to what they were split from, and keep the rules."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.costs import focus, focus_rules
from gateway.costs.focus import Names, Origin
from gateway.stores.cost_lines import CostLine
from gateway.stores.costs import ReplicaHour
from tests.gateway.costed import cost_line, nobody, usd

HOUR = 1_793_577_600 // 3600
"""The first one of 2026-11-02."""
NAMES = Names()


def _hour(hour: int, nano: int, **changes: object) -> ReplicaHour:
    fields: dict[str, Any] = dict.fromkeys(("busy_us", "allocated_nano", "overhead_nano", "requests"), 0)
    fields |= {"replica": "gpu-1", "hour": hour, "pool": "main", "paid_us": 3_600_000_000, "cost_nano": nano}
    fields |= {"idle_nano": nano, "step_model": "m", "closed_at": 1.0, "revision": 1}
    return ReplicaHour(**{**fields, **changes})


def _rows(lines: list[CostLine], charges: list[Origin], tags: tuple[str, ...] = ()) -> list[dict[str, object]]:
    rows = focus.split(lines, charges, NAMES, tags)
    focus_rules.require(focus.COLUMNS, rows, focus.totals(charges))
    return rows


def test_hours_of_a_day_are_one_charge_of_each_replica() -> None:
    hours = [_hour(HOUR, 5), _hour(HOUR + 23, 7), _hour(HOUR + 24, 11), _hour(HOUR, 13, replica="gpu/2")]
    found = focus.origins(hours)
    assert [(each.replica, each.day, each.cost, each.seconds) for each in found] == [
        ("gpu-1", "2026-11-02", usd(12), Decimal(7200)),
        ("gpu-1", "2026-11-03", usd(11), Decimal(3600)),
        ("gpu/2", "2026-11-02", usd(13), Decimal(3600)),
    ]
    assert len({each.charge_id for each in found}) == 3


def test_a_charge_is_split_over_teams_overhead_and_idle_time() -> None:
    lines = [
        cost_line("3"),
        cost_line("1", team="qa", purpose="evaluate"),
        nobody("__overhead__", "1"),
        nobody("__idle__", "5"),
    ]
    rows = _rows(lines, [Origin("gpu-1", "main", "2026-11-02", Decimal(10), 86_400_000_000)])
    assert [(row["AllocatedResourceId"], row["x_CostCentre"], row["BilledCost"]) for row in rows] == [
        ("team/search/support@3/support/serve", "serve", 3),
        ("team/qa/support@3/support/evaluate", "quality", 1),
        ("__overhead__", "overhead", 1),
        (None, "idle", 5),
    ]
    first = rows[0]
    assert json.loads(str(first["AllocatedMethodDetails"])) == {
        "Elements": [{"AllocatedRatio": 0.3, "UsageUnit": "Seconds", "UsageQuantity": 25920}]
    }
    assert json.loads(str(first["AllocatedTags"])) == {
        "tollgate/team": "search",
        "tollgate/release": "support@3",
        "tollgate/model": "support",
        "tollgate/purpose": "serve",
    }
    assert first["ChargePeriodStart"] == datetime(2026, 11, 2, tzinfo=UTC)
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
    assert rows[3]["AllocatedTags"] is rows[3]["AllocatedResourceName"] is None
    assert rows[3]["AllocatedMethodId"] == focus.METHOD
    assert list(first) == list(focus.COLUMNS)


def test_tags_of_requests_are_tags_of_their_charges() -> None:
    lines = [cost_line("1", **{"tag:project": "faq"}), cost_line("2", **{"tag:project": "none"})]
    rows = _rows(lines, [Origin("gpu-1", "main", "2026-11-02", Decimal(3), 10)], ("project",))
    assert [json.loads(str(row["AllocatedTags"])).get("project") for row in rows] == ["faq", None]


def test_lines_of_nobody_are_one_row_of_each_kind() -> None:
    lines = [nobody("__overhead__", "1", model="a"), nobody("__overhead__", "2", model="b"), nobody("__idle__", "4")]
    rows = _rows(lines, [Origin("gpu-1", "main", "2026-11-02", Decimal(7), 10)])
    assert [(row["x_CostCentre"], row["BilledCost"]) for row in rows] == [("overhead", 3), ("idle", 4)]


def test_names_cannot_be_taken_for_each_other() -> None:
    lines = [cost_line("1", team="a/b", release="c"), cost_line("2", team="a", release="b/c")]
    rows = _rows(lines, [Origin("gpu-1", "main", "2026-11-02", Decimal(3), 10)])
    assert len({row["AllocatedResourceId"] for row in rows}) == 2


def test_what_costs_nothing_is_idle_and_what_has_no_charge_is_left_out() -> None:
    (row,) = _rows([], [Origin("gpu-1", "main", "2026-11-02", Decimal(0), 0)])
    assert (row["x_CostCentre"], row["BilledCost"], row["ConsumedQuantity"]) == ("idle", 0, 0)
    assert _rows([replace(cost_line("0"), unallocated=1)], []) == []


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=8), st.integers(0, 86_400_000_000))
def test_any_split_adds_up_exactly(parts: list[int], paid_us: int) -> None:
    lines = [cost_line(usd(nano), team=f"t{at}") for at, nano in enumerate(parts)]
    charges = [Origin("gpu-1", "main", "2026-11-02", usd(sum(parts)), paid_us)]
    _rows(lines, charges)
