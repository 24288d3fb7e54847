"""What ends an exchange, and what it leaves behind."""

import asyncio
import gzip

import pytest

from evals import http1
from evals.http1 import ExchangeError
from tests.evals.wire import CHUNKED, PACKED, PLAIN, Scripted, answer_to, ask, serving
from tests.polling import until


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "headers of the answer are larger"),
        (CHUNKED + b"zz\r\n", "not HTTP"),
        (PACKED % b"br" + bytes(12), "coded as 'br'"),
        (PACKED % b"gzip" + bytes(12), "not the gzip"),
        (PACKED % b"gzip" + gzip.compress(b"x", mtime=0)[:12], "cut off"),
    ],
)
async def test_what_is_no_answer_is_said(wire: bytes, reason: str) -> None:
    with pytest.raises(ExchangeError, match=reason):
        await answer_to(wire)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_an_answer_has_a_largest_size(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "MAX_BODY_BYTES", 1000)
    body = bytes(1001) if coding == "identity" else gzip.compress(bytes(1001))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with pytest.raises(ExchangeError, match="larger than 1000 bytes"):
        await answer_to(head + body)


async def test_too_late_frees_the_server_and_the_next_answer_is_the_next_ones() -> None:
    server = Scripted([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], [PLAIN])
    async with serving(server, connections=1) as pool:
        with pytest.raises(TimeoutError):
            await ask(pool, timeout_s=0.05)
        await until(lambda: server.ended == 1)
        assert (await ask(pool)).body == b"ok"
    assert server.opened == 2


async def test_who_gives_up_frees_the_server() -> None:
    server = Scripted([b""], [PLAIN])
    async with serving(server, connections=1) as pool:
        asking = asyncio.create_task(ask(pool))
        await until(lambda: server.requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.ended == 1)
        assert (await ask(pool)).body == b"ok"


async def test_waiting_for_a_connection_counts_towards_the_time() -> None:
    server = Scripted([b""])
    async with serving(server, connections=1) as pool:
        first = asyncio.create_task(ask(pool, timeout_s=30.0))
        await until(lambda: server.requests)
        with pytest.raises(TimeoutError):
            await ask(pool, timeout_s=0.05)
        assert len(server.requests) == 1
        first.cancel()


async def test_no_more_connections_than_allowed() -> None:
    server = Scripted([PLAIN] * 20)
    async with serving(server, connections=3) as pool:
        answers = await asyncio.gather(*(ask(pool) for _ in range(20)))
    assert {response.body for response in answers} == {b"ok"}
    assert 1 <= server.opened <= 3
    assert len(server.requests) == 20


async def test_leaving_closes_what_is_idle() -> None:
    server = Scripted([PLAIN, PLAIN])
    async with serving(server) as pool:
        await ask(pool)
        assert server.ended == 0
        await pool.__aexit__(None, None, None)
        await until(lambda: server.ended == 1)
