"""What serves now: one deployment, its replicas and its state, replaced as a whole by a reload."""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from gateway import changes
from gateway.config import Deployment
from gateway.contracts.errors import InputError
from gateway.control_plane.fleet import Fleet
from gateway.control_plane.state import State
from gateway.settings.health import Health
from gateway.stores.bundle import Stores
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

AGAIN_S = 1.0
"""Between two attempts while the database is away."""

log = logging.getLogger("tollgate")


class Current:
    """`deployment`, its `digest` and its `state` change together, in one step of the event loop."""

    def __init__(
        self,
        deployment: Deployment,
        stores: Stores,
        telemetry: Telemetry,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._stores = stores
        self._telemetry = telemetry
        self._clock = clock
        self._fleet = Fleet(telemetry, monotonic)
        pools = self._fleet.pools(deployment.config)
        self.deployment, self.digest = deployment, changes.digest(deployment)
        self.state = State(deployment, stores.keys, stores.releases, clock, pools, telemetry.rule_error)
        self._fleet.serve(deployment.config, pools)

    @property
    def health(self) -> Health:
        """How its engines are watched."""
        return self.deployment.config.health

    @property
    def replicas(self) -> list[Upstream]:
        """Every replica that serves or still ends what it has begun."""
        return self._fleet.replicas

    async def reload(self, deployment: Deployment | None) -> None:
        """Serve another deployment from now on; None only counts one that was refused.

        A request keeps what was served when it began. Law 8: a deployment that cannot serve changes nothing. A
        database that is away is waited for.
        """
        applied = deployment is not None and await self._applied(deployment)
        self._telemetry.config_reloads.labels("applied" if applied else "refused").inc()

    async def _applied(self, deployment: Deployment) -> bool:
        told = False
        while True:
            try:
                await self._replace(deployment)
                return True
            except SQLAlchemyError as error:
                if not told:
                    log.error("the new configuration waits for the database: %s", error)
                told = True
                await asyncio.sleep(AGAIN_S)
            except InputError as error:
                log.error("the new configuration is refused, and the last good one keeps serving: %s", error)
                return False

    async def _replace(self, deployment: Deployment) -> None:
        """Another state: what a thread still works out for the old one reaches nobody."""
        pools = self._fleet.pools(deployment.config)
        stores = self._stores
        told = self._telemetry.rule_error
        state = await asyncio.to_thread(State, deployment, stores.keys, stores.releases, self._clock, pools, told)
        self._fleet.serve(deployment.config, pools)
        self.deployment, self.digest, self.state = deployment, changes.digest(deployment), state

    def tick(self) -> None:
        """Have the queues look for room that nobody told them of."""
        self._fleet.tick()

    def part(self) -> None:
        """Let go of replicas that were replaced and are done."""
        parted = self._fleet.part()
        for name in {replica.name for replica in parted} - {replica.name for replica in self.replicas}:
            self._telemetry.gone(name)

    def close(self) -> None:
        """Close every idle connection to a replica."""
        self._fleet.close()
