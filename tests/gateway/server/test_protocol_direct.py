"""Connections whose requests are answered without ASGI, all or some of them; on both loops, over real sockets."""

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.client import ClientGone
from gateway.contracts.errors import InternalError
from gateway.server.limits import Limits
from tests.gateway.listening import GET, SECONDS, Talk, echo, post, say, site

BRIEF = 0.03


def _get(path: str, *headers: str) -> bytes:
    return "".join([f"GET {path} HTTP/1.1\r\nhost: h\r\n", *(f"{header}\r\n" for header in headers), "\r\n"]).encode()


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    await say(send, b"asgi " + scope["path"].encode())


async def _path(client: Any) -> None:
    client.answer(200, b"", b"direct " + client.path.encode())


def _some(client: Any) -> Coroutine[Any, Any, None] | None:
    """Answers directly what asks for it."""
    return _path(client) if client.path.startswith("/d") else None


async def _all(talk: Talk, count: int) -> list[str]:
    return [(await talk.answer())[2].decode() for _ in range(count)]


class Held:
    """Answers when it is let; by a stream, to who asks for one."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.begun: list[str] = []

    async def __call__(self, client: Any) -> None:
        self.begun.append(client.path)
        if client.path == "/begins":
            client.stream(b"")
            client.write(b"begun")
        await self.let.wait()
        if client.path == "/begins":
            client.write(b"ended", more=False)
        else:
            await _path(client)


@pytest.mark.usefixtures("unfailing")
async def test_direct_and_other_answers_come_in_order() -> None:
    paths = [f"/{'d' if number % 3 else 'a'}{number}" for number in range(200)]
    expected = [f"{'direct' if path[1] == 'd' else 'asgi'} {path}" for path in paths]
    async with site(_asgi, direct=_some) as running, running.talk() as talk:
        talk.say(b"".join(_get(path) for path in paths))
        assert await _all(talk, len(paths)) == expected
        for path, answer in zip(paths, expected, strict=True):
            talk.say(_get(path))
            assert await _all(talk, 1) == [answer]
        assert len(running.state.connections) == 1
        assert running.state.total_requests == 400


async def test_direct_answers_are_made_one_at_a_time() -> None:
    app = Held()
    paths = [f"/{number}" for number in range(50)]
    async with site(_asgi, direct=app, limits=Limits(pipelined=4)) as running, running.talk() as talk:
        talk.say(b"".join(_get(path) for path in paths))
        await running.until(lambda: bool(app.begun))
        for _ in range(5):
            await asyncio.sleep(0)
        assert app.begun == ["/0"]
        app.let.set()
        assert await _all(talk, len(paths)) == [f"direct {path}" for path in paths]
        assert app.begun == paths


async def test_who_asks_decides_on_the_path_as_it_was_written() -> None:
    seen: list[str] = []

    def direct(client: Any) -> Coroutine[Any, Any, None] | None:
        seen.append(client.path)
        return _some(client)

    async with site(echo, direct=direct) as running, running.talk() as talk:
        talk.say(_get("/d?x=/%64"), _get("/%64?x=1&y"), _get("/a/../d"), _get("http://h/d?q"))
        assert (await talk.answer())[2] == b"direct /d"
        asked = json.loads((await talk.answer())[2])
        assert (asked["path"], asked["raw_path"], asked["query"]) == ("/d", "/%64", "x=1&y")
        assert json.loads((await talk.answer())[2])["path"] == "/a/../d"
        assert (await talk.answer())[2] == b"direct /d"
    assert seen == ["/d", "/%64", "/a/../d", "/d"]


async def test_a_body_that_is_not_answered_directly_is_asgis() -> None:
    async with site(echo, direct=lambda client: None) as running, running.talk(post(b"abc") * 2) as talk:
        for _ in range(2):
            assert json.loads((await talk.answer())[2])["body"] == "abc"


async def test_a_connection_ends_when_the_client_says_so() -> None:
    said = _get("/a") + _get("/d", "connection: close") + b"\r\n" + _get("/d")
    async with site(_asgi, direct=_some) as running, running.talk(said) as talk:
        said = await talk.rest()
        assert said.count(b"HTTP/1.1 200 OK") == 2
        assert said.count(b"connection: close") == 1
        assert said.endswith(b"direct /d")


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    async with site(_asgi, direct=_path) as running, running.talk(post(bytes(20_000_000))) as talk:
        await asyncio.wait_for(talk.writer.drain(), SECONDS)  # it reads only when it has sent everything
        status, headers, answer = await talk.answer()
        assert (status, headers[b"connection"], answer) == (200, b"close", b"direct /a")
        await running.empty()  # at the end of the body, not of the patience


@pytest.mark.parametrize("fails", [RuntimeError("secret"), None], ids=["raises", "returns"])
@pytest.mark.parametrize("begins", [True, False])
async def test_a_client_that_is_not_answered(
    begins: bool, fails: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def direct(client: Any) -> None:
        if begins:
            client.stream(b"")  # a head alone has not left yet
        if fails is not None:
            raise fails

    async with site(_asgi, direct=direct) as running, running.talk(GET + GET) as talk:
        status, headers, body = await talk.answer()
        assert (status, headers[b"connection"]) == (500, b"close")
        assert json.loads(body)["error"]["code"] == InternalError.code
        assert b"secret" not in body
        assert await talk.rest() == b""
    assert [(record.name, record.levelno) for record in caplog.records] == [("tollgate", logging.ERROR)]


@pytest.mark.parametrize("fails", [RuntimeError("secret"), None], ids=["raises", "returns"])
async def test_a_stream_that_fails_is_cut(fails: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    async def direct(client: Any) -> None:
        client.stream(b"")
        client.write(b"a")
        if fails is not None:
            raise fails

    async with site(_asgi, direct=direct) as running, running.talk(GET + GET) as talk:
        said = await talk.rest()
        assert said.endswith(b"1\r\na\r\n")
        assert b" 500 " not in said
    assert len(caplog.records) == 1


async def test_what_fails_after_its_answer_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def direct(client: Any) -> None:
        await _path(client)
        raise RuntimeError

    async with site(_asgi, direct=direct) as running, running.talk(GET + GET) as talk:
        assert await _all(talk, 2) == ["direct /a"] * 2
    assert len(caplog.records) == 2


@pytest.mark.usefixtures("unfailing")
@pytest.mark.parametrize("begun", [True, False])
async def test_a_broken_body_ends_its_client(begun: bool) -> None:
    told: list[str] = []

    async def direct(client: Any) -> None:
        client.aborts(told.append)
        if begun:
            client.stream(b"")
            client.write(b"a")
        with pytest.raises(ClientGone):
            await client.read_body(10)
        assert client.gone

    said = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with site(_asgi, direct=direct) as running, running.talk(said) as talk:
        if begun:
            await talk.reader.readuntil(b"1\r\na\r\n")
        await running.until(lambda: bool(running.state.tasks))
        talk.say(b"zz\r\n")
        if begun:
            assert await talk.rest() == b""
        else:
            assert (await talk.answer())[0] == 400
        await running.until(lambda: not running.state.tasks)
    assert told == ["the client left"]


@pytest.mark.usefixtures("unfailing")
async def test_who_sends_half_a_body_is_answered_and_let_go() -> None:
    async def direct(client: Any) -> None:
        with pytest.raises(ClientGone):
            await client.read_body(10)

    limits = Limits(body_s=BRIEF, linger_s=BRIEF)
    async with site(_asgi, direct=direct, limits=limits) as running, running.talk(post(b"abc")[:-1]) as talk:
        assert (await talk.answer())[0] == 408
        await running.empty()


@pytest.mark.usefixtures("unfailing")
async def test_who_leaves_without_reading_is_known_to_leave_at_once() -> None:
    told: list[str] = []

    async def direct(client: Any) -> None:
        client.aborts(told.append)
        client.stream(b"")
        client.write(bytes(30_000_000))
        assert client.blocked
        with pytest.raises(ClientGone):
            await client.drain()

    async with site(_asgi, direct=direct) as running, running.talk(GET, limit=1024) as talk:
        await running.until(lambda: talk.writer.transport.get_write_buffer_size() == 0 and bool(running.state.tasks))
        talk.writer.write_eof()
        await running.until(lambda: bool(told))
        assert running.state.connections
    assert told == ["the client left"]


@pytest.mark.usefixtures("unfailing")
async def test_whoever_waits_behind_a_client_that_leaves_is_not_begun() -> None:
    app, left = Held(), asyncio.Event()

    async def direct(client: Any) -> None:
        client.aborts(lambda reason: left.set())
        with pytest.raises(ClientGone):
            await app(client)

    async with site(_asgi, direct=direct) as running, running.talk(_get("/begins") + GET * 3) as talk:
        await talk.reader.readuntil(b"begun\r\n")
        talk.cut()
        await asyncio.wait_for(left.wait(), SECONDS)
        await running.until(lambda: not running.state.connections)
        app.let.set()
        await running.until(lambda: not running.state.tasks)
    assert app.begun == ["/begins"]


@pytest.mark.parametrize("path", ["/", "/begins"])
async def test_a_shutdown_lets_answers_end(path: str) -> None:
    app = Held()
    async with site(_asgi, direct=app) as running, running.talk(_get(path) + GET) as talk:
        await running.until(lambda: bool(app.begun))
        ending = asyncio.ensure_future(running.server.shutdown())
        await asyncio.sleep(0)
        app.let.set()
        said = await talk.rest()
        assert said.count(b"HTTP/1.1 200") == 1
        assert (b"connection: close" in said) == (path == "/")
        assert said.endswith(b"ended\r\n0\r\n\r\n" if path == "/begins" else b"direct /")
        await asyncio.wait_for(ending, SECONDS)


async def test_answers_that_are_not_read_are_not_made() -> None:
    async def direct(client: Any) -> None:
        client.answer(200, b"", bytes(1_000_000))

    async with site(_asgi, direct=direct) as running, running.talk(GET * 500, limit=1024) as talk:
        made = -1
        while made != running.state.total_requests:
            made = running.state.total_requests
            for _ in range(50):
                await asyncio.sleep(0)
        assert 1 <= made < 100
        for _ in range(150):
            assert len((await talk.answer())[2]) == 1_000_000
        assert running.state.total_requests > made
