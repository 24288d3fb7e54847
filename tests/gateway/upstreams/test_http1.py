"""The HTTP client against servers that are slow, early, late, wrong or gone."""

import asyncio
import itertools
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from gateway.upstreams.http1 import HIGH_WATER, ExchangeError
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import (
    ASK,
    SECONDS,
    asking,
    exchange,
    pool,
    post,
    rest,
    says,
    self_signed,
    server,
    wired,
)

STREAM = b'{"model":"faq","prompt":"a b c","stream":true}'
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\n\r\nde\r\n0\r\n\r\n"


async def _answer(answer: bytes, *, stay: bool = False) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection may be used again)."""
    async with server(says(answer, stay=stay)) as url, asking(url) as connection:
        return *await exchange(connection), connection.usable


async def _failure(answer: bytes, *, stay: bool = False) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        await _answer(answer, stay=stay)
    return caught.value


async def test_bytes_on_an_idle_connection_end_it() -> None:
    talk = asyncio.Event()
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await talk.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother")
        assert await reader.read() == b""
        ended.set()

    async with server(handler) as url:
        engines = pool(url)
        connection = engines.take()
        connection.send(ASK)
        await exchange(connection)
        engines.close(connection)
        talk.set()
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert not connection.usable


@pytest.mark.parametrize("size", [1, 2, len(CHUNKED)])
async def test_an_answer_in_pieces_of_any_size_is_the_same(size: int) -> None:
    for start in range(1, size + 1):
        connection, _wire = wired()
        cuts = [0, *range(start, len(CHUNKED), size), len(CHUNKED)]
        for at, end in itertools.pairwise(cuts):
            connection.data_received(CHUNKED[at:end])
        assert await exchange(connection) == (200, b"abc\r\nde")
        assert connection.usable


async def test_single_bytes_over_a_real_socket() -> None:
    async with Engine() as engine:
        engine.faults.append(Fault("drip"))
        async with asking(engine.url, post(STREAM)) as connection:
            assert await connection.head(SECONDS) == 200
            assert (await rest(connection)).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [STREAM, b'{"model":"faq","prompt":"a b c"}'], ids=["stream", "plain"])
@pytest.mark.parametrize("after", [None, 1], ids=["before the head", "in the body"])
@pytest.mark.parametrize("kind", ["close", "reset", "half_close", "garbage"])
async def test_an_engine_that_dies_is_noticed(kind: Any, after: int | None, body: bytes) -> None:
    async with Engine() as engine:
        engine.faults.append(Fault(kind, after=after))
        async with asking(engine.url, post(body)) as connection:
            with pytest.raises(ExchangeError) as caught:
                await exchange(connection)
            assert (connection.usable, caught.value.connecting, caught.value.timeout) == (False, False, False)


LENGTH_2 = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
FRAMED: dict[str, tuple[bytes, tuple[int, bytes, bool]]] = {
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", (304, b"", True)),
    "connection: close": (LENGTH_2 + b"connection: close\r\n\r\nok", (200, b"ok", False)),
    "more than its length": (LENGTH_2 + b"\r\nokay", (200, b"ok", False)),
    "a second answer": (LENGTH_2 + b"\r\nokHTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno", (200, b"ok", False)),
}


@pytest.mark.parametrize("name", FRAMED)
async def test_an_answer_ends_where_it_says(name: str) -> None:
    answer, expected = FRAMED[name]
    assert await _answer(answer, stay=True) == expected


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_that_ends_with_its_connection_is_whole(version: bytes) -> None:
    assert await _answer(b"HTTP/%b 200 OK\r\n\r\nall of it" % version) == (200, b"all of it", False)


async def test_a_body_shorter_than_its_length_is_cut() -> None:
    assert "closed" in (await _failure(LENGTH_2.replace(b"2\r", b"3\r") + b"\r\nok")).reason


@pytest.mark.parametrize("first", [b"100 Continue", b"103 Early Hints"])
async def test_an_answer_before_the_answer_is_skipped(first: bytes) -> None:
    connection, wire = wired()
    connection.data_received(b"HTTP/1.1 %b\r\n\r\n" % first)
    assert not connection.usable
    connection.data_received(LENGTH_2 + b"\r\nok")
    assert await exchange(connection) == (200, b"ok")
    assert not wire.ended


async def test_headers_are_read_in_lower_case() -> None:
    connection, _wire = wired()
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-TYPE: text/plain\r\n\r\n")
    assert await connection.head(SECONDS) == 200
    assert connection.headers == {b"content-type": b"text/plain"}


@pytest.mark.parametrize(
    "answer",
    [
        b"\x16\x03\x01\x02\x00",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello",
    ],
)
async def test_what_is_not_http_is_refused(answer: bytes) -> None:
    error = await _failure(answer, stay=True)
    assert "not HTTP" in error.reason
    assert not error.timeout


async def test_a_head_without_end_is_bounded() -> None:
    error = await _failure(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, stay=True)
    assert "65536" in error.reason


async def test_every_wait_has_its_limit() -> None:
    async with Engine() as engine:
        engine.faults.append(Fault("stall"))
        async with asking(engine.url, post(STREAM)) as connection:
            with pytest.raises(ExchangeError, match=r"first byte within 0\.005 s") as head:
                await connection.head(0.005)
        engine.faults.append(Fault("stall", after=1))
        async with asking(engine.url, post(STREAM)) as connection:
            await connection.head(SECONDS)
            await connection.read(SECONDS)
            with pytest.raises(ExchangeError, match="next piece") as body:
                await connection.read(0.005)
        assert head.value.timeout
        assert body.value.timeout
        await engine.wait_for(lambda e: (e.running, len(e.connections)) == (0, 0))


async def test_an_abort_wakes_the_reader_and_frees_the_engine() -> None:
    async with Engine() as engine:
        engine.hold()
        async with asking(engine.url, post(STREAM)) as connection:
            await connection.head(SECONDS)
            reading = asyncio.create_task(connection.read(SECONDS))
            await engine.wait_for(lambda e: e.running == 1)
            connection.abort("the client left")
            connection.abort("again")
            with pytest.raises(ExchangeError, match="the client left"):
                await reading
            await engine.wait_for(lambda e: (e.running, e.aborted) == (0, 1))


async def test_an_abort_after_the_end_changes_nothing() -> None:
    async with Engine() as engine, asking(engine.url) as connection:
        await connection.head(SECONDS)
        connection.abort("too late")
        assert await rest(connection) == b""
        assert connection.usable


async def test_a_reader_that_does_not_read_stops_the_engine() -> None:
    size, sent, blocked = 64 * 1024 * 1024, 0, asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(1 << 20))
            sent += 1 << 20
            drained = asyncio.ensure_future(writer.drain())
            if not (await asyncio.wait({drained}, timeout=0.2))[0]:
                blocked.set()
            await drained

    async with server(handler) as url, asking(url) as connection:
        assert await connection.head(SECONDS) == 200
        await asyncio.wait_for(blocked.wait(), SECONDS)
        assert sent < size
        assert len(await connection.read(SECONDS)) <= 2 * HIGH_WATER + 65_536
        left = 0
        while piece := await connection.read(SECONDS):
            left += len(piece)
        assert sent == size


async def test_a_connection_given_back_unread_does_not_stall_the_next_exchange() -> None:
    connection, wire = wired()
    size = 2 * HIGH_WATER
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (size, bytes(size)))
    pool("http://h").close(connection)
    assert wire.ended or wire.reading


async def test_an_engine_that_is_not_there_is_told_from_one_that_fails() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for host in ("127.0.0.1", "no-such-host.invalid", "a..b"):
            with pytest.raises(ExchangeError) as caught:
                async with asking(f"http://{host}:{port}") as connection:
                    await connection.head(SECONDS)
            assert caught.value.connecting


async def test_ipv6() -> None:
    async with server(says(CHUNKED, stay=True), host="::1") as url, asking(url) as connection:
        assert await exchange(connection) == (200, b"abc\r\nde")
        assert pool(url).authority == url.removeprefix("http://")


async def test_tls_needs_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with server(says(CHUNKED, stay=True), ssl=context) as url:
        url = url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(ExchangeError) as caught:
            async with asking(url) as connection:
                await connection.head(SECONDS)
        assert caught.value.connecting
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with asking(url) as connection:
            assert await exchange(connection) == (200, b"abc\r\nde")
