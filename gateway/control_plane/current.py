"""What serves now: one deployment, its replicas and its state, replaced as a whole by a reload."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from gateway import changes
from gateway.config import Deployment
from gateway.contracts.errors import InputError
from gateway.control_plane.fleet import Fleet
from gateway.control_plane.state import State
from gateway.costs.fleet import Engine, engines, rented
from gateway.policy.auth import Principal, still
from gateway.server.limits import Leaving
from gateway.settings.health import Health
from gateway.stores.bundle import Stores
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream

REFUSED: str | None = "it does not validate"
"""Why a configuration does not serve of which nothing more is known here."""
AGAIN_S = 1.0
"""Between two attempts while the database is away."""

log = logging.getLogger("tollgate")


def priced(deployment: Deployment, stores: Stores, now: float) -> None:
    """Raise InputError unless every model has a price or is unpriced, by a version that stands for these prices alone.

    Asked at the start of a gateway and of every reload, and not when a worker takes a dead one's place.
    """
    deployment.prices.cover(now)
    stores.price_books.register(deployment.prices, now)


async def taken(replace: Callable[[], Awaitable[None]]) -> str | None:
    """Replace what serves, waiting for a database that is away. Why it is refused; None when it serves."""
    told = False
    while True:
        try:
            await replace()
            return None
        except SQLAlchemyError as error:
            if not told:
                log.error("the new configuration waits for the database: %s", error)
            told = True
            await asyncio.sleep(AGAIN_S)
        except InputError as error:
            log.error("the new configuration is refused, and the last good one keeps serving: %s", error)
            return str(error)


class Current:
    """`deployment`, its `digest` and its `state` change together, in one step of the event loop.

    Before they do, its replicas are declared as what is paid for from then on. `costed` are the replicas as costs see
    them, those of earlier deployments too: their last hours are still to be closed. `leaving`: whether it is to end.
    """

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
        self.leaving = Leaving()
        self._fleet = Fleet(telemetry, monotonic)
        pools = self._fleet.pools(deployment.config)
        self.deployment, self.digest = deployment, changes.digest(deployment)
        self.state = State(deployment, stores.keys, stores.releases, clock, pools, telemetry.rule_error)
        stores.price_books.register(deployment.prices, clock())
        self._fleet.serve(deployment.config, pools)
        self.costed = self._declared(deployment)

    @property
    def health(self) -> Health:
        """How its engines are watched."""
        return self.deployment.config.health

    @property
    def replicas(self) -> list[Upstream]:
        """Every replica that serves or still ends what it has begun."""
        return self._fleet.replicas

    @property
    def addresses(self) -> dict[str, str]:
        """The URL of each engine, by its replica's name."""
        return {replica.name: replica.url for pool in self.state.serving.pools.values() for replica in pool.engines}

    def still(self, principal: Principal) -> None:
        """Raise InvalidKey for a key that has ended since it was shown."""
        still(principal, self.state.serving.snapshot.keys, self._clock())

    async def reload(self, deployment: Deployment | None) -> str | None:
        """Serve another deployment from now on; None only counts one that was refused. Returns why it does not serve.

        A request keeps what was served when it began. Law 8: a deployment that cannot serve changes nothing. A
        database that is away is waited for.
        """
        refusal = REFUSED if deployment is None else await taken(partial(self._replace, deployment))
        self._telemetry.config_reloads.labels("applied" if refusal is None else "refused").inc()
        return refusal

    async def _replace(self, deployment: Deployment) -> None:
        """Another state: what a thread still works out for the old one reaches nobody."""
        pools = self._fleet.pools(deployment.config)
        stores = self._stores
        told = self._telemetry.rule_error
        state = await asyncio.to_thread(State, deployment, stores.keys, stores.releases, self._clock, pools, told)
        await asyncio.to_thread(priced, deployment, stores, self._clock())
        self.costed = {**self.costed, **await asyncio.to_thread(self._declared, deployment)}
        self._fleet.serve(deployment.config, pools)
        self.deployment, self.digest, self.state = deployment, changes.digest(deployment), state

    def _declared(self, deployment: Deployment) -> dict[str, Engine]:
        found = engines(deployment.config)
        gateway = f"{socket.gethostname()}:{deployment.config.listen.port}"
        self._stores.rentals.declare(gateway, self._clock(), rented(found))
        return found

    async def tick(self) -> None:
        """Let go of replicas that were replaced and are done; have queues look for room that nobody told them of."""
        parted = self._fleet.part()
        for name in {replica.name for replica in parted} - {replica.name for replica in self.replicas}:
            self._telemetry.gone(name)
        self._fleet.tick()

    def close(self) -> None:
        """Close every idle connection to a replica."""
        self._fleet.close()
