"""The rules of FOCUS 1.3 that a file of costs must keep, as data, and the check that every export passes through.

The columns, types, nullability and closed sets are those of the specification's Cost and Usage dataset
(https://focus.finops.org, version 1.3), the sums those of its split cost allocation: what an origin charge was split
into adds up to it, and so do the ratios to 1, here without any tolerance.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gateway.contracts.errors import InputError
from gateway.costs.sheets import Kind

Row = Mapping[str, Any]
VERSION = "1.3"
ORIGIN = "x_OriginChargeId"
"""Ties what was split to what it was split from; the specification has no column for it."""
SHOWN = 10
"""Mistakes that an error lists."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a column may hold; `usage` that a charge of the category Usage may not leave it empty."""

    kind: Kind = "text"
    nullable: bool = True
    usage: bool = False
    allowed: frozenset[str] | None = None


def _one_of(*values: str, nullable: bool = False) -> Column:
    return Column(nullable=nullable, allowed=frozenset(values))


_AMOUNT, _MOMENT, _TEXT, _JSON = Column("amount"), Column("moment", False), Column(), Column("json")
_COST, _NAMED = Column("amount", False), Column(nullable=False)

SUBCATEGORIES = {
    "AI and Machine Learning": frozenset(
        {
            "AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing",
            "Other (AI and Machine Learning)",
        }
    ),
    "Compute": frozenset(
        {
            "Containers", "End User Computing", "Quantum Compute", "Serverless Compute", "Virtual Machines",
            "Other (Compute)",
        }
    ),
}  # fmt: skip
"""The categories that these files use, and what may stand under each."""

MANDATORY: dict[str, Column] = {
    "BilledCost": _COST,
    "BillingAccountId": _NAMED,
    "BillingAccountName": _TEXT,
    "BillingCurrency": _NAMED,
    "BillingPeriodEnd": _MOMENT,
    "BillingPeriodStart": _MOMENT,
    "ChargeCategory": _one_of("Adjustment", "Credit", "Purchase", "Tax", "Usage"),
    "ChargeClass": _one_of("Correction", nullable=True),
    "ChargeDescription": _TEXT,
    "ChargePeriodEnd": _MOMENT,
    "ChargePeriodStart": _MOMENT,
    "ContractedCost": _COST,
    "EffectiveCost": _COST,
    "HostProviderName": _NAMED,
    "InvoiceIssuerName": _NAMED,
    "ListCost": _COST,
    "PricingQuantity": Column("amount", usage=True),
    "PricingUnit": Column(usage=True),
    "ProviderName": _NAMED,
    "PublisherName": _NAMED,
    "ServiceCategory": _one_of(*SUBCATEGORIES),
    "ServiceName": _NAMED,
    "ServiceProviderName": _NAMED,
}
OPTIONAL: dict[str, Column] = {
    "AllocatedMethodDetails": _JSON,
    "AllocatedMethodId": _TEXT,
    "AllocatedResourceId": _TEXT,
    "AllocatedResourceName": _TEXT,
    "AllocatedTags": _JSON,
    "ChargeFrequency": _one_of("One-Time", "Recurring", "Usage-Based"),
    "ConsumedQuantity": Column("amount", usage=True),
    "ConsumedUnit": Column(usage=True),
    "ContractedUnitPrice": _AMOUNT,
    "ListUnitPrice": _AMOUNT,
    "PricingCategory": _one_of("Committed", "Dynamic", "Other", "Standard", nullable=True),
    "ResourceId": _TEXT,
    "ResourceName": _TEXT,
    "ResourceType": _TEXT,
    "ServiceSubcategory": _one_of(*(name for names in SUBCATEGORIES.values() for name in names)),
    "SkuId": Column(usage=True),
    "SkuMeter": _TEXT,
    "SkuPriceId": Column(usage=True),
    "SubAccountId": _TEXT,
    "SubAccountName": _TEXT,
    "Tags": _JSON,
}
"""Conditional and recommended columns that these files use."""
KNOWN = MANDATORY | OPTIONAL
SPLIT = ("AllocatedMethodDetails", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags")

_TYPES: dict[Kind, type] = {"text": str, "count": int, "amount": Decimal, "moment": datetime, "json": str}
_CUSTOM = re.compile(r"x_[A-Z][A-Za-z0-9]*\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_SUMMED = ("BilledCost", "ConsumedQuantity", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity")
_OWN = frozenset({*_SUMMED, *SPLIT, "ChargeDescription"})
"""What differs between the charges that one origin was split into; every other column of FOCUS may not."""


def require(columns: Mapping[str, Kind], rows: Sequence[Row], origins: Mapping[str, tuple[Decimal, Decimal]]) -> None:
    """Raise InputError with the first mistakes of a file that is about to be written."""
    found = list(mistakes(columns, rows, origins))
    if found:
        more = f"\nand {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(f"this would be no file of FOCUS {VERSION}:\n" + "\n".join(found[:SHOWN]) + more)


def mistakes(
    columns: Mapping[str, Kind], rows: Sequence[Row], origins: Mapping[str, tuple[Decimal, Decimal]]
) -> Iterator[str]:
    """What is wrong with a file. `origins` are the charges that were split: what each cost, and its quantity."""
    yield from _of_columns(columns)
    groups: dict[str, list[tuple[int, Row]]] = defaultdict(list)
    for number, row in enumerate(rows, start=1):
        found = [*_of_values(columns, row)]
        if not found:  # what compares values needs values
            found = [*_of_periods(row), *_of_costs(row), *_of_split(row)]
            if row.get(ORIGIN) is not None:
                groups[row[ORIGIN]].append((number, row))
        yield from (f"row {number}: {text}" for text in found)
    yield from (f"origin {name!r}: nothing was split from it" for name in origins if name not in groups)
    for name, group in groups.items():
        if name not in origins:
            yield f"origin {name!r}: rows name it, and it is no charge that was split"
        else:
            yield from (f"origin {name!r}: {text}" for text in _of_sums(group, *origins[name]))


def _of_columns(columns: Mapping[str, Kind]) -> Iterator[str]:
    yield from (f"column {name!r} is missing" for name in MANDATORY if name not in columns)
    own = [name for name in columns if name.startswith("x_")]
    for name, kind in columns.items():
        if name in KNOWN:
            if KNOWN[name].kind != kind:
                yield f"column {name!r}: expected {KNOWN[name].kind}, found {kind}"
        elif not _CUSTOM.match(name):
            yield f"column {name!r} is none of FOCUS {VERSION}, and has no name such as x_RequestCount"
    if list(columns) != sorted(name for name in columns if name not in own) + sorted(own):
        yield "columns are not in the order of their names, with those of x_ at the end"


def _of_values(columns: Mapping[str, Kind], row: Row) -> Iterator[str]:
    if set(row) != set(columns):
        yield f"it has other columns than the file: {', '.join(sorted(set(row) ^ set(columns)))}"
        return
    for name, kind in columns.items():
        value, rule = row[name], KNOWN.get(name, Column(kind))
        if value is None:
            if not rule.nullable or (rule.usage and row["ChargeCategory"] == "Usage"):
                yield f"{name} may not be empty"
        elif type(value) is not _TYPES[kind]:
            yield f"{name}: expected {kind}, found {value!r}"
        elif (reason := _wrong(value, kind, rule)) is not None:
            yield f"{name}: {reason}, found {value!r}"


def _wrong(value: Any, kind: Kind, rule: Column) -> str | None:
    if kind == "amount":
        return None if value.is_finite() else "expected a number"
    if kind == "moment":
        return None if value.tzinfo is not None else "expected a time with its zone"
    if kind == "json":
        return None if isinstance(_parsed(value), dict) else "expected a JSON object"
    if kind == "text" and not value.strip():
        return "expected some text"
    if rule.allowed is not None and value not in rule.allowed:
        return f"expected one of {', '.join(sorted(rule.allowed))}"
    return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None


def _of_periods(row: Row) -> Iterator[str]:
    for name in ("Charge", "Billing"):
        if not row[f"{name}PeriodStart"] < row[f"{name}PeriodEnd"]:
            yield f"{name}PeriodEnd is not after {name}PeriodStart"
    if not row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]:
        yield "ChargePeriodStart lies outside of the billing period"
    if not _CURRENCY.match(row["BillingCurrency"]):
        yield f"BillingCurrency: expected a code such as USD, found {row['BillingCurrency']!r}"
    subcategory = row.get("ServiceSubcategory")
    if subcategory is not None and subcategory not in SUBCATEGORIES[row["ServiceCategory"]]:
        yield f"ServiceSubcategory: {subcategory!r} does not stand under {row['ServiceCategory']!r}"


def _of_costs(row: Row) -> Iterator[str]:
    for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
        unit, quantity = row.get(price), row["PricingQuantity"]
        if unit is None:
            if row[cost] != row["BilledCost"]:
                yield f"{cost} without {price} differs from BilledCost: {row[cost]} and {row['BilledCost']}"
        elif unit < 0:
            yield f"{price}: expected 0 or more, found {unit}"
        elif quantity is not None and unit * quantity != row[cost]:
            yield f"{cost}: expected {price} x PricingQuantity = {unit * quantity}, found {row[cost]}"
    for quantity, unit in (("PricingQuantity", "PricingUnit"), ("ConsumedQuantity", "ConsumedUnit")):
        if (row.get(quantity) is None) != (row.get(unit) is None):
            yield f"{quantity} and {unit} go together"


def _of_split(row: Row) -> Iterator[str]:
    if row.get("AllocatedMethodId") is None:
        yield from (f"{name} without AllocatedMethodId" for name in SPLIT if row.get(name) is not None)
        return
    if row.get(ORIGIN) is None:
        yield f"{ORIGIN} is missing of a charge that was split from another"
    if (row["AllocatedResourceId"] is None) != (row["AllocatedResourceName"] is None):
        yield "AllocatedResourceId and AllocatedResourceName go together"
    if _ratio(row) is None:
        yield "AllocatedMethodDetails: expected Elements, each with an AllocatedRatio from 0 to 1"
    tags, inherited = _parsed(row.get("AllocatedTags") or "{}"), _parsed(row.get("Tags") or "{}")
    yield from (f"AllocatedTags repeats {key!r} of Tags" for key in tags if key in inherited)
    for key, value in tags.items():
        if not (isinstance(value, str) or value is True):
            yield f"AllocatedTags: {key!r} is neither text nor true"


def _ratio(row: Row) -> Decimal | None:
    """The ratios of a row's elements together; None where there are none that count."""
    details = _parsed(row["AllocatedMethodDetails"] or "{}")
    elements = details.get("Elements")
    if not isinstance(elements, list) or not elements:
        return None
    ratios = [each.get("AllocatedRatio") if isinstance(each, dict) else None for each in elements]
    numbers = [each for each in ratios if isinstance(each, Decimal) and 0 <= each <= 1]
    return sum(numbers, Decimal(0)) if len(numbers) == len(ratios) else None


def _of_sums(group: Sequence[tuple[int, Row]], cost: Decimal, quantity: Decimal) -> Iterator[str]:
    rows = [row for _, row in group]
    for name, expected in (("BilledCost", cost), ("EffectiveCost", cost), ("ConsumedQuantity", quantity)):
        found = sum((row[name] for row in rows), Decimal(0))
        if found != expected:
            yield f"{name} adds up to {found}, and it had {expected}"
    ratio = sum((_ratio(row) or Decimal(0) for row in rows), Decimal(0))
    if ratio != 1:
        yield f"AllocatedRatio adds up to {ratio}"
    for name in (name for name in rows[0] if name in KNOWN and name not in _OWN):
        if len({row[name] for row in rows}) > 1:
            yield f"{name} differs between its rows"
    times = Counter(row["AllocatedResourceId"] for row in rows)
    yield from (f"AllocatedResourceId {name!r} comes {count} times" for name, count in times.items() if count > 1)
