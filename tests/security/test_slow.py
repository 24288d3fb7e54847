"""Clients that take time instead of sending anything: each costs little, and none for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Limits, Timeouts
from gateway.control_plane import loops
from gateway.server.limits import Limits as Patience
from tests.engine.simulator import Engine
from tests.gateway.listening import Talk
from tests.gateway.serving import Gateway, deployment, serving
from tests.polling import tick, until
from tests.security.front import BODY, CHAT, request

BRIEF = 0.1
STREAM = BODY[:-1] + b',"stream":true}'
PATIENCE = Patience(head_s=BRIEF, body_s=BRIEF, whole_s=4 * BRIEF, linger_s=BRIEF, write_s=BRIEF)


@asynccontextmanager
async def _talks(gateway: Gateway, count: int = 1) -> AsyncIterator[list[Talk]]:
    opened = [asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(count)]
    talks = [Talk(*each) for each in await asyncio.gather(*opened)]
    try:
        yield talks
    finally:
        for talk in talks:
            talk.cut()


def _connections(gateway: Gateway) -> int:
    assert gateway.server is not None
    return len(gateway.server.server_state.connections)


HEAD = request(b"POST", CHAT.encode(), body=BODY)[: -len(BODY)]
PARTS = {
    "nothing of a head": (b"P", b"O"),
    "a header that never ends": (b"POST / HTTP/1.1\r\nx: ", b"a"),
    "headers that never end": (b"POST / HTTP/1.1\r\n", b"a: b\r\n"),
    "a body without a key": (HEAD, b"x"),
    "a body": (b"", b"x"),
    "chunks": (b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\nauthorization: Bearer %b\r\n\r\n", b"1\r\na\r\n"),
}


@pytest.mark.parametrize("name", PARTS)
async def test_who_drips_is_answered_and_let_go(tmp_path: Path, name: str) -> None:
    """However often a little comes: a head, and a body too, has its whole time."""
    first, drop = PARTS[name]
    async with Engine() as engine:
        deployed = deployment({"main": [engine.url]})
        async with serving(deployed, tmp_path, patience=PATIENCE) as (gateway, key, _), _talks(gateway) as (talk,):
            if name == "chunks":
                first = first % (CHAT.encode(), key.encode())
            elif name == "a body":
                first = request(b"POST", CHAT.encode(), key=key, body=bytes(100_000))[:-100_000]
            talk.say(first)
            rest = asyncio.ensure_future(talk.rest())
            async with asyncio.timeout(20 * BRIEF):
                while not rest.done():
                    talk.say(drop)
                    await tick()
            assert rest.result()[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 408")
            await until(lambda: _connections(gateway) == 0)
            assert engine.requests == []
            assert gateway.in_flight() == [0]


async def test_a_key_that_ends_while_a_body_comes_opens_nothing(tmp_path: Path) -> None:
    """Requests that were begun before, and held back, are no way around a revocation."""
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, _, _):
        key = gateway.key()
        await loops.refresh(gateway.app.state)
        async with _talks(gateway) as (talk,):
            talk.say(request(b"POST", CHAT.encode(), key=key, body=BODY)[:-1])
            state = gateway.server.server_state if gateway.server is not None else None
            await until(lambda: state is not None and len(state.tasks) == 1)
            gateway.stores.keys.revoke(key.split("-")[2], 1.0)
            await loops.refresh(gateway.app.state)
            talk.say(BODY[-1:])
            assert (await talk.rest()).startswith(b"HTTP/1.1 401 ")
        assert engine.requests == []


async def test_who_does_not_read_a_stream_is_cut_and_holds_no_more_than_a_buffer(tmp_path: Path) -> None:
    long: list[Any] = ["x" * 20_000] * 2_000
    async with Engine(answer=lambda _: long, max_model_len=10**6) as engine:
        deployed = deployment({"main": [engine.url]}, timeouts=Timeouts(client=0.3), limits=Limits())
        async with serving(deployed, tmp_path, patience=PATIENCE) as (gateway, key, _), _talks(gateway) as (talk,):
            talk.say(request(b"POST", CHAT.encode(), key=key, body=STREAM))
            (row,) = await gateway.rows(1)
            assert (row.outcome, gateway.in_flight()) == ("client_closed", [0])
            await engine.wait_for(lambda each: each.running == 0)
            await until(lambda: _connections(gateway) == 0)


async def test_a_stream_that_never_ends_has_an_end(tmp_path: Path) -> None:
    async with Engine() as engine:
        engine.hold()
        deployed = deployment({"main": [engine.url]}, timeouts=Timeouts(first_byte=0.2, idle=0.2, total=0.4))
        async with serving(deployed, tmp_path) as (gateway, key, _), _talks(gateway, 5) as talks:
            for talk in talks:
                talk.say(request(b"POST", CHAT.encode(), key=key, body=STREAM))
            rows = await gateway.rows(len(talks))
            assert {row.outcome for row in rows} <= {"upstream_timeout", "upstream_unavailable"}
            assert gateway.in_flight() == [0]
            await engine.wait_for(lambda each: each.running == each.waiting == 0)
