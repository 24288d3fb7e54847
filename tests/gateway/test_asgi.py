"""The client's side of a request: its body, its departure, and what it is told."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.asgi import JSON, SSE, Client, ClientGone, Message
from gateway.contracts.errors import BodyTooLarge, InternalError, UpstreamOverloaded

BUSY = UpstreamOverloaded("busy", retry_after=3)


class Side:
    """The server's half of one ASGI call: what it hands in, and what it was handed."""

    def __init__(self, messages: Iterable[Message] = (), headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.incoming.put_nowait(message)
        self.sent: list[Message] = []
        self.stuck = False
        self.scope = {"path": "/v1/completions", "method": "POST", "headers": list(headers)}

    async def send(self, message: Message) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.sent.append(message)

    def client(self, write_s: float = 5.0) -> Client:
        return Client(self.scope, self.incoming.get, self.send, write_s=write_s)

    def leaves(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})


def _body(*pieces: bytes) -> list[Message]:
    last = len(pieces) - 1
    return [{"type": "http.request", "body": piece, "more_body": at < last} for at, piece in enumerate(pieces)]


async def _turn() -> None:
    """Let everything run that is ready."""
    await asyncio.to_thread(bool)


@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"abc", b"")])
async def test_a_body_is_read_whole(pieces: tuple[bytes, ...]) -> None:
    assert await Side(_body(*pieces)).client().read_body(3) == b"".join(pieces)


async def test_a_message_without_a_body_is_an_empty_one() -> None:
    assert await Side([{"type": "http.request"}]).client().read_body(3) == b""


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"1")], [(b"content-length", b"nonsense")]])
async def test_a_body_is_bounded_whatever_its_length_claims(headers: list[tuple[bytes, bytes]]) -> None:
    side = Side([*_body(b"ab", b"cd"), *_body(b"never read")], headers)
    with pytest.raises(BodyTooLarge, match="larger than 3 bytes"):
        await side.client().read_body(3)
    assert side.incoming.qsize() == 1


async def test_a_body_that_announces_too_much_is_not_read_at_all() -> None:
    side = Side(_body(b"abc"), [(b"content-length", b"4")])
    with pytest.raises(BodyTooLarge):
        await side.client().read_body(3)
    assert side.incoming.qsize() == 1


async def test_a_client_that_leaves_with_half_a_body_is_gone() -> None:
    side = Side(_body(b"a", b"b")[:1])
    side.leaves()
    client = side.client()
    with pytest.raises(ClientGone):
        await client.read_body(3)
    assert client.gone


def test_the_first_header_of_a_name_counts() -> None:
    client = Side(headers=[(b"x", b"1"), (b"x", b"2")]).client()
    assert (client.header(b"x"), client.header(b"y")) == (b"1", None)


async def test_a_departure_ends_what_is_under_way() -> None:
    side, ended = Side(), asyncio.Event()
    client = side.client()
    client.watch()
    client.aborts(lambda reason: ended.set())
    side.leaves()
    await asyncio.wait_for(ended.wait(), 5.0)
    assert client.gone


async def test_a_departure_before_the_attempt_ends_it_at_once() -> None:
    side, reasons = Side(), list[str]()
    client = side.client()
    client.watch()
    side.leaves()
    async with asyncio.timeout(5.0):
        while not client.gone:
            await _turn()
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
    client.watch()
    await _turn()
    client.unwatch()
    await _turn()
    side.leaves()
    assert await side.incoming.get() == {"type": "http.disconnect"}


async def test_a_whole_answer() -> None:
    side = Side()
    client = side.client()
    await client.answer(200, [JSON], b"{}")
    assert client.started
    assert side.sent == [
        {"type": "http.response.start", "status": 200, "headers": [JSON, (b"content-length", b"2")]},
        {"type": "http.response.body", "body": b"{}"},
    ]


async def test_a_stream() -> None:
    side = Side()
    client = side.client()
    await client.stream([(b"x", b"1")])
    await client.write(b"a")
    await client.write(b"", more=False)
    assert side.sent == [
        {"type": "http.response.start", "status": 200, "headers": [*SSE, (b"x", b"1")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


async def test_nothing_is_written_to_a_client_that_left() -> None:
    side = Side()
    client = side.client()
    await client.stream([])
    client.gone = True
    with pytest.raises(ClientGone):
        await client.write(b"a")
    assert len(side.sent) == 1


async def test_a_client_that_does_not_read_is_given_up() -> None:
    side = Side()
    client = side.client(write_s=0.005)
    await client.stream([])
    side.stuck = True
    with pytest.raises(ClientGone):
        await client.write(b"a")
    assert client.gone


def _error(data: Any) -> Any:
    return json.loads(data)["error"]


async def test_an_error_before_the_answer_is_a_status() -> None:
    side = Side()
    await side.client().fail(BUSY, [(b"x", b"1")])
    start, body = side.sent
    assert (start["status"], dict(start["headers"])[b"retry-after"], dict(start["headers"])[b"x"]) == (503, b"3", b"1")
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    assert _error(body["body"])["code"] == "upstream_overloaded"


async def test_without_a_time_to_come_back_none_is_told() -> None:
    side = Side()
    await side.client().fail(InternalError("m"), [])
    assert b"retry-after" not in dict(side.sent[0]["headers"])


async def test_an_error_in_a_stream_is_its_last_event() -> None:
    side = Side()
    client = side.client()
    await client.stream([])
    await client.fail(BUSY, [])
    last = side.sent[-1]
    assert last["body"].startswith(b"data: ")
    assert last["body"].endswith(b"\n\n")
    assert _error(last["body"].removeprefix(b"data: "))["message"] == "busy"
    assert last["more_body"] is False


async def test_an_error_after_a_whole_answer_is_a_defect() -> None:
    side = Side()
    client = side.client()
    await client.answer(200, [], b"{}")
    with pytest.raises(InternalError):
        await client.fail(BUSY, [])
    assert len(side.sent) == 2
