"""A client that leaves, that is answered, or that does not read, without ASGI; on both loops, over real sockets."""

import asyncio
from typing import Any

import pytest

from gateway.client import ClientGone
from gateway.contracts.errors import InternalError
from tests.gateway.listening import GET, SECONDS, echo, post, site

pytestmark = pytest.mark.usefixtures("unfailing")


async def _hears_nothing(client: Any) -> None:
    """Whatever is said to it, or asked of it, raises ClientGone."""
    for say in (
        lambda: client.answer(200, b"", b""),
        lambda: client.stream(b""),
        lambda: client.write(b"b"),
        lambda: client.write(b"", more=False),
        lambda: client.fail(InternalError("m")),
    ):
        with pytest.raises(ClientGone):
            say()
    for wait in (client.drain, lambda: client.read_body(10)):
        with pytest.raises(ClientGone):
            await wait()


@pytest.mark.parametrize("stage", ["before its body", "before it is read", "before the answer", "within the answer"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves(stage: str, reset: bool) -> None:
    told: list[str] = []
    reached = asyncio.Event()

    async def direct(client: Any) -> None:
        client.aborts(told.append)
        if stage in ("before the answer", "within the answer"):
            assert await client.read_body(10) == b"abc"
        if stage == "within the answer":
            client.stream(b"")
            client.write(b"a")
        reached.set()
        if stage != "before it is read":
            with pytest.raises(ClientGone):
                await client.read_body(10)  # nothing comes after a body that was read, but the departure
        await running.until(lambda: not running.state.connections)
        assert client.gone
        await _hears_nothing(client)
        told.append("then")
        client.aborts(told.append)
        client.aborts(None)

    said = post(b"abc")[:-1] if stage == "before its body" else post(b"abc")
    async with site(echo, direct=direct) as running, running.talk(said) as talk:
        await asyncio.wait_for(reached.wait(), SECONDS)
        if reset:
            talk.cut()
        else:
            talk.writer.write_eof()
        await running.empty()
    assert told == ["the client left", "then", "the client left"]


async def test_who_is_told_of_a_departure_may_let_go_at_once() -> None:
    told: list[str] = []
    left, reached = asyncio.Event(), asyncio.Event()

    async def direct(client: Any) -> None:
        def end(reason: str) -> None:
            client.aborts(None)
            told.append(reason)
            left.set()

        client.aborts(end)
        reached.set()
        await left.wait()
        assert client.gone

    async with site(echo, direct=direct) as running, running.talk(GET) as talk:
        await asyncio.wait_for(reached.wait(), SECONDS)
        talk.writer.write_eof()
        await running.empty()
    assert told == ["the client left"]


@pytest.mark.parametrize("streams", [True, False])
async def test_who_is_answered_is_not_gone(streams: bool) -> None:
    told: list[str] = []
    over = asyncio.Event()

    async def direct(client: Any) -> None:
        client.aborts(told.append)
        if streams:
            client.stream(b"")
            client.write(b"ok", more=False)
        else:
            client.answer(200, b"", b"ok")
        client.aborts(told.append)
        await running.until(lambda: not running.state.connections)
        assert not client.gone
        await client.drain()
        over.set()

    async with site(echo, direct=direct) as running:
        async with running.talk(GET) as talk:
            assert (await talk.answer())[2] == b"ok"
        await running.empty()
    assert over.is_set()
    assert told == []


@pytest.mark.parametrize("pieces", [1, 1000])
async def test_a_client_that_does_not_read_is_waited_for_and_then_cut(pieces: int) -> None:
    sent, told = 0, list[str]()

    async def pour(client: Any) -> None:
        nonlocal sent
        while True:
            client.write(bytes(64_000_000 // pieces))
            sent += 1
            if client.blocked:
                await client.drain()

    async def direct(client: Any) -> None:
        client.aborts(told.append)
        client.write_s = 0.1
        client.stream(b"")
        with pytest.raises(ClientGone):
            await pour(client)
        assert client.gone
        await _hears_nothing(client)

    async with site(echo, direct=direct) as running, running.talk(GET, limit=1024) as talk:
        await running.empty()
        assert told == ["the client left"]
        assert 1 <= sent < 300
        assert len(await talk.rest()) < 64_000_000


async def test_a_slow_client_gets_everything() -> None:
    waited = 0

    async def direct(client: Any) -> None:
        nonlocal waited
        client.stream(b"")
        for _ in range(100):
            client.write(bytes(100_000))
            waited += client.blocked
            await client.drain()
            assert not client.blocked
        client.write(b"", more=False)

    async with site(echo, direct=direct) as running, running.talk(GET, limit=1024) as talk:
        assert len((await talk.answer())[2]) == 10_000_000
    assert waited


async def test_a_whole_answer_is_not_waited_for() -> None:
    async def direct(client: Any) -> None:
        client.answer(200, b"", bytes(30_000_000))
        assert not client.blocked
        await client.drain()

    async with site(echo, direct=direct) as running, running.talk(GET, limit=1024) as talk:
        await running.until(lambda: running.state.total_requests == 1 and not running.state.tasks)
        assert len((await talk.answer())[2]) == 30_000_000
