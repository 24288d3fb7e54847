"""An engine that never stops talking, and never says anything: no limit begins anew with each of its bytes."""

import asyncio

import pytest

from gateway.upstreams.http1 import Connection, ExchangeError
from tests.gateway.servers import wired
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
