"""One request and its answer without ASGI, on both loops, over real sockets."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from gateway.client import JSON, ClientGone
from gateway.contracts.envelopes import envelope, event
from gateway.contracts.errors import BodyTooLarge, InvalidRequest, UpstreamOverloaded
from gateway.server.limits import Limits
from gateway.server.protocol import Direct
from tests.gateway.listening import GET, SECONDS, echo, post, site

CHUNKED = b"POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
EXPECTS = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-Continue\r\n\r\n"
pytestmark = pytest.mark.usefixtures("unfailing")
BUSY = UpstreamOverloaded("busy", retry_after=3)


async def _answers(direct: Direct, *requests: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer to the last of these requests."""
    async with site(echo, direct=direct) as running, running.talk(b"".join(requests)) as talk:
        for _ in requests:
            answer = await talk.answer()
        return answer


async def _back(client: Any) -> None:
    """Answers with the body, to whoever sends it."""
    with suppress(ClientGone):
        client.answer(200, JSON, await client.read_body(1000))


async def _bounded(client: Any) -> None:
    """Answers with at most three bytes of a body."""
    try:
        client.answer(200, b"", await client.read_body(3))
    except BodyTooLarge as error:
        client.fail(error)


def _at_once(reading: Any) -> bytes:
    """What is read without waiting for anything."""
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    return bytes(done.value.value)


@pytest.mark.parametrize("said", [post(b"abcde"), CHUNKED, GET])
async def test_a_body_that_is_there_is_not_waited_for(said: bytes) -> None:
    async def direct(client: Any) -> None:
        client.answer(200, b"", _at_once(client.read_body(5)))

    assert (await _answers(direct, said, said))[2] == (b"" if said == GET else b"abcde")


@pytest.mark.parametrize(
    ("said", "body"), [(post(b"abc"), b"abc"), (post(bytes(300_000)), bytes(300_000)), (CHUNKED, b"abcde")]
)
async def test_a_body_that_comes_in_pieces_is_waited_for(said: bytes, body: bytes) -> None:
    async def direct(client: Any) -> None:
        reading = asyncio.ensure_future(client.read_body(300_000))
        await asyncio.sleep(0)
        assert not reading.done()
        client.answer(200, b"", await reading)

    async with site(echo, direct=direct) as running, running.talk(said[:-3]) as talk:
        await running.until(lambda: bool(running.state.tasks))
        for at in range(len(said) - 3, len(said)):
            talk.say(said[at : at + 1])
            await asyncio.sleep(0)
        assert (await talk.answer())[2] == body


async def test_what_was_received_by_asgi_is_not_read_again() -> None:
    async def direct(client: Any) -> None:
        first = await client.receive()
        assert (first["body"], first["more_body"]) == (b"a", True)
        await running.until(lambda: client.whole)
        client.answer(200, b"", await client.read_body(10))

    async with site(echo, direct=direct) as running, running.talk(post(b"abc")[:-2]) as talk:
        await running.until(lambda: bool(running.state.tasks))
        await asyncio.sleep(0)
        talk.say(b"bc")
        assert (await talk.answer())[2] == b"bc"


async def test_a_whole_body_that_is_too_large_ends_nothing() -> None:
    async with site(echo, direct=_bounded) as running, running.talk(post(b"abcd") + CHUNKED + post(b"abc")) as talk:
        for _ in range(2):
            status, headers, body = await talk.answer()
            assert (status, b"larger than 3 bytes" in body, b"connection" in headers) == (413, True, False)
        assert (await talk.answer())[2] == b"abc"


@pytest.mark.parametrize(
    "said", [post(bytes(10_000_000)), post(b"abcd")[:-1], CHUNKED[:-8], EXPECTS.replace(b"h: 2", b"h: 4")]
)
async def test_a_body_that_turns_out_too_large_is_the_last(said: bytes) -> None:
    async with site(echo, direct=_bounded) as running, running.talk(said) as talk:
        status, headers, body = await talk.answer()
        assert (status, b"larger than 3 bytes" in body, headers[b"connection"]) == (413, True, b"close")


async def test_a_body_that_drips_is_not_waited_for_longer() -> None:
    async def direct(client: Any) -> None:
        with pytest.raises(InvalidRequest, match=r"longer than 0\.05 s") as slow:
            await client.read_body(1000)
        client.fail(slow.value)

    limits = Limits(whole_s=0.05, body_s=SECONDS)
    async with site(echo, direct=direct, limits=limits) as running, running.talk(post(bytes(999))[:-999]) as talk:
        answer = asyncio.ensure_future(talk.answer())
        while not answer.done():
            talk.say(b"a")
            await running.passes(0.01)
        status, headers, _ = answer.result()
        assert (status, headers[b"connection"]) == (400, b"close")


async def test_the_client_is_told_when_to_send_its_body() -> None:
    async with site(echo, direct=_back) as running, running.talk(EXPECTS) as talk:
        await talk.exactly(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.say(b"ok", EXPECTS)
        assert (await talk.answer())[2] == b"ok"
        assert (await talk.answer())[0] == 100


async def test_it_is_not_told_when_nobody_asks_for_its_body() -> None:
    async def direct(client: Any) -> None:
        client.answer(401, b"", b"no")

    async with site(echo, direct=direct) as running, running.talk(EXPECTS) as talk:
        status, headers, _ = await talk.answer()
        assert (status, headers[b"connection"]) == (401, b"close")
    assert (await _answers(_back, EXPECTS + b"ok"))[0] == 200  # nor when it has sent it already
    async with site(echo, direct=_back) as running, running.talk(EXPECTS.replace(b"1.1", b"1.0")) as talk:
        await running.until(lambda: bool(running.state.tasks))
        for _ in range(5):
            await asyncio.sleep(0)
        talk.say(b"ok")
        assert (await talk.answer())[0] == 200  # nor in HTTP/1.0, which does not know 100


async def test_an_answer_to_the_byte() -> None:
    async def direct(client: Any) -> None:
        client.lines = b"y: 2\r\n"
        client.answer(200, b"x: 1\r\n", b"ok")

    async with site(echo, direct=direct) as running, running.talk(GET + GET) as talk:
        date = running.state.default_headers
        lines = b"".join(b"%b: %b\r\n" % header for header in [*date, (b"x", b"1"), (b"y", b"2")])
        for _ in range(2):
            await talk.exactly(b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 2\r\n\r\nok")


async def _streams(client: Any) -> None:
    """Answers with a stream in pieces; one of them is empty."""
    client.stream(b"x: 1\r\n")
    for piece in (b"ab", b"", b"c" * 20):
        client.write(piece)
        await client.drain()
    client.write(b"", more=False)


async def test_a_stream() -> None:
    async with site(echo, direct=_streams) as running, running.talk(GET + GET) as talk:
        end = b"x: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n14\r\n" + b"c" * 20 + b"\r\n0\r\n\r\n"
        for _ in range(2):
            said = await talk.reader.readuntil(b"\r\n0\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
            assert b"\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\n" in said
            assert said.endswith(end)


@pytest.mark.parametrize("direct", [_back, _streams])
async def test_to_http_1_0_an_answer_ends_with_its_connection(direct: Direct) -> None:
    said = post(b"abc", b"connection: keep-alive").replace(b"1.1", b"1.0")
    async with site(echo, direct=direct) as running, running.talk(said) as talk:
        head, _, body = (await talk.rest()).partition(b"\r\n\r\n")
        assert body == (b"abc" if direct is _back else b"ab" + b"c" * 20)
        assert b"chunked" not in head
        assert (b"content-length: 3" in head) == (direct is _back)
        assert b"connection: close" in head


@pytest.mark.parametrize("direct", [_back, _streams])
async def test_the_answer_to_head_has_no_body(direct: Direct) -> None:
    said = post(b"abc").replace(b"POST", b"HEAD") + post(b"next", b"connection: close")
    async with site(echo, direct=direct) as running, running.talk(said) as talk:
        first, _, second = (await talk.rest()).partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200 OK")
        assert b"transfer-encoding" not in first
        assert (b"content-length: 3" in first) == (direct is _back)
        assert second.startswith(b"HTTP/1.1 200 OK")
        assert second.endswith(b"next" if direct is _back else b"0\r\n\r\n")


async def test_errors_before_and_in_a_stream() -> None:
    async def direct(client: Any) -> None:
        if client.path == "/b":
            client.stream(b"")
            client.write(b"data: 1\n\n")
        client.fail(BUSY)

    async with site(echo, direct=direct) as running, running.talk(GET + GET.replace(b"/a", b"/b") + GET) as talk:
        for body in (envelope(BUSY), b"data: 1\n\n" + event(BUSY), envelope(BUSY)):
            status, headers, said = await talk.answer()
            assert (status, said) == (200 if body[:1] == b"d" else 503, body)
            assert headers.get(b"retry-after") == (None if status == 200 else b"3")


async def test_what_is_asked() -> None:
    async def direct(client: Any) -> None:
        assert not client.started
        told = client.method, client.path, client.header(b"x"), client.header(b"X"), client.header(b"y")
        client.answer(200, b"", repr(told).encode())
        assert client.started

    said = b"PUT /%61?b=/c HTTP/1.1\r\nX: 1\r\nx: 2\r\n\r\n"
    assert (await _answers(direct, said))[2] == repr(("PUT", "/%61", b"1", None, None)).encode()


async def test_nothing_follows_the_end() -> None:
    raised = asyncio.Event()

    async def direct(client: Any) -> None:
        with pytest.raises(RuntimeError, match="before its head"):
            client.write(b"early")
        client.stream(b"")
        client.write(b"ok", more=False)
        with pytest.raises(RuntimeError, match="after its end"):
            client.write(b"more")
        with pytest.raises(RuntimeError, match="begun already"):
            client.answer(200, b"", b"")
        with pytest.raises(RuntimeError, match="begun already"):
            client.stream(b"")
        assert not client.blocked
        await client.drain()
        raised.set()

    assert (await _answers(direct, GET))[2] == b"ok"
    await asyncio.wait_for(raised.wait(), SECONDS)
