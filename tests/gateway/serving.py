"""The real application on a real socket, in front of simulated engines."""

import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
import uvicorn

from gateway.app import Application, build
from gateway.config import (
    Deployment,
    Enforcement,
    GatewayConfig,
    Limits,
    ModelConfig,
    PoolConfig,
    Release,
    ReleaseConfig,
    ReplicaConfig,
    Timeouts,
)
from gateway.contracts.ledger import LedgerRow
from gateway.contracts.prices import Price, PriceBook
from gateway.contracts.release import ModelFiles, Prompt, ReleaseManifest, Sampling
from gateway.policy.auth import Scope
from gateway.server import limits as server_limits
from gateway.server.protocol import HttpProtocol
from gateway.settings.health import Health
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import open_database
from tests.polling import until

PRICES = PriceBook(version="test", models={"faq": Price(input="0.20", output="0.60", cached_input="0.02")})  # type: ignore[arg-type]


def release(version: str, pool: str = "main", **parts: Any) -> Release:
    """A release of the model `faq`."""
    manifest = ReleaseManifest(name=f"faq@{version}", model=ModelFiles(id="faq"), **parts)
    return Release(manifest.name, "faq", manifest.digest(), manifest, pool)


def deployment(
    pools: Mapping[str, Sequence[str]],
    releases: Sequence[Release] = (),
    *,
    enforcement: Enforcement | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    health: Health | None = None,
    served_model: str | None = "faq",
) -> Deployment:
    """The model `faq` over pools of engine URLs; the first release is live. No probe asks engines, unless told to."""
    releases = releases or (release("1"),)
    config = GatewayConfig(
        enforcement=enforcement or Enforcement(mode="off"),
        timeouts=timeouts or Timeouts(),
        limits=limits or Limits(),
        health=health or Health(probes=False),
        pools={
            name: PoolConfig(
                served_model=served_model,
                replicas=tuple(ReplicaConfig(url=url, name=f"{name}-{n}") for n, url in enumerate(urls)),
            )
            for name, urls in pools.items()
        },
        models={
            "faq": ModelConfig(
                live=releases[0].name,
                releases=tuple(ReleaseConfig(manifest=Path("-"), pool=each.pool) for each in releases),
            )
        },
    )
    return Deployment(config, {each.name: each for each in releases}, PRICES)


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    port: int
    app: Application
    stores: Stores
    server: uvicorn.Server | None = None

    def key(self, *, team: str = "search", scope: Scope = "serve", models: Sequence[str] | None = None) -> str:
        """A new virtual key, known to the gateway at its next refresh; made before the start it is known at once."""
        return make_key(self.stores, team=team, scope=scope, models=models)

    async def rows(self, count: int) -> list[LedgerRow]:
        """Settled rows, once there are `count` of them and nothing is in flight."""
        spool = self.app.data_plane.spool
        rows: list[LedgerRow] = []

        def settled() -> bool:
            rows[:] = self._rows(count + 1)
            return spool.open_count == 0 and spool.lag == 0 and len(rows) >= count

        await until(settled)
        assert len(rows) == count, f"expected {count} rows, found {len(rows)}"
        return rows

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        await until(condition)

    def _rows(self, limit: int) -> list[LedgerRow]:
        rows = self.stores.ledger.recent(limit)
        amounts = ("cost", "gpu_estimate")
        return [
            LedgerRow(**{name: _text(row[name]) if name in amounts else row[name] for name in _FIELDS if name in row})
            for row in rows
        ]

    def in_flight(self) -> list[int]:
        """The count of every replica."""
        return [replica.in_flight for pool in self.app.state.serving.pools.values() for replica in pool.replicas]


_FIELDS = LedgerRow.__struct_fields__


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else format(cost, "f")


def make_key(
    stores: Stores, *, team: str = "search", scope: Scope = "serve", models: Sequence[str] | None = None
) -> str:
    """A new virtual key."""
    text, _ = stores.keys.create(
        name="test", team=team, scope=scope, models=models, now=0.0, ttl_s=None, random_bytes=os.urandom
    )
    return text


def new_database(folder: Path) -> str:
    """The URL of tollgate.db in a folder, where a database with the tables of today is put unless one is there."""
    file = folder / "tollgate.db"
    if not file.exists():
        file.write_bytes(_tables())
    return f"sqlite:///{file}"


@cache
def _tables() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "made.db"
        open_database(f"sqlite:///{file}").dispose()
        return file.read_bytes()


@asynccontextmanager
async def serving(
    deployed: Deployment,
    folder: Path,
    *,
    http: str | None = None,
    database: str | None = None,
    patience: server_limits.Limits = server_limits.DEFAULTS,
    **options: Any,
) -> AsyncIterator[tuple[Gateway, str, str]]:
    """(gateway, serve key, evaluate key) of an application on a free loopback port; `http` is another server's.

    `patience` is the server's with its clients, `options` are uvicorn's.
    """
    stores = open_stores(database or new_database(folder), folder / "tollgate.db.spool")
    serve, evaluate = make_key(stores), make_key(stores, team="quality", scope="evaluate")
    numbers = itertools.count()
    app = build(deployed, stores, new_id=lambda: f"{next(numbers):016x}", drain_s=0.005)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        protocol: Any = http or partial(HttpProtocol, limits=patience, direct=app.direct)
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_level="error", **options))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        try:
            await server.on_tick(0)  # sets the date
            yield Gateway(f"http://127.0.0.1:{port}", port, app, stores, server), serve, evaluate
        finally:
            await _end(server)
            await _let_go(stores.database)


async def _let_go(database: sa.Engine) -> None:
    """Once the threads are done that were asking it when the gateway ended."""
    pool = database.pool
    assert isinstance(pool, sa.QueuePool)
    await until(lambda: not pool.checkedout())
    database.dispose()


async def _end(server: uvicorn.Server) -> None:
    """As uvicorn does it, without its pauses: what still runs after a while is cut."""
    state = server.server_state
    for listening in server.servers:
        listening.close()
    for connection in list(state.connections):
        connection.shutdown()
    with suppress(TimeoutError):
        await until(lambda: not (state.connections or state.tasks), 2)
    for task in list(state.tasks):
        task.cancel()
    await server.lifespan.shutdown()


def manifest_parts(*, system: str | None = None, **sampling: Any) -> dict[str, Any]:
    """Parts of a manifest that change requests."""
    return {"prompt": Prompt(system=system), "sampling": Sampling(**sampling)}
