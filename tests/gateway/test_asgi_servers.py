"""The client under real servers of ASGI: the gateway's own, and uvicorn's."""

import asyncio
from typing import Any

import pytest

from gateway.asgi import AsgiClient
from gateway.client import JSON, ClientGone
from tests.gateway.listening import GET, SECONDS, post, site

SERVERS = [
    pytest.param({}, id="own"),
    pytest.param({"http": "h11"}, id="h11"),
    pytest.param({"http": "httptools"}, id="httptools"),
]


async def _serve(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body; as a stream, when it is asked for a path that says so."""
    client = AsgiClient(scope, receive, send)
    body = await client.read_body(10)
    client.watch()
    if client.path == "/a":
        client.answer(200, JSON, body)
    else:
        client.stream(b"x: 1\r\n")
        for byte in body:
            client.write(b"%c" % byte)
            await client.drain()
        client.write(b"", more=False)
    client.unwatch()
    await client.drain()


@pytest.mark.parametrize("options", SERVERS)
async def test_under_a_real_server(options: dict[str, str]) -> None:
    async with site(_serve, **options) as running, running.talk(post(b"abc")) as talk:
        status, headers, body = await talk.answer()
        assert (status, headers[b"content-type"], headers[b"content-length"], body) == (
            200,
            b"application/json",
            b"3",
            b"abc",
        )
        talk.say(post(b"def", path=b"/b"))
        status, headers, body = await talk.answer()
        assert (status, headers[b"content-type"], headers[b"x"], body) == (
            200,
            b"text/event-stream; charset=utf-8",
            b"1",
            b"def",
        )
        talk.say(GET)
        assert (await talk.answer())[2] == b""


@pytest.mark.parametrize("options", SERVERS)
async def test_a_departure_from_a_real_server(options: dict[str, str]) -> None:
    reasons, begun, left = list[str](), asyncio.Event(), asyncio.Event()

    def end(reason: str) -> None:
        reasons.append(reason)
        left.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        client = AsgiClient(scope, receive, send)
        await client.read_body(10)
        client.watch()
        client.aborts(end)
        client.stream(b"")
        client.write(b"a")
        await client.drain()
        begun.set()
        await left.wait()
        with pytest.raises(ClientGone):
            client.write(b"b")

    async with site(app, **options) as running, running.talk(GET) as talk:
        await asyncio.wait_for(begun.wait(), SECONDS)
        talk.cut()
        await running.empty()
    assert reasons == ["the client left"]
