"""What one of all gateways over a database does for them: closing the books of past hours, and retention.

Every gateway asks whether it leads. The loops of one that does not wait, and go on at once when it does.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.config import Deployment
from gateway.control_plane import closer, loops
from gateway.costs.fleet import Engine
from gateway.stores.bundle import Stores
from gateway.stores.leadership import Leadership
from gateway.telemetry import Telemetry

LOOK_S = 2.0
"""Between two looks at who leads: within this time another gateway takes over from one that died."""


class Served(Protocol):
    """What is read of `current.Current`: `costed` are the replicas as costs see them."""

    costed: dict[str, Engine]
    deployment: Deployment


class Leading:
    """One gateway's part. Rows are kept for as long as `served` said when it was made."""

    def __init__(
        self,
        stores: Stores,
        telemetry: Telemetry,
        clock: Callable[[], float],
        served: Served,
        *,
        chosen: bool,
    ) -> None:
        self._stores, self._telemetry, self._clock, self._served = stores, telemetry, clock, served
        self._retention_days = served.deployment.config.ledger.retention_days
        self._leadership = Leadership(stores.database, chosen=chosen)
        self._leads = asyncio.Event()

    def work(self) -> list[loops.Loop]:
        """Its loops."""
        return [
            partial(loops.every, LOOK_S, self.look),
            partial(loops.every, loops.CLOSE_S, self.close_hours),
            partial(loops.every, loops.FOLD_S, self.fold),
        ]

    async def look(self) -> None:
        """See whether this gateway leads."""
        if await asyncio.to_thread(self._leadership.leads):
            self._leads.set()
        else:
            self._leads.clear()
        self._telemetry.leader.set(self._leads.is_set())

    async def close_hours(self) -> None:
        """Close the books of the hours that are due, once this gateway leads."""
        await self._leads.wait()
        await closer.close_hours(self._stores, self._clock(), self._served.costed)

    async def fold(self) -> None:
        """Let old rows go, once this gateway leads."""
        await self._leads.wait()
        await loops.fold(self._stores.database, self._retention_days, self._clock())

    def close(self) -> None:
        """Let another gateway lead."""
        self._leads.clear()
        self._leadership.close()
