"""An engine's pages, over connections of their own and over those that are there."""

import asyncio
import json

import pytest

from gateway.contracts.errors import UpstreamFailed
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import Replica, fetch
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import SECONDS, says, server


def _replica(url: str = "http://10.0.0.7:8000", api_key: str | None = None) -> Replica:
    return Replica("r1", url, api_key=api_key, connect_s=SECONDS)


async def test_fetch_reads_a_page() -> None:
    async with Engine(api_key="secret") as engine:
        assert (await fetch(_replica(engine.url), "/v1/models", SECONDS))[0] == 401
        status, body = await fetch(_replica(engine.url, "secret"), "/v1/models", SECONDS)
        assert (status, json.loads(body)["data"][0]["id"]) == (200, "faq")


async def test_fetching_again_and_again_does_not_pile_up_connections() -> None:
    async with Engine() as engine:
        replica = _replica(engine.url)
        for _ in range(5):
            assert await fetch(replica, "/health", SECONDS) == (200, b"")
        await engine.wait_for(lambda e: len(e.connections) <= 1, 1.0)
        replica.pool.close_all()


async def test_a_page_may_come_over_the_connection_that_is_there() -> None:
    async with Engine() as engine:
        replica = _replica(engine.url)
        for _ in range(3):
            assert await fetch(replica, "/health", SECONDS, kept=True) == (200, b"")
        assert len(engine.connections) == 1
        assert replica.pool.take().reused


async def test_a_kept_connection_that_the_engine_lets_go_costs_no_page() -> None:
    asked = list[int]()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        asked.append(1)
        await reader.readuntil(b"\r\n\r\n")  # the next one finds it closed

    async with server(once) as url:
        replica = _replica(url)
        for _ in range(3):
            assert await fetch(replica, "/", SECONDS, kept=True) == (200, b"ok")
        replica.pool.close_all()
    assert len(asked) == 3


async def test_a_kept_connection_on_which_nothing_comes_is_waited_for_once_and_given_up() -> None:
    asked = list[int]()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        asked.append(1)
        await reader.read()

    async with server(silent) as url:
        replica = _replica(url)
        assert await fetch(replica, "/", SECONDS, kept=True) == (200, b"ok")
        with pytest.raises(ExchangeError) as caught:
            await fetch(replica, "/", 0.005, kept=True)
        assert caught.value.timeout
        assert len(asked) == 1
        assert await fetch(replica, "/", SECONDS, kept=True) == (200, b"ok")
        replica.pool.close_all()


async def test_an_answer_is_bounded() -> None:
    body = bytes(1000)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + body
    async with server(says(answer, stay=True)) as url:
        replica = _replica(url)
        assert await fetch(replica, "/", SECONDS, limit=1000) == (200, body)
        with pytest.raises(UpstreamFailed, match="999"):
            await fetch(replica, "/", SECONDS, limit=999)
        replica.pool.close_all()


async def test_fetch_gives_up() -> None:
    async with Engine() as engine:
        engine.faults.append(Fault("stall", path="/health"))
        with pytest.raises(ExchangeError) as caught:
            await fetch(_replica(engine.url), "/health", 0.005)
        assert caught.value.timeout
        await engine.wait_for(lambda e: not e.connections)
