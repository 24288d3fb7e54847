"""What is left of a connection that was closed: nothing, at once, without the collector's help."""

import asyncio
import weakref

import pytest

from gateway.upstreams.http1 import Connection, ExchangeError
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import exchange, pool, post

BODY = b'{"model":"faq","prompt":"one two","stream":true}'

pytestmark = pytest.mark.usefixtures("no_collector")


async def _leaves(engine: Engine, connection: Connection) -> None:
    await engine.wait_for(lambda e: bool(e.connections))
    connection.abort("the client left")


async def _aborted(engine: Engine) -> "weakref.ref[Connection]":
    """A connection whose exchange was ended while somebody waited for it."""
    connections = pool(engine.url)
    connection = connections.take()
    connection.send(post(BODY))
    leaving = asyncio.create_task(_leaves(engine, connection))
    with pytest.raises(ExchangeError, match="the client left"):
        await connection.head(5.0)
    await leaving
    connections.close(connection)
    return weakref.ref(connection)


async def test_an_aborted_exchange_keeps_nothing_alive() -> None:
    async with Engine() as engine:
        engine.faults.append(Fault("stall", times=0))
        left = await _aborted(engine)
        await engine.wait_for(lambda e: not e.connections)
        assert left() is None


async def _kept(url: str) -> "weakref.ref[Connection]":
    """A connection that was kept after its exchange, until the pool closed."""
    connections = pool(url)
    connection = connections.take()
    connection.send(post(BODY))
    await exchange(connection)
    connections.close(connection)
    connections.close_all()
    return weakref.ref(connection)


async def test_a_kept_connection_keeps_nothing_alive_once_it_is_closed() -> None:
    async with Engine() as engine:
        kept = await _kept(engine.url)
        await engine.wait_for(lambda e: not e.connections)
        assert kept() is None
