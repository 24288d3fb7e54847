"""Releases as an operator sees them, and putting one live: what `gateway releases` and the admin API both do.

There is one way to promote, and it asks the gate: `control_plane.state.State.promote`.
"""

import time
from collections.abc import Callable
from typing import Any

from gateway.config import Deployment
from gateway.control_plane.state import State
from gateway.stores.bundle import Stores


def state_of(deployment: Deployment, stores: Stores, clock: Callable[[], float] = time.time) -> State:
    """What serves by a deployment and its stores, without engines. Raises VerdictError for keys that cannot be read."""
    return State(deployment, stores.keys, stores.releases, clock, pools={})


def listed(deployment: Deployment, state: State, now: float) -> list[dict[str, Any]]:
    """Every release: its digest, whether it is live, its verdict, and why it may not serve (None: it may)."""
    snapshot, rows = state.snapshot, []
    for release in deployment.releases.values():
        gate = snapshot.gates.get(release.name)
        rows.append(
            {
                "release": release.name,
                "digest": release.digest,
                "live": snapshot.live[release.model] == release.name,
                "verdict": "not asked for" if gate is None else gate.answer or "none",
                "refusal": None if gate is None else gate.explained(now),
            }
        )
    return rows
