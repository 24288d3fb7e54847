"""Connections whose other side says nothing any more. That they end is held over a cut network in tests/faults."""

import errno
import socket

import pytest

from gateway.upstreams.silent import LONGEST_S, ended, watch
from tests.engine.simulator import Engine
from tests.gateway.servers import ASK, SECONDS, asking


def test_a_connection_is_asked_and_given_up_within_seconds() -> None:
    with socket.socket() as made:
        watch(made)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        idle_s, apart_s, count, unheard_ms = (made.getsockopt(socket.IPPROTO_TCP, each) for each in options)
    assert idle_s + apart_s * count == LONGEST_S
    assert idle_s < unheard_ms / 1000 < LONGEST_S


async def test_every_connection_to_an_engine_is() -> None:
    async with Engine() as engine, asking(engine.url, ASK) as connection:
        await connection.head(SECONDS)
        transport = connection._transport
        assert transport is not None
        raw = transport.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (None, False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), False),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
    ],
)
def test_a_machine_that_is_gone_is_told_from_an_engine_that_closes(error: OSError | None, gone: bool) -> None:
    assert ("machine" in ended(error)) is gone
