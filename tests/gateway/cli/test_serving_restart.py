"""A restart under load behind a load balancer: nobody's stream breaks, and nobody is refused."""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gateway.stores.bundle import open_stores
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.balancer import Balancer, balancer
from tests.gateway.builders import write_config
from tests.gateway.process import HELLO, UNWATCHED, Gateway, running
from tests.gateway.serving import make_key
from tests.polling import until

CLIENTS = 8
LONG = {"model": "faq", "messages": [{"role": "user", "content": "word " * 30}]}
PATH = "/v1/chat/completions"
DRAIN_S = "3"


@dataclass
class Load:
    """Clients that follow HTTP: a connection is used until it is said to be the last answer's, or has ended."""

    url: str
    key: str
    answers: list[raw.Answer] = field(default_factory=list)
    told: int = 0
    ending: bool = False

    async def client(self, number: int) -> None:
        """Ask again and again, on one connection after the other."""
        while not self.ending:
            async with raw.connect(self.url) as connection:
                await self._use(connection, number)

    async def _use(self, connection: raw.Client, number: int) -> None:
        while not (self.ending or connection.reader.at_eof()):
            body = LONG | {"stream": number % 4 > 0}
            await connection.send("POST", PATH, body, {"authorization": f"Bearer {self.key}"})
            answer = await connection.answer()
            self.answers.append(answer)
            if answer.header("connection") == "close":
                self.told += 1
                return


@dataclass
class Fleet:
    """Gateways over one database, and how each is started."""

    folder: Path
    engine: Engine
    stack: AsyncExitStack
    numbers: int = 0

    async def start(self, workers: str) -> Gateway:
        folder = self.folder / str(self.numbers)
        self.numbers += 1
        folder.mkdir()
        write_config(folder, [self.engine.url], health=UNWATCHED, database=f"sqlite:///{self.folder / 't.db'}")
        options = ("--config", "gateway.yaml", "--workers", workers, "--drain", DRAIN_S)
        gateway = await self.stack.enter_async_context(running(folder, *options))
        await gateway.answers(key="none")
        return gateway


async def test_gateways_that_restart_in_turns_under_load_break_no_stream_and_refuse_nobody(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    async with Engine("faq", step_s=0.015) as engine, balancer() as before, AsyncExitStack() as stack:
        stack.callback(stores.database.dispose)
        fleet = Fleet(tmp_path, engine, stack)
        load = Load(before.url, make_key(stores))
        gateways = await asyncio.gather(*map(fleet.start, ("1", "2")))
        for gateway in gateways:
            await before.takes(gateway.url)
        asking = [asyncio.create_task(load.client(number)) for number in range(CLIENTS)]
        for gateway in gateways:
            await _more(load)
            await _replaced(gateway, before, fleet, load)
        await _more(load)
        load.ending = True
        await asyncio.gather(*asking)
        assert load.told > 0, "no connection was handed over in order"
        _all_whole(load)
        await until(lambda: len(stores.ledger.recent(10_000)) >= len(load.answers))
        rows = Counter((row["request_id"], row["outcome"]) for row in stores.ledger.recent(10_000))
    assert rows == {(answer.header("x-tollgate-request-id"), "completed"): 1 for answer in load.answers}


async def _replaced(gateway: Gateway, before: Balancer, fleet: Fleet, load: Load) -> None:
    """One goes, as the balancer sees it: first it is not ready any more, and still serves, then it is not there."""
    gateway.process.send_signal(signal.SIGTERM)
    await until(lambda: gateway.url not in before.ready)
    page = await gateway.get("/ready")
    assert (page.status, page.header("connection")) == (503, "close")
    assert "about to end" in page.json["reason"]
    assert (await gateway.get("/health")).status == 200, "nobody restarts what ends in order"
    answer = await raw.post(gateway.url, PATH, HELLO, {"authorization": f"Bearer {load.key}"})
    load.answers.append(answer)
    assert (answer.status, answer.header("connection")) == (200, "close")
    await before.takes((await fleet.start("1")).url)
    assert await gateway.ended() == 0
    before.gateways.remove(gateway.url)
    assert "accepts for another 3 s" in gateway.errors


async def _more(load: Load) -> None:
    """Every client has had another answer or two."""
    enough = len(load.answers) + 2 * CLIENTS
    await until(lambda: len(load.answers) >= enough)


def _all_whole(load: Load) -> None:
    for answer in load.answers:
        assert (answer.status, answer.whole) == (200, True), answer
        streamed = str(answer.header("content-type")).startswith("text/event-stream")
        assert not streamed or answer.events[-1] == b"data: [DONE]\n\n"


async def test_a_second_signal_ends_it_although_it_still_accepts(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    write_config(tmp_path, health=UNWATCHED, database=f"sqlite:///{tmp_path / 't.db'}")
    stores.database.dispose()
    async with running(tmp_path, "--config", "gateway.yaml", "--drain", "3000") as gateway:
        await gateway.answers(key="none")
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.logged("accepts for another 3000 s")
        assert (await gateway.get("/ready")).status == 503
        assert await gateway.ended(signal.SIGTERM) == 0
