"""A connection that is given up while it is made, or closes before anything was heard."""

import asyncio
import socket

import pytest

from gateway.resolving import Name
from gateway.upstreams.http1 import Address, Connection, ExchangeError
from tests.gateway.servers import ASK, SECONDS, Wire, asking, exchange, wired

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\na"


async def test_a_connection_is_given_up_while_it_is_made() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # who listens with no backlog answers one alone
            async with asking(f"http://127.0.0.1:{port}", connect_s=0.05) as connection:
                with pytest.raises(ExchangeError, match=r"accept a connection within 0\.05 s") as caught:
                    await connection.head(SECONDS)
                assert caught.value.connecting
                assert caught.value.timeout
            async with asking(f"http://127.0.0.1:{port}") as connection:
                with pytest.raises(ExchangeError, match=r"accept a connection within 0\.05 s"):
                    await connection.head(SECONDS, 0.05)
            async with asking(f"http://127.0.0.1:{port}") as connection:
                waiting = asyncio.ensure_future(connection.head(SECONDS))
                await asyncio.sleep(0)
                connection.abort("the client left")
                with pytest.raises(ExchangeError, match="the client left"):
                    await waiting
                assert not connection.usable


async def test_what_a_connection_took_is_not_there_for_the_head() -> None:
    """A connection that came late leaves the rest of what both may take."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asking(f"http://127.0.0.1:{silent.getsockname()[1]}") as connection:
            since = loop.time()
            with pytest.raises(ExchangeError, match="its first byte") as caught:
                await connection.head(SECONDS, 0.2)
            assert caught.value.timeout
            assert not caught.value.connecting
            assert loop.time() - since < SECONDS


async def test_an_engine_does_not_begin_for_one_that_left_while_it_connected() -> None:
    said: list[bytes] = []
    wire = Wire()
    wire.write = said.append  # type: ignore[assignment, method-assign]
    connection = Connection(Address(Name("127.0.0.1", 9)), lambda _: None)
    connection.send(ASK)
    connection.abort("the client left")
    connection.connection_made(wire)
    assert (said, wire.ended, connection.usable) == ([], True, False)
    with pytest.raises(ExchangeError, match="the client left"):
        await connection.head(SECONDS)


async def test_an_opening_that_is_cancelled_is_a_failure() -> None:
    connection = Connection(Address(Name("127.0.0.1", 9)), lambda _: None)
    before = asyncio.all_tasks()
    connection.send(ASK)
    for opening in asyncio.all_tasks() - before:
        opening.cancel()
    with pytest.raises(ExchangeError, match="cancelled") as caught:
        await connection.head(SECONDS)
    assert caught.value.connecting


@pytest.mark.parametrize(("said", "unheard"), [(b"", True), (b"HTTP/1.1 2", False), (CHUNKED, False)])
async def test_whether_anything_was_heard_is_known(said: bytes, unheard: bool) -> None:
    connection, _ = wired()
    if said:
        connection.data_received(said)
    connection.connection_lost(None)
    with pytest.raises(ExchangeError) as caught:
        await exchange(connection)
    assert caught.value.unheard is unheard
