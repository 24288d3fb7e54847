"""Connections that are kept, and those that are not."""

import asyncio

from gateway.upstreams.pool import LONGEST_S
from tests.engine.simulator import Engine
from tests.gateway.servers import ASK, asking, exchange, pool, post, server


async def test_a_connection_is_used_again() -> None:
    async with Engine() as engine:
        engines = pool(engine.url)
        for used in (False, True, True):
            connection = engines.take()
            connection.send(ASK)
            assert (connection.reused, await exchange(connection)) == (used, (200, b""))
            engines.close(connection)
        assert engine.connections_made == 1
        fresh = engines.take(fresh=True)
        assert not fresh.reused
        fresh.shut()
        engines.close_all()
        await engine.wait_for(lambda e: not e.connections)


async def test_an_old_connection_is_closed_so_that_its_engines_name_is_looked_up_again() -> None:
    async with Engine() as engine:
        engines = pool(engine.url, longest_s=0.0)
        for made in (1, 2):
            connection = engines.take()
            connection.send(ASK)
            assert (connection.reused, await exchange(connection)) == (False, (200, b""))
            engines.close(connection)
            assert engine.connections_made == made
            await engine.wait_for(lambda e: len(e.connections) == 1)
        engines.close_all()
        await engine.wait_for(lambda e: not e.connections)


async def test_connections_that_became_old_while_nobody_used_them_are_used_no_more() -> None:
    """An engine, or what stands before it, may keep for an hour what is idle."""
    async with Engine() as engine:
        engines = pool(engine.url)
        kept = [engines.take(fresh=True) for _ in range(3)]
        for connection in kept:
            connection.send(ASK)
            await exchange(connection)
            engines.close(connection)
            connection.since -= LONGEST_S
        another = engines.take()
        assert not another.reused
        another.shut()
        await engine.wait_for(lambda e: not e.connections)


async def test_the_last_one_used_is_used_first() -> None:
    async with Engine() as engine:
        engines = pool(engine.url)
        first, second = engines.take(fresh=True), engines.take(fresh=True)
        for connection in (second, first):
            connection.send(ASK)
            await exchange(connection)
            engines.close(connection)
        assert [engines.take(), engines.take()] == [first, second]
        first.shut()
        second.shut()


async def test_an_idle_connection_that_the_engine_closed_is_not_used() -> None:
    async with Engine() as engine:
        engines = pool(engine.url)
        connection = engines.take()
        connection.send(ASK)
        await exchange(connection)
        engines.close(connection)
        await engine.stop()
        await engine.start()
        # By the time of a whole exchange the end of the idle connection has been noticed too.
        async with asking(engine.url) as other:
            await exchange(other)
        assert not connection.usable
        another = engines.take()
        assert not another.reused
        another.shut()


async def test_no_request_waits_behind_one_that_its_engine_answered_without_reading_it() -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(1)
        await over.wait()

    over = asyncio.Event()
    async with server(hasty) as url:
        engines = pool(url)
        connection = engines.take()
        connection.send(post(bytes(32 * 1024 * 1024)))
        answer = await exchange(connection)
        engines.close(connection)
        next_one = engines.take()
        over.set()
        assert answer == (413, b"")
        assert next_one is not connection
        next_one.shut()
