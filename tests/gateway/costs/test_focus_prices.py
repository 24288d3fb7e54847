"""List prices as FOCUS 1.3: the file adds up to the ledger, and a missing price is no row."""

from datetime import date
from decimal import Decimal
from typing import Any

from gateway.costs import focus_prices, focus_rules
from gateway.costs.focus import Names
from gateway.costs.focus_prices import LIST_COLUMNS, Rates
from gateway.stores.cost_lines import CostLine
from tests.gateway.costed import cost_line

RATES = Rates(Decimal("0.20"), Decimal("0.02"), Decimal("0.60"), Decimal("1.20"), "model/support")


def _rows(*lines: CostLine) -> tuple[list[dict[str, Any]], int]:
    rows, left_out = focus_prices.list_prices(
        lines, lambda model, day: RATES if (model, day) == ("support", date(2026, 11, 2)) else None, Names()
    )
    focus_rules.require(LIST_COLUMNS, rows, {})
    return rows, left_out


def _line(cost: str, **changes: Any) -> CostLine:
    return cost_line(
        list_cost=Decimal(cost), input_tokens=1_000_000, cached_tokens=400_000, output_tokens=10, **changes
    )


def test_each_kind_of_token_is_a_meter() -> None:
    rows, left_out = _rows(_line("0.128009", reasoning_tokens=5))
    assert left_out == 0
    assert [(row["SkuMeter"], row["ConsumedQuantity"], row["PricingQuantity"], row["ListCost"]) for row in rows] == [
        ("Input Tokens", 600_000, Decimal("0.6"), Decimal("0.12")),
        ("Cached Input Tokens", 400_000, Decimal("0.4"), Decimal("0.008")),
        ("Output Tokens", 5, Decimal("0.000005"), Decimal("0.000003")),
        ("Reasoning Tokens", 5, Decimal("0.000005"), Decimal("0.000006")),
    ]
    assert {(row["PricingUnit"], row["ConsumedUnit"], row["ServiceSubcategory"]) for row in rows} == {
        ("1000000 Tokens", "Tokens", "Generative AI")
    }


def test_what_the_ledger_has_more_or_less_is_an_adjustment() -> None:
    rows, _ = _rows(_line("0.128"))
    assert sum(row["BilledCost"] for row in rows) == Decimal("0.128")
    assert (rows[-1]["ChargeCategory"], rows[-1]["BilledCost"], rows[-1]["SkuPriceId"]) == (
        "Adjustment",
        Decimal("-0.000006"),
        None,
    )


def test_without_a_price_there_is_no_row_and_that_is_counted() -> None:
    unpriced = cost_line(list_cost=None, currency=None, unpriced=1)
    rows, left_out = _rows(unpriced, _line("1", model="other"), _line("1", day="2026-11-03", requests=5))
    assert (rows, left_out) == ([], 7)


def test_a_price_in_another_currency_is_none() -> None:
    rows, left_out = _rows(_line("1", currency="EUR"), _line("1"))
    assert ({row["BillingCurrency"] for row in rows}, left_out) == ({"USD"}, 1)
