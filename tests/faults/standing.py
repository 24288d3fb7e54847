"""Several gateways over servers whose ways to them can be cut or made slow, and what each client was told."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.stores.bundle import Stores, open_stores
from tests.engine import raw
from tests.faults.network import Network, Relay, relay
from tests.gateway.builders import write_config
from tests.gateway.postgres import Postgres
from tests.gateway.process import NOTHING, Gateway, running
from tests.gateway.redis_server import RedisServer
from tests.gateway.serving import PRICES, make_key
from tests.polling import until

SLOTS = 8
AMOUNT = "5"
TIMEOUTS = {"connect": 1, "first_byte": 60, "idle": 60, "total": 120, "client": 10}
HEALTH = {"period": 0.25, "timeout": 1, "failures": 2, "slow_start": 0, "scrape": 0, "fingerprint": False}
PATH = "/v1/chat/completions"
BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 20}
NOWHERE: Mapping[int, Mapping[str, str]] = {}
CODE = "from tests.faults.inside import main; main()"
STARTS = 2
"""So many times as long as elsewhere a start may take: the library that has clocks jump makes it slower."""
HANGS_S = 75.0
"""Nothing that a client asks for takes longer, whatever is broken."""


@dataclass
class Told:
    """What became of one request: the answer as far as it came, and None where not even its head did."""

    answer: raw.Answer | None

    @property
    def id(self) -> str | None:
        """Its id in the ledger."""
        return None if self.answer is None else self.answer.header("x-tollgate-request-id")

    @property
    def status(self) -> int:
        """0 for no answer."""
        return 0 if self.answer is None else self.answer.status

    @property
    def code(self) -> str:
        """The code of its error: of the whole answer, or of the last event of a stream; empty without one."""
        if self.answer is None or not self.answer.whole:
            return ""
        if self.status != 200:
            return str(self.answer.json["error"]["code"])
        found = [each for each in self.answer.events if b'"error"' in each]
        return str(raw.Answer(200, [], [found[-1].removeprefix(b"data: ")]).json["error"]["code"]) if found else ""


@dataclass
class Fleet:
    """The processes, and what they stand on. `ways` are relays, by where they lead: `postgres`, `redis`, `engine-0`."""

    folder: Path
    postgres: Postgres
    redis: RedisServer
    database: str
    stores: Stores
    ways: dict[str, Relay]
    settings: dict[str, Any]
    network: Network | None = None
    gateways: list[Gateway] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    environment: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    killed: bool = False
    """Whether a gateway was killed: what it held comes back by time alone."""

    @property
    def here(self) -> str:
        """The address of the tests, as gateways see it."""
        return "127.0.0.1" if self.network is None else self.network.here

    def key(self, team: str) -> str:
        return make_key(self.stores, team=team)

    async def start(self, stack: AsyncExitStack, number: int, **changes: Any) -> Gateway:
        """The gateway of one folder, new or again."""
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "prices.yaml").write_text(PRICES.model_dump_json(exclude_none=True))
        at = f"@127.0.0.1:{self.postgres.port}"
        values = {
            "health": HEALTH,
            "timeouts": TIMEOUTS,
            "prices": "prices.yaml",
            "database": self.database.replace(at, f"@{self.here}:{self.ways['postgres'].port}"),
            "teams": {"search": {"concurrency": SLOTS}, "free": {}, "pilot": {}},
            "budgets": {"pilot": {"team": "pilot", "amount": AMOUNT, "per": "day"}},
            "redis": {"url": f"redis://{self.here}:{self.ways['redis'].port}/0", "timeout": 2, "share_limits": True},
        }
        urls = [f"http://{self.here}:{way.port}" for name, way in self.ways.items() if name.startswith("engine")]
        write_config(folder, urls, **{**values, **self.settings, **changes})
        address = "127.0.0.1" if self.network is None else self.network.address(number)
        gateway = await stack.enter_async_context(
            running(
                folder,
                *("--config", "gateway.yaml", "--host", address),
                before=() if self.network is None else self.network.within(number),
                environment=self.environment.get(number, NOTHING),
                code=CODE,
            )
        )
        for _ in range(STARTS):
            with suppress(TimeoutError):
                await gateway.answers(key="none")
                return gateway
        await gateway.answers(key="none")
        return gateway

    def use(self, database: str, spool: Path) -> None:
        """Another database, before anything is started."""
        self.stores.database.dispose()
        self.database, self.stores = database, open_stores(database, spool)

    async def ask(
        self, gateway: Gateway, key: str, *, stream: bool = False, headers: Mapping[str, str] = NOTHING
    ) -> Told:
        """One request, and what its client was told. Raises TimeoutError where it hangs."""
        told = Told(None)
        try:
            async with asyncio.timeout(HANGS_S), raw.connect(gateway.url) as client:
                given = {"authorization": f"Bearer {key}", **headers}
                await client.send("POST", PATH, BODY | {"stream": stream}, given)
                told.answer = await client.answer()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway is gone
        self.told.append(told)
        return told

    async def asks(self, gateways: Sequence[Gateway], keys: Sequence[str], count: int) -> list[Told]:
        """So many at once, half of them streams, over all of these gateways and keys in turn."""
        return await asyncio.gather(
            *(self.ask(gateways[at % len(gateways)], keys[at % len(keys)], stream=at % 4 >= 2) for at in range(count))
        )

    async def everywhere(self, key: str, status: int, gateways: Sequence[Gateway] | None = None) -> None:
        """Wait until every one of the gateways answers so."""
        for gateway in gateways or self.gateways:

            async def so(gateway: Gateway = gateway) -> bool:
                return (await self.ask(gateway, key)).status == status

            await until(so)


@asynccontextmanager
async def fleet(
    folder: Path,
    servers: tuple[Postgres, RedisServer],
    engine_ports: Sequence[int],
    count: int,
    *,
    network: Network | None = None,
    environment: Mapping[int, Mapping[str, str]] = NOWHERE,
    **settings: Any,
) -> AsyncIterator[tuple[Fleet, AsyncExitStack]]:
    """So many gateways, started together. `settings` change what their configurations have in common."""
    postgres, redis = servers
    database = postgres.url()
    ports = {"postgres": postgres.port, "redis": redis.port}
    ports |= {f"engine-{number}": port for number, port in enumerate(engine_ports)}
    async with AsyncExitStack() as stack:
        host = "127.0.0.1" if network is None else network.here
        ways = {name: await stack.enter_async_context(relay(host, port)) for name, port in ports.items()}
        stores = open_stores(database, folder / f"spool-{os.getpid()}")
        made = Fleet(folder, postgres, redis, database, stores, ways, settings, network, environment=environment)
        stack.callback(stores.database.dispose)
        for number in range(count):  # one after the other: a busy machine gives each its time
            made.gateways.append(await made.start(stack, number))
        yield made, stack
