"""An engine that never stops talking, and never says anything: no limit begins anew with each of its bytes."""

import asyncio

import pytest

from gateway.upstreams.http1 import Connection, ExchangeError
from tests.gateway.servers import exchange, wired
from tests.gateway.virtual import Loop, pause

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def _dripped(first: bytes, drop: bytes) -> float:
    """After how many seconds an exchange fails whose waits may take 5, with a drop every second."""
    connection, _ = wired()
    if first:
        connection.data_received(first)
    dripping = asyncio.create_task(_drip(connection, drop))
    with pytest.raises(ExchangeError, match="within 5 s") as caught:
        await _begun(connection)
    dripping.cancel()
    assert caught.value.timeout
    return asyncio.get_running_loop().time()


async def _begun(connection: Connection) -> bytes:
    await connection.head(5.0)
    return await connection.read(5.0)


async def _drip(connection: Connection, drop: bytes) -> None:
    for _ in range(20):
        await pause(1.0)
        connection.data_received(drop)


@pytest.mark.parametrize("body", [b"", b"2\r\nok\r\n"], ids=["no body", "a body"])
@pytest.mark.parametrize("drop", [b"t%d: v\r\n", b"%d"], ids=["many trailers", "a long one"])
async def test_trailers_are_bounded_like_a_head(body: bytes, drop: bytes) -> None:
    """Nobody reads them, and an engine that never ends them must not fill the memory."""
    connection, wire = wired()
    connection.data_received(HEAD + body + b"0\r\n" + b"t: ")
    for number in range(1000):
        if wire.ended:
            break
        connection.data_received(drop % number if b"\n" in drop else drop % (10**9))
    assert wire.ended
    with pytest.raises(ExchangeError, match="headers are larger than 1000 bytes"):
        await exchange(connection)


async def test_a_long_body_in_many_pieces_is_no_head() -> None:
    connection, wire = wired()
    connection.data_received(HEAD)
    for _ in range(1000):
        for piece in (b"2;", b"x=y\r\n", b"ok", b"\r\n"):
            connection.data_received(piece)
    connection.data_received(b"0\r\n\r\n")
    assert (await _begun(connection), connection.usable, wire.ended) == (b"ok" * 1000, True, False)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (HEAD + b"1;x=", b"y"),
    ],
    ids=["half a head", "interim answers", "half a frame"],
)
def test_what_says_nothing_moves_no_limit(first: bytes, drop: bytes) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(_dripped(first, drop)) == 5.0
