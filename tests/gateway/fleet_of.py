"""Several `gateway serve` over one PostgreSQL and one Redis, each with a folder of its own."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from gateway.stores.bundle import Stores, open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.postgres import Postgres
from tests.gateway.process import HELLO, UNWATCHED, Gateway, running
from tests.gateway.redis_server import RedisServer
from tests.gateway.serving import PRICES, make_key
from tests.polling import tick, until

SLOTS = 12
AMOUNT = Decimal("0.004")
TOKENS = 20
PATH = "/v1/chat/completions"
LOOKS = "tollgate_state_looks_total"


@dataclass
class Fleet:
    """The processes, what they stand on, and every answer that a client had."""

    folder: Path
    engine: Engine
    postgres: Postgres
    redis: RedisServer
    database: str
    stores: Stores
    gateways: list[Gateway] = field(default_factory=list)
    answers: list[raw.Answer] = field(default_factory=list)

    def key(self, team: str) -> str:
        return make_key(self.stores, team=team)

    async def start(self, stack: AsyncExitStack, number: int) -> Gateway:
        """The gateway of one folder, new or again."""
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "prices.yaml").write_text(PRICES.model_dump_json(exclude_none=True))
        write_config(
            folder,
            [self.engine.url],
            health=UNWATCHED,
            prices="prices.yaml",
            database=self.database,
            teams={"search": {"concurrency": SLOTS}, "free": {}, "pilot": {}},
            budgets={"pilot": {"team": "pilot", "amount": str(AMOUNT)}},
            redis={"url": self.redis.url, "timeout": 2, "share_limits": True},
        )
        gateway = await stack.enter_async_context(running(folder, "--config", "gateway.yaml"))
        await gateway.answers(key="none")
        return gateway

    async def ask(self, gateway: Gateway, key: str) -> raw.Answer:
        answer = await raw.post(gateway.url, PATH, HELLO | {"max_tokens": TOKENS}, {"authorization": f"Bearer {key}"})
        self.answers.append(answer)
        return answer

    async def together(self, key: str, count: int, gateways: Sequence[Gateway] | None = None) -> int:
        """How many of so many requests at once are in the engine, once all others are refused; then they all end."""
        asked = gateways or self.gateways
        self.engine.hold()
        asking = [asyncio.create_task(self.ask(asked[number % len(asked)], key)) for number in range(count)]
        await until(lambda: sum(task.done() for task in asking) + self.engine.running == count)
        running, _ = self.engine.running, self.engine.resume()
        statuses = [(await task).status for task in asking]
        assert (statuses.count(200), statuses.count(429)) == (running, count - running)
        return running

    async def everywhere(self, key: str, status: int, release: str | None = None) -> float:
        """The seconds until every gateway answers so."""
        began = time.monotonic()
        for gateway in self.gateways:
            while (answer := await self.ask(gateway, key)).status != status or (
                release is not None and answer.header("x-tollgate-release") != release
            ):
                await tick()
                assert time.monotonic() < began + 60
        return time.monotonic() - began

    async def revoked(self, key: str) -> list[float]:
        """The seconds after which each gateway refused a key that was just revoked.

        Whatever the clock says: no gateway serves it any more once it has looked twice, since the look that ran when
        the key ended may have missed it, and the next one cannot.
        """
        await self.everywhere(key, 200)
        await asyncio.to_thread(self.stores.keys.revoke, key.split("-")[2], time.time())
        began = time.monotonic()
        return await asyncio.gather(*(self._refused(gateway, key, began) for gateway in self.gateways))

    async def _refused(self, gateway: Gateway, key: str, began: float) -> float:
        bearer = {"authorization": f"Bearer {key}"}
        before = looked = await metric(gateway, LOOKS)
        while (await raw.exchange(gateway.url, "GET", "/v1/models", b"", bearer)).status != 401:
            assert looked < before + 2
            looked = await metric(gateway, LOOKS)
        return time.monotonic() - began

    async def leaders(self, gateways: Sequence[Gateway]) -> list[Gateway]:
        """Those that say that they lead."""
        return [each for each in gateways if await metric(each, "tollgate_leader") == 1]

    async def rows(self) -> dict[str, str]:
        """Outcomes by the ids of requests, once every answered one of them is in the ledger."""
        wanted = {str(each.header("x-tollgate-request-id")) for each in self.answers if each.status == 200}
        found = dict[str, str]()

        def there() -> bool:
            rows = self.stores.ledger.recent(10_000)
            found.update({row["request_id"]: row["outcome"] for row in rows})
            assert len(found) == len(rows), "one row each"
            return wanted <= found.keys()

        await until(there)
        assert {found[each] for each in wanted} == {"completed"}
        return {name: outcome for name, outcome in found.items() if name not in wanted}


async def metric(gateway: Gateway, name: str) -> float:
    page = (await gateway.get("/metrics")).body.decode()
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


@asynccontextmanager
async def fleet(
    folder: Path, engine: Engine, postgres: Postgres, redis: RedisServer, count: int
) -> AsyncIterator[tuple[Fleet, AsyncExitStack]]:
    """So many gateways, started one after the other: together they would wait for the processor, each for all."""
    database = postgres.url()
    made = Fleet(folder, engine, postgres, redis, database, open_stores(database, folder / "spool"))
    async with AsyncExitStack() as stack:
        stack.callback(made.stores.database.dispose)
        for number in range(count):
            made.gateways.append(await made.start(stack, number))
        yield made, stack
