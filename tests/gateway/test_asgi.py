"""The client under any server of ASGI: its departure, its patience, and the messages that it is told by."""

import asyncio
from collections.abc import Iterable

import pytest

from gateway.asgi import AsgiClient
from gateway.client import JSON, ClientGone, Message
from gateway.contracts.envelopes import envelope
from gateway.contracts.errors import BodyTooLarge, UpstreamOverloaded
from tests.gateway.listening import SECONDS

KIND = (b"content-type", b"application/json")
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
BUSY = UpstreamOverloaded("busy", retry_after=3)


class Side:
    """The server's half of one ASGI call: what it hands in, and what it was handed."""

    def __init__(self, messages: Iterable[Message] = (), headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.incoming.put_nowait(message)
        self.sent: list[Message] = []
        self.takes = 100
        self.stuck = asyncio.Event()
        self.scope = {"path": "/v1/completions", "method": "POST", "headers": list(headers)}

    async def send(self, message: Message) -> None:
        if len(self.sent) == self.takes:
            self.stuck.set()
            await asyncio.Event().wait()
        self.sent.append(message)

    def client(self, write_s: float = 5.0) -> AsgiClient:
        return AsgiClient(self.scope, self.incoming.get, self.send, write_s=write_s)

    def leaves(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})


def _body(*pieces: bytes) -> list[Message]:
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": at < last} for at, piece in enumerate(pieces)]


async def _turn() -> None:
    """Let everything run that is ready."""
    await asyncio.to_thread(bool)


async def _gone(client: AsgiClient) -> None:
    async with asyncio.timeout(SECONDS):
        while not client.gone:
            await _turn()


def test_what_is_asked() -> None:
    client = Side(headers=[(b"x", b"1"), (b"x", b"2")]).client()
    assert (client.method, client.path) == ("POST", "/v1/completions")
    assert (client.header(b"x"), client.header(b"y")) == (b"1", None)  # the first of a name counts
    assert (client.gone, client.started, client.blocked) == (False, False, False)


@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"abc", b"")])
async def test_a_body_is_read_whole(pieces: tuple[bytes, ...]) -> None:
    assert await Side(_body(*pieces)).client().read_body(3) == b"".join(pieces)


async def test_a_body_is_read_no_further_than_its_limit() -> None:
    side = Side([*_body(b"ab", b"cd"), *_body(b"never read")], [(b"content-length", b"1")])
    client = side.client()
    with pytest.raises(BodyTooLarge, match="larger than 3 bytes"):
        await client.read_body(3)
    assert side.incoming.qsize() == 1
    assert not client.gone  # it is told


async def test_a_client_that_leaves_with_half_a_body_is_gone() -> None:
    side = Side(_body(b"a", b"b")[:1])
    side.leaves()
    client = side.client()
    with pytest.raises(ClientGone):
        await client.read_body(3)
    assert client.gone


async def test_a_departure_ends_what_is_under_way() -> None:
    side, reasons = Side(_body(b"what is left of a body")), list[str]()
    client = side.client()
    client.watch()
    client.aborts(reasons.append)
    await _turn()
    assert (client.gone, reasons) == (False, [])
    side.leaves()
    await _gone(client)
    assert reasons == ["the client left"]


async def test_a_departure_before_the_attempt_ends_it_at_once() -> None:
    side, reasons = Side(), list[str]()
    client = side.client()
    client.watch()
    side.leaves()
    await _gone(client)
    client.aborts(reasons.append)
    assert reasons == ["the client left"]


async def test_nothing_is_ended_after_the_attempt() -> None:
    side, reasons = Side(), list[str]()
    client = side.client()
    client.aborts(reasons.append)
    client.aborts(None)
    client.watch()
    side.leaves()
    await _turn()
    assert client.gone
    assert reasons == []


async def test_after_the_watch_nobody_receives() -> None:
    side = Side()
    client = side.client()
    client.unwatch()  # nothing was begun
    client.watch()
    await _turn()
    client.unwatch()
    await _turn()
    side.leaves()
    assert await side.incoming.get() == {"type": "http.disconnect"}
    assert not client.gone


async def test_a_whole_answer() -> None:
    side = Side()
    client = side.client()
    client.answer(200, JSON, b"{}")
    assert client.started
    assert client.blocked
    assert side.sent == []
    await client.drain()
    assert not client.blocked
    assert side.sent == [
        {"type": "http.response.start", "status": 200, "headers": [KIND, (b"content-length", b"2")]},
        {"type": "http.response.body", "body": b"{}", "more_body": False},
    ]


async def test_a_stream() -> None:
    side = Side()
    client = side.client()
    client.stream(b"x: 1\r\n")
    client.write(b"a")
    await client.drain()
    assert (client.blocked, len(side.sent)) == (False, 2)
    client.write(b"", more=False)
    assert client.blocked
    await client.drain()
    await client.drain()  # nothing is sent twice
    assert side.sent == [
        {"type": "http.response.start", "status": 200, "headers": [*EVENTS, (b"x", b"1")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


async def test_an_error_is_an_answer() -> None:
    side = Side()
    client = side.client()
    client.fail(BUSY)
    await client.drain()
    body = envelope(BUSY)
    headers = [KIND, (b"retry-after", b"3"), (b"content-length", b"%d" % len(body))]
    assert [message.get("headers", message.get("body")) for message in side.sent] == [headers, body]


@pytest.mark.parametrize("value", [b"", b"a: b: c", b": ", b"\xc3\xa9\t", b":"])
async def test_lines_are_headers(value: bytes) -> None:
    side = Side()
    client = side.client()
    client.lines = b"x: " + value + b"\r\ny: 1\r\n"
    client.answer(204, b"z: " + value + b"\r\n", b"")
    await client.drain()
    assert side.sent[0]["headers"] == [(b"z", value), (b"x", value), (b"y", b"1"), (b"content-length", b"0")]
    side.sent.clear()
    bare = side.client()
    bare.answer(200, b"", b"")
    await bare.drain()
    assert side.sent[0]["headers"] == [(b"content-length", b"0")]


async def test_nothing_is_sent_to_a_client_that_left() -> None:
    side = Side()
    client = side.client()
    client.stream(b"")
    await client.drain()
    client.departed()
    with pytest.raises(ClientGone):
        client.write(b"a")
    assert len(side.sent) == 1


@pytest.mark.parametrize("takes", [0, 1, 2])
async def test_a_client_that_does_not_read_is_given_up(takes: int) -> None:
    side = Side()
    side.takes = takes
    client = side.client(write_s=0.005)
    client.stream(b"")
    client.write(b"a")
    client.write(b"b")
    with pytest.raises(ClientGone):
        await client.drain()
    assert client.gone
    assert len(side.sent) == takes
    assert not client.blocked  # what was not read is not said again
    with pytest.raises(ClientGone):
        client.fail(BUSY)


async def test_how_long_a_client_is_waited_for_may_be_said_later() -> None:
    side = Side()
    side.takes = 0
    client = AsgiClient(side.scope, side.incoming.get, side.send)
    client.write_s = 0.005
    client.answer(200, b"", b"")
    with pytest.raises(ClientGone):
        await client.drain()


async def test_a_client_that_leaves_is_not_drained() -> None:
    side = Side()
    client = side.client()
    client.stream(b"")
    client.write(b"a")
    client.departed()
    with pytest.raises(ClientGone):
        await client.drain()
