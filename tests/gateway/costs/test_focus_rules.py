"""The rules of FOCUS 1.3: a right file passes, and each kind of corruption is found."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.contracts.errors import InputError
from gateway.costs import focus, focus_rules
from gateway.costs.focus import COLUMNS, Names, Origin
from tests.gateway.costed import cost_line, nobody

Rows = list[dict[str, Any]]
CHARGES = [Origin("gpu-1", "main", "2026-11-02", Decimal(10), 86_400_000_000)]


def _rows() -> Rows:
    return focus.split([cost_line("3"), cost_line("2", team="sales"), nobody("__idle__", "5")], CHARGES, Names(), ())


def _mistakes(rows: Rows, columns: Any = COLUMNS) -> str:
    return "\n".join(focus_rules.mistakes(columns, rows, focus.totals(CHARGES)))


def test_a_right_file_has_no_mistakes() -> None:
    assert _mistakes(_rows()) == ""
    focus_rules.require(COLUMNS, _rows(), focus.totals(CHARGES))
    focus_rules.require(COLUMNS, [], {})


def _set(name: str, value: Any, at: int = 0) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[at][name] = value

    return change


def _ratio(value: str) -> Callable[[Rows], None]:
    return _set("AllocatedMethodDetails", f'{{"Elements":[{{"AllocatedRatio":{value}}}]}}')


CORRUPTIONS: dict[str, tuple[Callable[[Rows], None], str]] = {
    "null": (_set("BilledCost", None), "row 1: BilledCost may not be empty"),
    "float": (_set("BilledCost", 3.0), "row 1: BilledCost: expected amount, found 3.0"),
    "infinite": (_set("EffectiveCost", Decimal("Infinity")), "EffectiveCost: expected a number"),
    "nan": (_set("ListCost", Decimal("NaN")), "ListCost: expected a number"),
    "text": (_set("BillingAccountId", "  "), "BillingAccountId: expected some text"),
    "set": (_set("ChargeCategory", "Use"), "ChargeCategory: expected one of Adjustment, Credit"),
    "class": (_set("ChargeClass", "Wrong"), "ChargeClass: expected one of Correction"),
    "category": (_set("ServiceCategory", "AI and Machine Learning"), "'Virtual Machines' does not stand under"),
    "usage": (_set("PricingQuantity", None), "PricingQuantity may not be empty"),
    "sku": (_set("SkuPriceId", None), "SkuPriceId may not be empty"),
    "naive": (_set("ChargePeriodEnd", datetime(2026, 11, 3)), "expected a time with its zone"),  # noqa: DTZ001
    "period": (_set("ChargePeriodEnd", datetime(2026, 11, 2, tzinfo=UTC)), "ChargePeriodEnd is not after"),
    "billing": (_set("ChargePeriodStart", datetime(2026, 10, 2, tzinfo=UTC)), "outside of the billing period"),
    "currency": (_set("BillingCurrency", "usd"), "expected a code such as USD"),
    "list": (_set("ListCost", Decimal(4)), "ListCost without ListUnitPrice differs from BilledCost"),
    "json": (_set("AllocatedTags", "{"), "AllocatedTags: expected a JSON object"),
    "array": (_set("AllocatedTags", "[]"), "AllocatedTags: expected a JSON object"),
    "tag": (_set("AllocatedTags", '{"a": 1}'), "'a' is neither text nor true"),
    "details": (_set("AllocatedMethodDetails", None), "expected Elements"),
    "elements": (_set("AllocatedMethodDetails", '{"Elements":[]}'), "expected Elements"),
    "ratio": (_ratio("0.31"), "AllocatedRatio adds up to 1.01"),
    "percent": (_ratio("30"), "expected Elements, each with an AllocatedRatio from 0 to 1"),
    "method": (_set("AllocatedMethodId", None), "AllocatedResourceId without AllocatedMethodId"),
    "name": (_set("AllocatedResourceName", None), "go together"),
    "origin": (_set("x_OriginChargeId", None), "x_OriginChargeId is missing"),
    "unknown origin": (_set("x_OriginChargeId", "else"), "origin 'else': rows name it"),
    "twice": (_set("AllocatedResourceId", "team/sales/support@3/support/serve"), "comes 2 times"),
    "dimension": (_set("ResourceId", "replica/else"), "ResourceId differs between its rows"),
    "quantity": (_set("ConsumedQuantity", Decimal(1)), "ConsumedQuantity adds up to"),
    "sum": (_set("EffectiveCost", Decimal("3.000000001")), "EffectiveCost adds up to 10.000000001, and it had 10"),
    "lost": (lambda rows: rows.clear(), "nothing was split from it"),
    "columns": (_set("x_Else", 1), "it has other columns than the file: x_Else"),
}


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_each_corruption_is_found(name: str) -> None:
    change, expected = CORRUPTIONS[name]
    rows = _rows()
    change(rows)
    assert expected in _mistakes(rows)
    with pytest.raises(InputError, match=r"no file of FOCUS 1\.3"):
        focus_rules.require(COLUMNS, rows, focus.totals(CHARGES))


def test_unit_prices_times_quantities_are_costs() -> None:
    columns = {**COLUMNS, "ListUnitPrice": "amount"}
    ordered = dict(sorted((n, k) for n, k in columns.items() if not n.startswith("x_")))
    ordered |= {name: kind for name, kind in columns.items() if name.startswith("x_")}
    rows = [{**row, "ListUnitPrice": Decimal(2)} for row in _rows()]
    assert "ListCost: expected ListUnitPrice x PricingQuantity" in _mistakes(rows, ordered)
    rows = [{**row, "ListUnitPrice": Decimal(-2)} for row in _rows()]
    assert "ListUnitPrice: expected 0 or more" in _mistakes(rows, ordered)


def test_columns_are_checked_too() -> None:
    without = {name: kind for name, kind in COLUMNS.items() if name != "BilledCost"}
    assert "column 'BilledCost' is missing" in _mistakes([], without)
    assert "column 'cost' is none of FOCUS 1.3" in _mistakes([], {**COLUMNS, "cost": "text"})
    assert "'BilledCost': expected amount, found text" in _mistakes([], {**COLUMNS, "BilledCost": "text"})
    assert "not in the order" in _mistakes([], dict(reversed(COLUMNS.items())))


def test_tags_are_not_repeated() -> None:
    columns = {"Tags": "json", **COLUMNS}
    rows = [{**row, "Tags": json.dumps({"tollgate/team": "x"})} for row in _rows()]
    assert "AllocatedTags repeats 'tollgate/team' of Tags" in _mistakes(rows, columns)


def test_an_error_lists_the_first_mistakes_and_counts_the_others() -> None:
    rows = [{**row, "BilledCost": None} for row in _rows() * 5]
    with pytest.raises(InputError, match="and 6 more"):
        focus_rules.require(COLUMNS, rows, focus.totals(CHARGES))
