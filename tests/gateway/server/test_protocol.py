"""Connections over real sockets, on both loops: order, limits, patience, and an end for each."""

import asyncio
from typing import Any

import pytest

from gateway.contracts.errors import InvalidRequest
from gateway.server.limits import Limits
from tests.gateway.listening import GET, SECONDS, Talk, body_of, post, say, site

BRIEF = 0.03


def _get(path: str, *headers: str) -> bytes:
    return "".join([f"GET {path} HTTP/1.1\r\nhost: h\r\n", *(f"{header}\r\n" for header in headers), "\r\n"]).encode()


async def _path(scope: Any, receive: Any, send: Any) -> None:
    await say(send, scope["path"].encode())


class Held:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.begun: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.append(scope["path"])
        await self.let.wait()
        await _path(scope, receive, send)


async def _all(talk: Talk, count: int) -> list[bytes]:
    return [(await talk.answer())[2] for _ in range(count)]


async def test_a_connection_is_kept() -> None:
    async with site(_path) as running, running.talk() as talk:
        for path in ("/a", "/b", "/c"):
            talk.say(_get(path))
            status, headers, body = await talk.answer()
            assert (status, body, b"connection" in headers) == (200, path.encode(), False)
        assert len(running.state.connections) == 1
        assert running.state.total_requests == 3


async def test_a_connection_ends_when_the_client_says_so() -> None:
    async with site(_path) as running, running.talk(_get("/a", "connection: close") + b"\r\n" + GET) as talk:
        said = await talk.rest()
        assert said.count(b"HTTP/1.1 200 OK") == said.count(b"connection: close") == 1


async def test_requests_are_answered_in_order_and_one_at_a_time() -> None:
    app = Held()
    paths = [f"/{number}" for number in range(200)]
    limits = Limits(pipelined=4, body_s=BRIEF, head_s=BRIEF)
    async with site(app, limits=limits) as running, running.talk() as talk:
        for path in paths:
            talk.say(_get(path))
            await asyncio.sleep(0)
        await running.until(lambda: bool(app.begun))
        assert app.begun == ["/0"]
        app.let.set()
        assert await _all(talk, len(paths)) == [path.encode() for path in paths]
        assert app.begun == paths


async def test_what_waits_is_bounded() -> None:
    app = Held()
    async with site(app) as running, running.talk() as talk:
        blocked = asyncio.ensure_future(_pour(talk, GET * 1000))
        await running.until(lambda: talk.writer.transport.get_write_buffer_size() > 1_000_000)
        app.let.set()
        for _ in range(100):
            await talk.answer()
        blocked.cancel()


async def _pour(talk: Talk, data: bytes) -> None:
    while True:
        talk.say(data)
        await asyncio.sleep(0)


async def test_a_body_that_nobody_takes_is_not_read() -> None:
    app, size = Held(), 50_000_000
    async with site(app, limits=Limits(body_s=BRIEF)) as running, running.talk() as talk:
        talk.say(post(bytes(size)))
        await running.until(lambda: bool(app.begun))
        await running.passes(3 * BRIEF)  # the time of a body does not run for a client that is not read
        assert talk.writer.transport.get_write_buffer_size() > size // 2
        app.let.set()
        assert (await talk.answer())[0] == 200
        assert (await talk.rest()) == b""


async def test_a_large_body_arrives() -> None:
    sizes: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sizes.append(len(await body_of(receive) or b""))
        await say(send, b"ok")

    async with site(app) as running, running.talk(post(bytes(5_000_000)) * 3) as talk:
        assert await _all(talk, 3) == [b"ok"] * 3
        assert sizes == [5_000_000] * 3


async def test_a_body_that_came_and_was_not_taken_is_no_burden_to_the_next() -> None:
    limits = Limits(buffer_bytes=1000)
    async with site(_path, limits=limits) as running, running.talk(post(bytes(900))) as talk:
        await talk.answer()
        for _ in range(3):
            talk.say(post(bytes(900)) + GET)
            await _all(talk, 2)


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_early_answer_reaches_a_client_that_is_still_sending(chunked: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"too large", status=413)

    size = 20_000_000
    body = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
    async with site(app) as running, running.talk(body if chunked else post(bytes(size))) as talk:
        await asyncio.wait_for(talk.writer.drain(), SECONDS)  # it reads only when it has sent everything
        status, headers, answer = await talk.answer()
        assert (status, headers[b"connection"], answer) == (413, b"close", b"too large")
        await running.empty()  # at the end of the body, not of the patience


async def test_a_client_that_never_ends_its_body_is_cut_after_an_early_answer() -> None:
    limits = Limits(linger_s=BRIEF)
    async with site(_path, limits=limits) as running, running.talk(post(b"abc")[:-1]) as talk:
        assert (await talk.answer())[2] == b"/a"
        await running.empty()


@pytest.mark.parametrize("before", [b"", GET])
async def test_what_is_no_http_is_answered_in_the_envelope(before: bytes) -> None:
    async with site(_path) as running, running.talk(before + b"POST /a HTTP/1.1\r\ncontent-length: x\r\n\r\n") as talk:
        if before:
            assert (await talk.answer())[0] == 200
        status, headers, body = await talk.answer()
        assert (status, headers[b"content-type"], headers[b"connection"]) == (400, b"application/json", b"close")
        assert b"date" in headers
        assert InvalidRequest.code.encode() in body
        assert await talk.rest() == b""


@pytest.mark.parametrize("before", [b"", GET])
async def test_what_turns_out_to_be_no_http_in_its_body_is_not_served(before: bytes) -> None:
    served: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            served.append(await body_of(receive))
        await say(send, b"ok")

    said = before + b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"
    async with site(app) as running, running.talk(said) as talk:
        statuses = [(await talk.answer())[0] for _ in range(2 if before else 1)]
        assert statuses == [200, 400][-len(statuses) :]
        await running.until(lambda: not running.state.tasks)
    assert served in ([], [None])


async def test_a_broken_body_cuts_an_answer_that_has_begun() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        assert await body_of(receive) is None

    said = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    async with site(app) as running, running.talk(said) as talk:
        await talk.reader.readuntil(b"1\r\na\r\n")
        talk.say(b"zz\r\n")
        assert await talk.rest() == b""


async def test_a_head_that_is_too_large() -> None:
    limits = Limits(head_bytes=1000)
    async with site(_path, limits=limits) as running, running.talk(_get("/a", "x: " + "v" * 1000)) as talk:
        assert (await talk.answer())[0] == 431
        assert await talk.rest() == b""


@pytest.mark.parametrize("said", [b"G", GET[:-1], post(b"abc")[:-1], b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n"])
@pytest.mark.parametrize("before", [b"", GET])
async def test_who_sends_half_a_request_is_answered_and_let_go(before: bytes, said: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if await body_of(receive) is not None:
            await say(send, b"ok")

    limits = Limits(head_s=BRIEF, body_s=BRIEF, linger_s=BRIEF)
    async with site(app, limits=limits) as running, running.talk(before + said) as talk:
        if before:
            assert (await talk.answer())[0] == 200
        assert (await talk.answer())[0] == 408
        await running.empty()


async def test_a_head_that_drips_is_not_waited_for_longer() -> None:
    async with site(_path, limits=Limits(head_s=BRIEF)) as running, running.talk(GET[:-2]) as talk:
        answer = asyncio.ensure_future(talk.answer())
        while not answer.done():
            talk.say(b"a")
            await running.passes(BRIEF / 5)
        assert answer.result()[0] == 408


@pytest.mark.parametrize("said", [b"", GET, b"\r\n"])
async def test_an_idle_connection_lapses(said: bytes) -> None:
    async with site(_path, timeout_keep_alive=BRIEF) as running, running.talk(said) as talk:
        assert (await talk.rest()).count(b"HTTP/1.1") == (said == GET)


async def test_an_answer_is_not_cut_by_any_patience_with_clients() -> None:
    app = Held()
    limits = Limits(head_s=BRIEF, body_s=BRIEF, linger_s=BRIEF, write_s=BRIEF)
    async with site(app, limits=limits, timeout_keep_alive=BRIEF) as running, running.talk(GET + GET + GET[:9]) as talk:
        await running.until(lambda: bool(app.begun))
        await running.passes(3 * BRIEF)
        app.let.set()
        assert [(await talk.answer())[0] for _ in range(3)] == [200, 200, 408]


async def test_the_time_of_a_body_ends_with_it() -> None:
    app = Held()
    async with site(app, limits=Limits(body_s=BRIEF)) as running, running.talk(post(b"abc")[:-1]) as talk:
        await running.until(lambda: bool(app.begun))
        talk.say(b"c")
        await running.passes(3 * BRIEF)
        app.let.set()
        assert (await talk.answer())[0] == 200


async def test_who_leaves_without_reading_is_known_to_leave_at_once() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)
        await send({"type": "http.response.start", "status": 200})
        answering = asyncio.ensure_future(
            send({"type": "http.response.body", "body": bytes(30_000_000), "more_body": True})
        )
        told.append((await receive())["type"])
        await answering

    async with site(app) as running, running.talk(GET, limit=1024) as talk:
        await running.until(lambda: talk.writer.transport.get_write_buffer_size() == 0 and bool(running.state.tasks))
        talk.writer.write_eof()
        await running.until(lambda: bool(told))
        assert running.state.connections
    assert told == ["http.disconnect"]


@pytest.mark.parametrize("headers", [(), ("connection: close",)])
async def test_a_whole_answer_that_is_not_read_is_not_kept(headers: tuple[str, ...]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, bytes(30_000_000))

    limits = Limits(write_s=BRIEF)
    async with site(app, limits=limits) as running, running.talk(_get("/", *headers), limit=1024):
        await running.until(lambda: running.state.total_requests == 1)
        await running.empty()


async def test_who_does_not_read_one_answer_gets_no_other() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, bytes(30_000_000))

    async with site(app) as running, running.talk(GET, limit=1024) as talk:
        await running.until(lambda: running.state.total_requests == 1 and not running.state.tasks)
        talk.say(GET)
        for _ in range(50):
            await asyncio.sleep(0)
        assert running.state.total_requests == 1
        assert [len((await talk.answer())[2]) for _ in range(2)] == [30_000_000] * 2


async def test_answers_that_are_not_read_are_not_made() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, bytes(1_000_000))

    async with site(app) as running, running.talk(GET * 500, limit=1024) as talk:
        made = -1
        while made != running.state.total_requests:
            made = running.state.total_requests
            for _ in range(50):
                await asyncio.sleep(0)
        assert 1 <= made < 100
        for _ in range(150):
            assert len((await talk.answer())[2]) == 1_000_000
        assert running.state.total_requests > made
