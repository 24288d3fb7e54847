"""Requests and answers as bytes, and which connections are used again."""

import asyncio
import gzip
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evals import http1
from evals.http1 import ExchangeError, Pool
from tests.engine.simulator import Engine
from tests.engine.tls import certificate
from tests.evals.wire import CHUNKED, CLOSE, PLAIN, Scripted, answer_to, ask, calling, serving
from tests.polling import until

PACKED = gzip.compress(b"packed", mtime=0)


async def test_what_is_sent_is_a_whole_request() -> None:
    server = Scripted([PLAIN])
    async with serving(server, path="/a b/ü/") as pool:
        response = await ask(pool, b'{"a": 1}')
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%20b/%C3%BC/x HTTP/1.1"
    assert lines[1].startswith(b"Host: 127.0.0.1:")
    assert lines[2:] == [b"Accept: */*", b"Accept-Encoding: identity", b"X-Key: k", b"Content-Length: 8"]
    assert body == b'{"a": 1}'
    assert (response.status, response.body) == (200, b"ok")


async def test_names_are_in_lower_case_and_the_first_of_two_counts() -> None:
    response = await answer_to(b"HTTP/1.1 429 No\r\nX-A: 1\r\nx-a: 2\r\nX-B: \xff\r\nContent-Length: 0\r\n\r\n")
    assert (response.status, response.headers["x-a"], response.body) == (429, "1", b"")


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (CHUNKED + b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: 1\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\nX-Old: 1\r\n\r\n" + PLAIN, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b", PACKED),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b", zlib.compress(b"packed")),
    ],
    ids=["chunks", "interim", "no body", "gzip", "deflate"],
)
async def test_every_framing_is_read(wire: bytes, body: bytes) -> None:
    packed = b"%d" in wire
    response = await answer_to(wire % (len(body), body) if packed else wire)
    assert response.body == (b"packed" if packed else body)
    assert "x-old" not in response.headers


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n"])
async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_answer(head: bytes) -> None:
    assert (await answer_to(head + b"to the end", CLOSE)).body == b"to the end"


async def test_a_dot_at_the_end_of_a_name_is_for_look_ups_and_not_for_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, loop = certificate(tmp_path), asyncio.get_running_loop()
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))
    look, asked = loop.getaddrinfo, list[str]()

    async def looked_up(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return await look("localhost", *arguments, **options)

    monkeypatch.setattr(loop, "getaddrinfo", looked_up)
    async with Engine("faq", tls=own.server()) as engine:
        asked.clear()
        url = urlsplit(f"https://localhost.:{urlsplit(engine.url).port}")
        async with Pool(url, connections=1) as pool:
            answer = await pool.request(pool.head("GET", "/v1/models", {}), b"", 5.0)
    assert (answer.status, asked) == (200, ["localhost."])


async def test_answers_in_pieces_are_put_together() -> None:
    arrived = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"HTTP/1.1 200 ", b"OK\r\nContent-Le", b"ngth: 4\r\n\r\na", b"bc"):
            writer.write(piece)
            await writer.drain()
            await asyncio.wait([asyncio.ensure_future(arrived.wait())], timeout=0.01)
        arrived.set()
        writer.write(b"d")
        await reader.read()

    async with calling(slowly) as pool:
        assert (await ask(pool, b"")).body == b"abcd"


# Which connections are used again.


async def test_a_clean_connection_is_used_again_and_the_last_one_first() -> None:
    server = Scripted([PLAIN] * 5)
    async with serving(server) as pool:
        for _ in range(5):
            await ask(pool)
    assert (server.opened, len(server.requests)) == (1, 5)


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        PLAIN + b"more",
        PLAIN + PLAIN,
    ],
    ids=["close", "HTTP/1.0", "excess", "a second answer"],
)
async def test_no_other_connection_is(first: bytes) -> None:
    server = Scripted([first, PLAIN], [PLAIN])
    async with serving(server) as pool:
        assert (await ask(pool)).body == b"ok"
        assert (await ask(pool)).body == b"ok"
    assert server.opened == 2


async def test_an_answer_to_a_request_that_is_still_being_written_ends_its_connection() -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        served.append(1)
        writer.write(PLAIN.replace(b"200 OK", b"413 No"))

    served: list[int] = []
    async with calling(hasty) as pool:
        for _ in range(2):
            assert (await ask(pool, bytes(30_000_000))).status == 413
        assert len(served) == 2


async def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    server = Scripted([PLAIN, PLAIN])
    async with serving(server) as pool:
        await ask(pool)
        server.open[0].write(PLAIN)
        await until(lambda: server.ended == 1)
        assert (await ask(pool)).body == b"ok"
    assert server.opened == 2


async def test_an_idle_connection_that_was_closed_is_replaced_without_an_error() -> None:
    server = Scripted([PLAIN, CLOSE], [PLAIN])
    async with serving(server) as pool:
        await ask(pool)
        assert (await ask(pool)).body == b"ok"
    assert (server.opened, len(server.requests)) == (2, 2)


async def test_a_kept_connection_that_ends_before_an_answer_gets_one_more_try_over_a_new_one() -> None:
    server = Scripted([PLAIN, b"", CLOSE], [b"", CLOSE])
    async with serving(server) as pool:
        await ask(pool)
        with pytest.raises(ExchangeError, match="before an answer came"):
            await ask(pool)
    assert (server.opened, len(server.requests)) == (2, 3)


async def test_nothing_is_sent_twice_once_an_answer_has_begun() -> None:
    server = Scripted([PLAIN, PLAIN[:-1], CLOSE], [PLAIN])
    async with serving(server) as pool:
        await ask(pool)
        with pytest.raises(ExchangeError, match="in the middle of an answer"):
            await ask(pool)
    assert (server.opened, len(server.requests)) == (1, 2)


async def test_a_connection_that_lay_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Scripted([PLAIN, PLAIN])
    async with serving(server) as pool:
        await ask(pool)
        monkeypatch.setattr(http1, "IDLE_S", 0.0)
        await ask(pool)
    assert server.opened == 2


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ü", "\x00"])
def test_a_header_cannot_smuggle_another(value: str) -> None:
    pool = Pool(urlsplit("http://h/v1"), connections=1)
    with pytest.raises(ValueError, match="'Authorization' holds characters"):
        pool.head("GET", "/models", {"Authorization": value})


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org/v1", "example.org"),
        ("https://example.org:8443", "example.org:8443"),
        ("http://[::1]:80", "[::1]:80"),
        ("http://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_is_named_as_it_was_given(url: str, host: str) -> None:
    head = Pool(urlsplit(url), connections=1).head("GET", "/models", {})
    assert f"Host: {host}\r\n".encode() in head
