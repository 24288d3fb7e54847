"""Files of FOCUS 1.3: what GPUs cost, split over those who used them.

The origin charge is a replica's day (UTC). It stands in the file only as what it was split into, one row for each team,
release and purpose, one for what was overhead and one for what was idle, so that nothing is counted twice. `IDLE` has
no allocated resource, as the specification asks of what was not allocated.

Pure: lines and hours in, rows out. `gateway/costs/focus_rules.py` checks them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from gateway.costs.apportion import apportion
from gateway.costs.focus_rules import ORIGIN
from gateway.costs.sheets import Kind
from gateway.costs.sums import summed
from gateway.stores.cost_lines import IDLE, NONE, OVERHEAD, CostLine
from gateway.stores.costs import ReplicaHour

METHOD = "tollgate-shared-wall-time/v1"
MICRO, RATIO = Decimal("0.000001"), 12
"""The unit of time, in seconds, and how many decimal places a ratio has."""
BY = ("replica", "pool", "day", "team", "release", "model", "purpose")
"""What lines must be grouped by, besides tags, to be split charges."""
SCALE = 18
"""Decimal places in a file that must have a fixed number of them: a price of a million tokens times tokens."""

COMMON: dict[str, Kind] = {
    "BilledCost": "amount",
    "BillingAccountId": "text",
    "BillingAccountName": "text",
    "BillingCurrency": "text",
    "BillingPeriodEnd": "moment",
    "BillingPeriodStart": "moment",
    "ChargeCategory": "text",
    "ChargeClass": "text",
    "ChargeDescription": "text",
    "ChargeFrequency": "text",
    "ChargePeriodEnd": "moment",
    "ChargePeriodStart": "moment",
    "ConsumedQuantity": "amount",
    "ConsumedUnit": "text",
    "ContractedCost": "amount",
    "EffectiveCost": "amount",
    "HostProviderName": "text",
    "InvoiceIssuerName": "text",
    "ListCost": "amount",
    "PricingCategory": "text",
    "PricingQuantity": "amount",
    "PricingUnit": "text",
    "ProviderName": "text",
    "PublisherName": "text",
    "ServiceCategory": "text",
    "ServiceName": "text",
    "ServiceProviderName": "text",
    "ServiceSubcategory": "text",
    "SkuId": "text",
    "SkuMeter": "text",
    "SkuPriceId": "text",
}
_SPLIT: dict[str, Kind] = {
    "AllocatedMethodDetails": "json",
    "AllocatedMethodId": "text",
    "AllocatedResourceId": "text",
    "AllocatedResourceName": "text",
    "AllocatedTags": "json",
    "ResourceId": "text",
    "ResourceName": "text",
    "ResourceType": "text",
}
_OWN: dict[str, Kind] = {
    "x_CachedTokenCount": "count",
    "x_CostCentre": "text",
    "x_FullyLoadedCost": "amount",
    "x_InputTokenCount": "count",
    ORIGIN: "text",
    "x_OutputTokenCount": "count",
    "x_RequestCount": "count",
}
COLUMNS: dict[str, Kind] = dict(sorted((COMMON | _SPLIT).items())) | _OWN
"""Of the file of split charges."""


@dataclass(frozen=True, slots=True)
class Names:
    """Who pays, and who is paid: names that only the operator knows."""

    account: str = "tollgate"
    provider: str = "Self-hosted"


class Origin(NamedTuple):
    """A replica's day: what it cost, and for how long it was paid for."""

    replica: str
    pool: str
    day: str
    cost: Decimal
    paid_us: int

    @property
    def charge_id(self) -> str:
        """Names it in the rows that it was split into."""
        return f"{quote(self.pool)}/{quote(self.replica)}/{self.day}"

    @property
    def seconds(self) -> Decimal:
        """Time that was paid for."""
        return self.paid_us * MICRO


def origins(hours: Iterable[ReplicaHour]) -> list[Origin]:
    """The days of replicas, from their closed hours."""
    costs: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    times: dict[tuple[str, str, str], int] = defaultdict(int)
    for hour in hours:
        key = (hour.replica, hour.pool, datetime.fromtimestamp(hour.hour * 3600, UTC).date().isoformat())
        costs[key] += hour.cost
        times[key] += hour.paid_us
    return [Origin(*key, costs[key], times[key]) for key in sorted(costs)]


def totals(charges: Iterable[Origin]) -> dict[str, tuple[Decimal, Decimal]]:
    """What the rows of each charge must add up to: money, seconds."""
    return {each.charge_id: (each.cost, each.seconds) for each in charges}


def split(
    lines: Sequence[CostLine], charges: Sequence[Origin], names: Names, tags: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of charges, from lines grouped by BY and `tag:NAME` of each of `tags`.

    Lines without a charge are left out: what ran on no replica with a price, and hours that are not closed. A charge
    that no line has a part of is idle.
    """
    found: dict[tuple[str, str, str], list[CostLine]] = defaultdict(list)
    for line in lines:
        found[line.group["replica"], line.group["pool"], line.group["day"]].append(line)
    rows: list[dict[str, Any]] = []
    for charge in charges:
        rows += _parts(charge, found.get((charge.replica, charge.pool, charge.day), []), names, tags)
    return rows


def _parts(charge: Origin, lines: Sequence[CostLine], names: Names, tags: Sequence[str]) -> list[dict[str, Any]]:
    grouped: dict[str, list[CostLine]] = defaultdict(list)
    for line in lines:
        grouped[_resource(line, tags) or ""].append(line)
    held = {name: summed(some[0].group, some) for name, some in grouped.items()}
    costs = {name: int(line.allocated.scaleb(9)) for name, line in held.items()}
    if not sum(costs.values()):
        costs.setdefault("", 1)  # what costs nothing has no parts: all of it is idle
    ratios, times = apportion(10**RATIO, costs), apportion(charge.paid_us, costs)
    rows = []
    for name in costs:
        part, seconds = held.get(name), times[name] * MICRO
        cost = Decimal(0) if part is None else part.allocated
        rows.append(
            common(charge.day, names)
            | {
                "AllocatedMethodDetails": _details(ratios[name], seconds),
                "AllocatedMethodId": METHOD,
                "AllocatedResourceId": name or None,
                "AllocatedResourceName": part.group["team"] if part is not None and name else None,
                "AllocatedTags": _tags(part, tags) if part is not None and name else None,
                "BilledCost": cost,
                "BillingCurrency": "USD",
                "ChargeCategory": "Usage",
                "ChargeDescription": f"GPU time of {charge.replica}: {_centre(part)}",
                "ConsumedQuantity": seconds,
                "ConsumedUnit": "Seconds",
                "ContractedCost": cost,
                "EffectiveCost": cost,
                "ListCost": cost,
                "PricingCategory": "Standard",
                "PricingQuantity": seconds,
                "PricingUnit": "Seconds",
                "ResourceId": f"replica/{charge.replica}",
                "ResourceName": charge.replica,
                "ResourceType": "GPU replica",
                "ServiceCategory": "Compute",
                "ServiceName": "GPU replicas",
                "ServiceSubcategory": "Virtual Machines",
                "SkuId": f"pool/{charge.pool}",
                "SkuMeter": "GPU Replica Time",
                "SkuPriceId": f"pool/{charge.pool}",
                "x_CachedTokenCount": 0 if part is None else part.cached_tokens,
                "x_CostCentre": _centre(part),
                "x_FullyLoadedCost": cost if part is None else part.loaded,
                "x_InputTokenCount": 0 if part is None else part.input_tokens,
                ORIGIN: charge.charge_id,
                "x_OutputTokenCount": 0 if part is None else part.output_tokens,
                "x_RequestCount": 0 if part is None else part.requests,
            }
        )
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _resource(line: CostLine, tags: Sequence[str]) -> str | None:
    """Who a line is for, in one text that is nobody else's; None where it is for nobody."""
    team = line.group["team"]
    if team == IDLE:
        return None
    parts = [
        team,
        *(line.group[name] for name in ("release", "model", "purpose")),
        *(line.group[f"tag:{t}"] for t in tags),
    ]
    return OVERHEAD if team == OVERHEAD else "team/" + "/".join(quote(part, safe="@: ") for part in parts)


def _centre(line: CostLine | None) -> str:
    """The cost centre: idle and overhead are nobody's, and quality is what measures the models."""
    if line is None or line.group["team"] == IDLE:
        return "idle"
    if line.group["team"] == OVERHEAD:
        return "overhead"
    return "serve" if line.group["purpose"] == "serve" else "quality"


def _details(ratio: int, seconds: Decimal) -> str:
    """JSON with numbers as they are: no float, and no exponent, which the specification forbids."""
    element = {
        "AllocatedRatio": msgspec.Raw(f"{Decimal(ratio).scaleb(-RATIO):f}".encode()),
        "UsageUnit": "Seconds",
        "UsageQuantity": msgspec.Raw(f"{seconds:f}".encode()),
    }
    return msgspec.json.encode({"Elements": [element]}).decode()


def _tags(line: CostLine, tags: Sequence[str]) -> str:
    own = {
        f"tollgate/{name}": line.group[name]
        for name in ("team", "release", "model", "purpose")
        if line.group[name] != NONE
    }
    return msgspec.json.encode(
        own | {t: line.group[f"tag:{t}"] for t in tags if line.group[f"tag:{t}"] != NONE}
    ).decode()


def common(day: str, names: Names) -> dict[str, Any]:
    """What every charge of a day says: when, and between whom."""
    start = datetime.combine(date.fromisoformat(day), time(), UTC)
    month = start.replace(day=1)
    return {
        "BillingAccountId": names.account,
        "BillingAccountName": names.account,
        "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1),
        "BillingPeriodStart": month,
        "ChargeClass": None,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": start + timedelta(days=1),
        "ChargePeriodStart": start,
        "HostProviderName": names.provider,
        "InvoiceIssuerName": names.provider,
        "ProviderName": names.provider,
        "PublisherName": names.provider,
        "ServiceProviderName": names.provider,
    }
