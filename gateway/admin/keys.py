"""Virtual keys as the admin API shows them: never a secret, and never a digest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.admin.errors import Conflict
from gateway.config import GatewayConfig
from gateway.policy.auth import KeyRecord
from gateway.settings import tags


def shown(record: KeyRecord, now: float) -> dict[str, Any]:
    """What is told of a key. None: no limit, every model, its team's class, no end."""
    return {
        "id": record.id,
        "name": record.name,
        "team": record.team,
        "scope": record.scope,
        "models": None if record.models is None else sorted(record.models),
        "tags": tags.decode(record.tags),
        "rpm": record.rpm,
        "tpm": record.tpm,
        "concurrency": record.concurrency,
        "class": record.priority_class,
        "created_at": moment(record.created_at),
        "expires_at": moment(record.expires_at),
        "revoked_at": moment(record.revoked_at),
        "refusal": record.refusal(now),
    }


def require(config: GatewayConfig, models: Sequence[str] | None, priority_class: str | None) -> None:
    """Raise Conflict for a model or a class that the configuration has not: the key would open nothing."""
    for model in models or ():
        if model not in config.models:
            raise Conflict(f"no model {model!r} in this configuration: it has {', '.join(sorted(config.models))}")
    if priority_class is not None and priority_class not in config.classes:
        known = ", ".join(sorted(config.classes))
        raise Conflict(f"no class {priority_class!r} in this configuration: it has {known}")


def moment(seconds: float | None) -> str | None:
    """A moment in ISO 8601, UTC; None for none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
