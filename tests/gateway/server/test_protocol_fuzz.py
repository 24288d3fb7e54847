"""Whatever is sent, in whatever pieces: the same answers, and nothing left."""

import asyncio
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.server.limits import Limits
from tests.gateway.listening import GET, Site, echo, post, site

LIMITS = Limits(head_bytes=2000, buffer_bytes=50, pipelined=2)
VALID = [
    GET,
    post(b"abc"),
    post(bytes(100)),
    post(b"ab", b"expect: 100-continue"),
    b"POST /c?q HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n40\r\n"
    + bytes(64)
    + b"\r\n0\r\nt: r\r\n\r\n",
    b"POST /u HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 3\r\n\r\nxyz",
    b"HEAD /h HTTP/1.1\r\n\r\n\r\n",
]
LAST = b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n"
PIECES = st.sampled_from(
    [*VALID, LAST, b"\r\n", b"0\r\n\r\n", b"POST / HTTP/1.1\r\n", b"content-length: 7\r\n", b"x" * 500]
)


async def _answers(running: Site, pieces: list[bytes], *, leave: bool) -> bytes:
    async with running.talk() as talk:
        for piece in pieces:
            talk.say(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        said = b"" if leave else await talk.rest()
    await running.empty()
    # Whether a body was asked for depends on whether it had come.
    return said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").replace(said[said.find(b"date: ") :][:37], b"")


async def _echo(client: Any) -> None:
    """Streams back what was asked."""
    body = await client.read_body(1000)
    client.stream(b"")
    for piece in (client.method.encode(), client.path.encode(), body):
        client.write(piece)
        await client.drain()
    client.write(b"", more=False)


def _some(client: Any) -> Any:
    """Every other request, without ASGI."""
    return _echo(client) if client.method == "POST" else None


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Any:
    """Both loops."""
    return request.param


@pytest.fixture(params=[None, _echo, _some], ids=["asgi", "direct", "some"])
def fuzzed(loop_factory: Any, request: pytest.FixtureRequest) -> Any:
    """A runner and a server on it, for all the examples."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        serving = site(echo, limits=LIMITS, direct=request.param)
        running = runner.run(serving.__aenter__())
        yield runner, running
        runner.run(serving.__aexit__(None, None, None))


def test_requests_cut_anywhere_have_the_same_answers(fuzzed: Any) -> None:
    runner, running = fuzzed

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(VALID), max_size=5), st.data())
    def check(requests: list[bytes], data: st.DataObject) -> None:
        stream = b"".join(requests) + LAST
        cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
        pieces = [stream[at:end] for at, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        whole = runner.run(_answers(running, [stream], leave=False))
        assert whole.count(b"HTTP/1.1 200 OK") == len(requests) + 1
        assert runner.run(_answers(running, pieces, leave=False)) == whole

    check()


def test_anything_leaves_nothing(fuzzed: Any) -> None:
    runner, running = fuzzed

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=8))
    def check(pieces: list[bytes]) -> None:
        runner.run(_answers(running, pieces, leave=True))

    check()
    # And it still answers.
    assert b"/last" in runner.run(_answers(running, [LAST], leave=False))
