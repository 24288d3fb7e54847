"""One request and its answer by ASGI, on both loops, over real sockets."""

import asyncio
from typing import Any

import pytest

from gateway.contracts.errors import InternalError
from gateway.server.limits import Limits
from tests.gateway.listening import GET, SECONDS, body_of, echo, post, say, site

CHUNKED = b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
EXPECTS = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-Continue\r\n\r\n"


async def _answers(app: Any, *requests: bytes, **options: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer to the last of these requests."""
    async with site(app, **options) as running, running.talk(b"".join(requests)) as talk:
        for _ in requests:
            answer = await talk.answer()
        return answer


async def test_a_body_in_chunks() -> None:
    status, headers, body = await _answers(echo, CHUNKED)
    assert (status, b'"body": "abcde"' in body) == (200, True)
    assert b"date" in headers


async def test_an_answer_in_chunks() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ab", b"", b"c" * 20, b"")

    async with site(app) as running, running.talk(GET + GET) as talk:
        expected = b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n14\r\n" + b"c" * 20 + b"\r\n0\r\n\r\n"
        for _ in range(2):
            said = await talk.reader.readuntil(b"\r\n0\r\n\r\n")
            assert said.endswith(expected)


async def test_to_http_1_0_an_answer_ends_with_its_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ab", b"c")

    said = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\nexpect: 100-continue\r\n\r\n"
    async with site(app) as running, running.talk(said) as talk:
        head, _, body = (await talk.rest()).partition(b"\r\n\r\n")
        assert body == b"abc"
        assert b"chunked" not in head
        assert b"connection: close" in head


async def test_the_client_is_told_when_to_send_its_body() -> None:
    async with site(echo) as running, running.talk(EXPECTS) as talk:
        await talk.exactly(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.say(b"ok", EXPECTS)
        assert b'"body": "ok"' in (await talk.answer())[2]
        assert (await talk.answer())[0] == 100


async def test_it_is_not_told_when_nobody_asks_for_its_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"no", status=401)

    async with site(app) as running, running.talk(EXPECTS) as talk:
        status, headers, _ = await talk.answer()
        assert (status, headers[b"connection"]) == (401, b"close")
    assert (await _answers(echo, EXPECTS + b"ok"))[0] == 200  # nor when it has sent it already
    async with site(echo) as running, running.talk(EXPECTS.replace(b"1.1", b"1.0")) as talk:
        await running.until(lambda: bool(running.state.tasks))
        for _ in range(5):
            await asyncio.sleep(0)
        talk.say(b"ok")
        assert (await talk.answer())[0] == 200  # nor in HTTP/1.0, which does not know 100


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_without_a_body(method: bytes, status: int, length: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/a":
            await say(send, b"not sent", *([] if length else [b"either"]), status=status)
        else:
            await say(send, b"next")

    async with site(app) as running:
        said = b"%b /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nconnection: close\r\n\r\n" % method
        async with running.talk(said) as talk:
            first, _, second = (await talk.rest()).partition(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 %d " % status)
            assert b"transfer-encoding" not in first
            assert second.startswith(b"HTTP/1.1 200 OK")
            assert second.endswith(b"next")


START = {"type": "http.response.start", "status": 200}
LENGTH_3 = {**START, "headers": [(b"Content-Length", b"3")]}


def _body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


DEFECTIVE: dict[str, list[dict[str, Any]]] = {
    "longer than it says": [LENGTH_3, _body(b"four")],
    "shorter than it says": [LENGTH_3, _body(b"ab")],
    "a line end in a value": [{**START, "headers": [(b"x", b"a\r\nevil: 1")]}, _body(b"")],
    "a line feed in a value": [{**START, "headers": [(b"x", b"a\nevil: 1")]}, _body(b"")],
    "a NUL in a value": [{**START, "headers": [(b"x", b"a\x00")]}, _body(b"")],
    "a line end in a name": [{**START, "headers": [(b"x: 1\r\ny", b"2")]}, _body(b"")],
    "two lengths": [{**START, "headers": [(b"content-length", b"1"), (b"Content-Length", b"2")]}, _body(b"a")],
    "no status": [{**START, "status": 103}, _body(b"")],
    "a body first": [_body(b"a")],
    "two heads": [START, START],
    "another message": [START, {"type": "http.response.trailers", "headers": []}],
}


@pytest.mark.parametrize("name", DEFECTIVE)
async def test_what_is_no_answer_is_not_sent(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in DEFECTIVE[name]:
            await send(message)

    status, headers, body = await _answers(app, GET)
    assert (status, headers[b"connection"]) == (500, b"close")
    assert b"evil" not in body
    assert InternalError.code.encode() in body
    assert ["RuntimeError" in str(record.exc_info) for record in caplog.records] == [True]


async def test_a_defect_after_the_first_byte_cuts_the_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(LENGTH_3)
        await send(_body(b"a", more=True))
        await send(_body(b"bcd"))

    async with site(app) as running, running.talk(GET + GET) as talk:
        assert (await talk.rest()).endswith(b"\r\n\r\na")


async def test_no_message_follows_the_last() -> None:
    raised = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ok")
        with pytest.raises(RuntimeError, match="after its end"):
            await send(_body(b"more"))
        with pytest.raises(RuntimeError, match="begun already"):
            await send(START)
        assert (await receive())["type"] == "http.disconnect"
        raised.set()

    assert (await _answers(app, GET))[2] == b"ok"
    await asyncio.wait_for(raised.wait(), SECONDS)


async def test_an_application_may_end_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ok", headers=[(b"Connection", b"close"), (b"Transfer-Encoding", b"chunked")])

    async with site(app) as running, running.talk(GET + GET) as talk:
        said = await talk.rest()
        assert said.count(b"HTTP/1.1 200") == said.count(b"onnection: close") == 1
        assert b"chunked" not in said


async def test_a_body_comes_as_it_was_sent() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        first = await receive()
        pieces = [first["body"], b"" if not first["more_body"] else await body_of(receive) or b""]
        await say(send, b"|".join(pieces))

    assert (await _answers(app, post(b"abc")))[2] == b"abc|"
    async with site(app) as running, running.talk(post(b"abc")[:-2]) as talk:
        await running.until(lambda: bool(running.state.tasks))
        await asyncio.sleep(0)
        talk.say(b"bc")
        assert (await talk.answer())[2] == b"a|bc"


@pytest.mark.parametrize("stage", ["before the body", "before the answer", "within the answer"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves(stage: str, reset: bool) -> None:
    told: list[str] = []
    reached = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if stage != "before the body":
            assert await body_of(receive) == b"abc"
        if stage == "within the answer":
            await send(START)
            await send(_body(b"a", more=True))
        reached.set()
        if stage == "before the body":
            assert await body_of(receive) is None
        both = await asyncio.gather(receive(), receive())
        told.extend(message["type"] for message in both)
        await send(START)  # nobody hears it
        await send(_body(b"b"))

    said = post(b"abc")
    async with site(app) as running, running.talk(said[:-1] if stage == "before the body" else said) as talk:
        await asyncio.wait_for(reached.wait(), SECONDS)
        if reset:
            talk.cut()
        else:
            talk.writer.write_eof()
        await running.empty()
    assert told == ["http.disconnect"] * 2


@pytest.mark.parametrize("pieces", [1, 1000])
async def test_a_client_that_does_not_read_is_waited_for_and_then_cut(pieces: int) -> None:
    sent, told = 0, []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent

        async def leave() -> None:
            await body_of(receive)
            told.append((await receive())["type"])

        left = asyncio.ensure_future(leave())
        await send(START)
        while not told:
            await send(_body(bytes(64_000_000 // pieces), more=True))
            sent += 1
            await asyncio.sleep(0)
        await left

    limits = Limits(write_s=0.1)
    async with site(app, limits=limits) as running, running.talk(GET, limit=1024) as talk:
        await running.empty()
        assert told == ["http.disconnect"]
        assert 1 <= sent < 300
        assert len(await talk.rest()) < 64_000_000


async def test_a_slow_client_gets_everything() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await say(send, *[bytes(100_000)] * 100)

    async with site(app) as running, running.talk(GET, limit=1024) as talk:
        assert len((await talk.answer())[2]) == 10_000_000
