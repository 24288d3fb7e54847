"""How the replicas stand, out of the gateway's own metrics: of one process, or of all its workers together."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from gateway.config import Deployment
from gateway.settings.replicas import ranked

GAUGES = {
    "in_flight": "tollgate_in_flight",
    "breaker_open": "tollgate_breaker_open",
    "up": "tollgate_replica_up",
    "asleep": "tollgate_replica_asleep",
    "kv_usage": "tollgate_replica_kv_usage",
    "waiting": "tollgate_replica_waiting",
}
"""What is told, and the gauge that says it."""
COUNTS, PARTS = ("in_flight", "waiting"), ("kv_usage",)
"""What is a number; all else is yes or no."""


def standings(deployment: Deployment, page: Iterable[Metric]) -> list[dict[str, Any]]:
    """Every replica of every pool, and every provider. None: not known, since it was not looked at or did not say."""
    seen = _by_replica(page)
    found = []
    for pool, config in deployment.config.pools.items():
        rows = [(name, each.url, each.drain) for name, each, _ in ranked(pool, config.replicas)]
        if config.provider is not None:
            rows.append((pool, config.provider.model, False))
        found += [
            {
                "replica": name,
                "pool": pool,
                "address": address,
                "draining": drain,
                **{told: _value(told, seen[gauge].get(name)) for told, gauge in GAUGES.items()},
            }
            for name, address, drain in rows
        ]
    return found


def _by_replica(page: Iterable[Metric]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for family in page:
        if family.name in GAUGES.values():
            found[family.name] |= {sample.labels["replica"]: sample.value for sample in family.samples}
    return found


def _value(told: str, value: float | None) -> float | int | bool | None:
    if value is None or math.isnan(value):
        return None
    if told in COUNTS:
        return int(value)
    return value if told in PARTS else value > 0
