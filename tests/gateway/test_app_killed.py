"""kill -9 under load: what a dead gateway leaves is one row for each request that it had admitted."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.stores import spool
from gateway.stores.bundle import Stores, open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.postgres import Postgres
from tests.gateway.process import running
from tests.gateway.serving import make_key

CLIENTS = 16
PATH = "/v1/chat/completions"
BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three four five six seven eight"}]}


@dataclass
class Load:
    """Clients that ask again and again, until nobody answers: the ids whose answer began, and those that ended."""

    url: str
    key: str
    draw: random.Random
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self) -> None:
        """One of them."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with raw.connect(self.url) as connection:
                while True:
                    await self._ask(connection)

    async def _ask(self, connection: raw.Client) -> None:
        stream = self.draw.random() < 0.7
        await connection.send("POST", PATH, BODY | {"stream": stream}, {"authorization": f"Bearer {self.key}"})
        head = await connection.head()
        assert head.status == 200
        request_id = str(head.header("x-tollgate-request-id"))
        self.begun.append(request_id)
        self.news.set()
        if stream:
            while await connection.chunk():
                pass
        else:
            json.loads(await connection.reader.readexactly(int(head.header("content-length") or 0)))
        self.ended.append(request_id)


@pytest.mark.parametrize("seed", range(3))
async def test_law_a_gateway_killed_under_load_leaves_one_row_each(tmp_path: Path, seed: int) -> None:
    """Law 1 after kill -9, at a random point of many requests at once."""
    async with Engine(step_s=0.001) as engine:
        stores = open_stores(f"sqlite:///{tmp_path / 'tollgate.db'}")
        await _killed(engine, tmp_path, stores, seed, "--upstream", engine.url)


@pytest.mark.parametrize("seed", range(2))
async def test_law_so_does_one_on_postgresql(tmp_path: Path, seed: int, postgres: Postgres) -> None:
    """The same, with the database in a process that lives on, perhaps in the middle of what it was told."""
    async with Engine(step_s=0.001) as engine:
        url = postgres.url()
        write_config(tmp_path, [engine.url], database=url)
        stores = open_stores(url, tmp_path / "tollgate.spool")
        await _killed(engine, tmp_path, stores, seed, "--config", "gateway.yaml")


async def _killed(engine: Engine, folder: Path, stores: Stores, seed: int, *options: str) -> None:
    draw, key = random.Random(seed), make_key(stores)
    try:
        async with running(folder, *options) as gateway:
            await gateway.answers(key=key)
            load = Load(gateway.url, key, draw)
            clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
            async with asyncio.timeout(30):
                enough = draw.randint(1, 400)
                while len(load.begun) < enough:
                    load.news.clear()
                    await load.news.wait()
                gateway.process.kill()
                await asyncio.gather(*clients)
        await engine.wait_for(lambda e: e.running == 0)
        forwarded = {received.header("x-request-id") for received in engine.received(PATH)}
        _hold(stores, load, forwarded)
    finally:
        stores.database.dispose()


def _hold(stores: Stores, load: Load, forwarded: set[str | None]) -> None:
    spool.recover(stores.spool_folder, stores.ledger.insert)
    outcomes = {row["request_id"]: row["outcome"] for row in stores.ledger.recent(10_000)}
    assert set(outcomes) >= forwarded | set(load.begun)
    assert len(outcomes) <= len(forwarded) + CLIENTS, "a row for a request that never was"
    assert set(outcomes.values()) <= {"completed", "gateway_lost"}
    lost = Counter(outcomes.values())["gateway_lost"]
    assert lost <= CLIENTS + 1, "more than could be open at once, the probe of the engine among them"
    assert sum(outcomes[each] == "completed" for each in load.ended) >= len(load.ended) - CLIENTS
    assert spool.recover(stores.spool_folder, stores.ledger.insert) == 0
