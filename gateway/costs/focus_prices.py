"""A file of FOCUS 1.3 with list prices of tokens: what teams are shown, apart from what GPUs cost."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.costs.focus import COMMON, Names, common
from gateway.costs.sheets import Kind
from gateway.stores.cost_lines import CostLine

LIST_BY = ("day", "team", "release", "model", "currency")
"""What lines must be grouped by to become list prices."""
MILLION = Decimal(1_000_000)
LIST_COLUMNS: dict[str, Kind] = dict(
    sorted((COMMON | {"ListUnitPrice": "amount", "ContractedUnitPrice": "amount"}).items())
) | {"x_ModelName": "text", "x_ReleaseName": "text", "x_TeamName": "text"}
"""Of the file of list prices."""


class Rates(NamedTuple):
    """List prices of a million tokens of a model, on a day."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    reasoning: Decimal
    sku: str
    currency: str = "USD"


def list_prices(
    lines: Sequence[CostLine], rates: Callable[[str, date], Rates | None], names: Names
) -> tuple[list[dict[str, Any]], int]:
    """Rows of what tokens cost by the price list, from lines grouped by LIST_BY; and the requests that are left out.

    A model's day without a price in its currency is left out, and so is what no engine counted. Where the ledger's own
    amount differs from tokens times prices (it was rounded for each request, some had no price, or prices changed
    within the day), an adjustment says by how much, so that the file adds up to the ledger.
    """
    rows: list[dict[str, Any]] = []
    left_out = 0
    for line in lines:
        price = (
            rates(line.group["model"], date.fromisoformat(line.group["day"])) if line.list_cost is not None else None
        )
        if price is None or line.list_cost is None or line.currency != price.currency:
            left_out += line.requests
            continue
        meters = (
            ("Input Tokens", line.input_tokens - line.cached_tokens, price.input),
            ("Cached Input Tokens", line.cached_tokens, price.cached_input),
            ("Output Tokens", line.output_tokens - line.reasoning_tokens, price.output),
            ("Reasoning Tokens", line.reasoning_tokens, price.reasoning),
        )
        made = [_meter(line, names, price.sku, *meter) for meter in meters if meter[1]]
        rest = line.list_cost - sum((row["BilledCost"] for row in made), Decimal(0))
        if rest:
            made.append(_adjustment(line, names, rest))
        rows += made
    return [{name: row[name] for name in LIST_COLUMNS} for row in rows], left_out


def _meter(line: CostLine, names: Names, sku: str, meter: str, tokens: int, price: Decimal) -> dict[str, Any]:
    quantity = tokens / MILLION
    sku_id = f"{sku}/{meter.replace(' ', '-').lower()}"
    return _priced(line, names, quantity * price) | {
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{meter} of {line.group['model']} for {line.group['team']}",
        "ConsumedQuantity": Decimal(tokens),
        "ConsumedUnit": "Tokens",
        "ContractedUnitPrice": price,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": "1000000 Tokens",
        "SkuId": sku_id,
        "SkuMeter": meter,
        "SkuPriceId": sku_id,
    }


def _adjustment(line: CostLine, names: Names, amount: Decimal) -> dict[str, Any]:
    reason = f"Rounding of each request, price changes within the day, {line.unpriced} requests without a price"
    empty = ("ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory",
             "PricingQuantity", "PricingUnit", "SkuId", "SkuMeter", "SkuPriceId")  # fmt: skip
    own = {"ChargeCategory": "Adjustment", "ChargeDescription": reason}
    return _priced(line, names, amount) | dict.fromkeys(empty) | own


def _priced(line: CostLine, names: Names, cost: Decimal) -> dict[str, Any]:
    return common(line.group["day"], names) | {
        "BilledCost": cost,
        "BillingCurrency": line.currency,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Language models",
        "ServiceSubcategory": "Generative AI",
        "x_ModelName": line.group["model"],
        "x_ReleaseName": line.group["release"],
        "x_TeamName": line.group["team"],
    }
