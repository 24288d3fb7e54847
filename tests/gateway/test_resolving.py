"""Names looked up: a resolver that hangs keeps nobody waiting, and what it finds later counts."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.resolving import AGAIN_S, SILENT_S, Name, system
from tests.engine.tls import certificate
from tests.polling import until

SOON_S = 0.05


class Resolver:
    """One that hangs until it is told what to say."""

    def __init__(self) -> None:
        self.asked = 0
        self.says: Sequence[str] | OSError | None = None
        self._told = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        if self.says is None:
            self._told.wait(20)
        if self.says is None or isinstance(self.says, OSError):
            raise self.says or OSError("no name server answered")
        return self.says

    def let_go(self) -> None:
        self._told.set()


async def _late(name: Name) -> None:
    """Wait until another look-up may begin."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(lambda: loop.time() > began + AGAIN_S)


async def _in_vain(name: Name) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON_S):
            await name.addresses()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_needs_no_look_up(host: str) -> None:
    assert await Name(host, 80, look=Resolver()).addresses() == [host]


async def test_the_system_is_asked_and_its_error_is_told() -> None:
    assert "127.0.0.1" in await Name("localhost", 80).addresses()
    for host in ("nobody.invalid", "a" * 70, "a..b"):
        with pytest.raises(OSError):
            await Name(host, 80).addresses()
    assert system("localhost", 1)


async def test_all_who_ask_at_once_share_one_look_up() -> None:
    resolver = Resolver()
    name = Name("redis", 1, look=resolver)
    asking = [asyncio.create_task(name.addresses()) for _ in range(50)]
    await _in_vain(name)
    resolver.says = ["192.0.2.1"]
    resolver.let_go()
    assert await asyncio.gather(*asking) == [["192.0.2.1"]] * 50
    assert resolver.asked == 1


async def test_what_hangs_is_bounded_and_the_first_to_know_answers() -> None:
    resolver = Resolver()
    name = Name("redis", 1, most=3, look=resolver)
    for expected in (1, 2, 3, 3):
        for _ in range(3):
            await _in_vain(name)
        assert name.hanging == resolver.asked == expected
        await _late(name)
    resolver.let_go()
    with pytest.raises(OSError, match="no name server answered"):
        await name.addresses()
    assert name.hanging == 0


async def test_a_later_look_up_answers_while_an_earlier_one_still_hangs() -> None:
    resolver = Resolver()
    name = Name("redis", 1, look=resolver)
    await _in_vain(name)
    await _late(name)
    resolver.says = ["192.0.2.1"]
    assert await name.addresses() == ["192.0.2.1"]
    assert name.hanging == 1
    resolver.says = OSError("too late")
    resolver.let_go()
    await until(lambda: name.hanging == 0)


def _two(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Sockets on one port of two addresses; one that is free on the first may be taken on the other."""
    for _ in range(20):
        one, other = (stack.enter_context(socket.socket()) for _ in range(2))
        one.bind(("127.0.0.1", 0))
        with suppress(OSError):
            other.bind(("127.0.0.2", one.getsockname()[1]))
            return one, other
    raise AssertionError("no port is free on both addresses")


async def test_an_address_that_says_nothing_does_not_take_the_others_with_it() -> None:
    """Of a host's two the first swallows who comes, as one without a route does: its queue is full."""
    with ExitStack() as stack:
        deaf, good = _two(stack)
        deaf.listen(0)
        port = deaf.getsockname()[1]
        stack.enter_context(socket.socket()).connect(("127.0.0.1", port))
        good.listen()
        connected = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connected.set_result(transport)

        name = Name("engine", port, look=lambda host, port: ["127.0.0.1", "127.0.0.2"])
        async with asyncio.timeout(4 * SILENT_S):
            await name.connect(Protocol())
        assert connected.result().get_extra_info("peername")[0] == "127.0.0.2"
        connected.result().abort()


async def test_a_dot_at_the_end_is_for_look_ups_and_not_for_certificates(tmp_path: Path) -> None:
    own, ended = certificate(tmp_path, host="engine"), asyncio.Event()

    class Protocol(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=own.server())
    async with server:
        name = Name("engine.", server.sockets[0].getsockname()[1], look=lambda host, port: ["127.0.0.1"])
        await name.connect(Protocol(), own.client())
        await ended.wait()


def test_a_look_up_outlives_its_loop_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    resolver = Resolver()
    name = Name("redis", 1, look=resolver)
    asyncio.run(_in_vain(name))
    before = [each for each in threading.enumerate() if each.name == "look-up of redis"]
    resolver.let_go()
    for each in before:
        each.join(20)
    assert before
    assert not recwarn.list


def test_the_systems_addresses_come_once_each() -> None:
    found = system("localhost", 80)
    assert len(found) == len(set(found))
    assert set(found) <= {str(each[4][0]) for each in socket.getaddrinfo("localhost", 80)}
