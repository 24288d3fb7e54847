"""Lines and hours of costs for tests, made by hand, and a month of a fleet that is large enough to look at."""

import math
import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from gateway.costs.apportion import apportion
from gateway.stores.cost_lines import IDLE, OVERHEAD, CostLine

NANO = Decimal("0.000000001")
GROUP = {
    "team": "search",
    "purpose": "serve",
    "release": "support@3",
    "model": "support",
    "replica": "gpu-1",
    "pool": "main",
    "day": "2026-11-02",
}


def usd(nano: int) -> Decimal:
    """Money of so many billionths."""
    return nano * NANO


def cost_line(allocated: str | Decimal = "1", **changes: Any) -> CostLine:
    """One request of the team `search`, what it was allocated being the same by every method; names of a group change
    it, every other one a field."""
    amount = Decimal(allocated)
    fields: dict[str, Any] = {
        "group": {
            **GROUP,
            **{name: changes.pop(name) for name in (*GROUP, *changes) if name in changes and name in GROUP},
        },
        "requests": 1,
        "input_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 10,
        "reasoning_tokens": 0,
        "list_cost": Decimal("0.5"),
        "currency": "USD",
        **dict.fromkeys(("allocated", "loaded", "by_requests", "by_tokens", "by_weight"), amount),
        **dict.fromkeys(("unpriced", "unmetered", "cached_unknown", "unallocated"), 0),
    }
    tags = {name: changes.pop(name) for name in [*changes] if name.startswith("tag:")}
    fields["group"] |= tags
    return CostLine(**{**fields, **changes})


def nobody(team: str = IDLE, allocated: str | Decimal = "1", **changes: Any) -> CostLine:
    """Time that nobody asked for."""
    nothing: dict[str, Any] = dict.fromkeys(("requests", "input_tokens", "cached_tokens", "output_tokens"), 0)
    nothing |= {"release": "", "model": "", "purpose": "", "list_cost": None, "currency": None}
    return cost_line(allocated, team=team, **{**nothing, **changes})


def month(
    teams: Sequence[str], days: int = 24, first: date = date(2026, 11, 1), pools: Sequence[str] = ("chat", "embed")
) -> Iterator[CostLine]:
    """Lines of a fleet, by team, purpose, day and pool: busy on weekdays, idle at night and on weekends."""
    draw = random.Random(5)
    for at in range(days):
        day = first + timedelta(days=at)
        for number, pool in enumerate(pools):
            cost = 24 * 2_490_000_000 * (8 if number == 0 else 2)
            used = (0.7 if day.weekday() < 5 else 0.3) * (0.9 + 0.2 * draw.random()) / (1 + number)
            weights = {"": 1 - used, OVERHEAD: used * 0.01, "harness": used * 0.03}
            weights |= {
                team: used * 0.96 * draw.uniform(0.7, 1.3) / (rank + 1) ** 1.1 for rank, team in enumerate(teams)
            }
            parts = apportion(cost, weights)
            idle, overhead = parts.pop(""), parts.pop(OVERHEAD)
            rest = apportion(idle + overhead, parts)
            others = {
                method: apportion(
                    sum(parts.values()), {team: part * draw.uniform(0.4, 1.9) for team, part in parts.items()}
                )
                for method in ("by_requests", "by_tokens", "by_weight")
            }
            where = {"day": day.isoformat(), "pool": pool, "replica": f"{pool}-1"}
            yield nobody(IDLE, usd(idle), loaded=Decimal(0), **where)
            yield nobody(OVERHEAD, usd(overhead), loaded=Decimal(0), **where)
            for team, part in parts.items():
                requests = max(1, math.isqrt(part) // 40)
                yield cost_line(
                    usd(part),
                    team=team,
                    purpose="evaluate" if team == "harness" else "serve",
                    loaded=usd(part + rest[team]),
                    requests=requests,
                    input_tokens=requests * 1_200,
                    cached_tokens=requests * 500,
                    output_tokens=requests * 240,
                    list_cost=usd(requests * 398_000),
                    **{method: usd(found[team]) for method, found in others.items()},
                    **where,
                )
