"""Ten thousand idle connections to a gateway that began with a limit of 1,024 files: others are served meanwhile, each
costs little, and all go: by themselves, and at once when the gateway ends."""

import contextlib
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.engine.simulator import Engine
from tests.gateway.builders import write_config
from tests.gateway.process import UNWATCHED, Gateway, running, stores_in
from tests.gateway.serving import make_key
from tests.polling import until

MOST = 10_000
OTHERS = 500
"""Files that a process has open besides."""
FEW = 1_000
"""Fewer than these would show nothing."""
TOGETHER = 500
"""As many as may wait to be accepted on any system."""
ADDRESSES = 4
"""Clients' own ones, so that no port runs out."""
OWN = 50
"""Files that the gateway may have opened meanwhile for itself: a connection to its database, one to the engine."""
BYTES = 12_000
"""Of memory that the gateway may hold for each."""
WITHIN_S = 20.0


@contextlib.contextmanager
def _files() -> Iterator[tuple[int, int]]:
    """(how many connections there can be, the hard limit): this process has one file for each, the gateway another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * MOST if hard == resource.RLIM_INFINITY else min(hard, 2 * MOST)
    count = min(MOST, most - OTHERS)
    if count < FEW:
        pytest.skip(f"`ulimit -Hn` is {hard}: that is room for {count} connections, fewer than {FEW} show nothing")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield count, most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Idle:
    """Connections that say nothing."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname, parts.port)
        self.sockets: list[socket.socket] = []

    async def open(self, gateway: Gateway, count: int) -> None:
        """So many, each batch once the gateway has taken the one before."""
        before = gateway.open_files()
        for begun in range(0, count, TOGETHER):
            for number in range(min(TOGETHER, count - begun)):
                one = socket.socket()
                self.sockets.append(one)
                one.setblocking(False)
                one.bind((f"127.0.0.{1 + number % ADDRESSES}", 0))
                with contextlib.suppress(BlockingIOError):
                    one.connect(self._where)
            there = before + len(self.sockets)
            await until(lambda there=there: gateway.open_files() >= there or self.gone(), WITHIN_S)

    def gone(self) -> int:
        """How many of the first the gateway has closed: they are the first to lapse."""
        found = 0
        for one in self.sockets[:TOGETHER]:
            with contextlib.suppress(BlockingIOError, OSError):
                found += one.recv(1, socket.MSG_PEEK) == b""
        return found

    def close(self) -> None:
        """Leave."""
        for one in self.sockets:
            one.close()
        self.sockets.clear()


async def _latency(gateway: Gateway) -> float:
    """Seconds of a request, on a connection of its own: the best of a few, since others use the machine too."""
    found = []
    for _ in range(10):
        began = time.monotonic()
        assert (await gateway.ask()).status == 200
        found.append(time.monotonic() - began)
    return min(found)


def _resident(gateway: Gateway) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", gateway.proc("status"))
    assert found is not None
    return int(found[1]) * 1024


async def test_ten_thousand_idle_connections_lapse_while_others_are_served(tmp_path: Path) -> None:
    write_key = make_key(stores_in(tmp_path))
    async with Engine() as engine:
        write_config(tmp_path, [engine.url], health=UNWATCHED)
        with _files() as (count, hard):
            # On a busy machine the first may have lapsed before the last came: then they get more time.
            for idle_s in (4, 12, 36):
                async with running(
                    tmp_path, "--config", "gateway.yaml", "--keep-alive", str(idle_s), files=(1024, hard)
                ) as gateway:
                    await gateway.answers(key=write_key)
                    if await _held(gateway, count):
                        return
    pytest.fail("the first have lapsed before the last were there, however long they may be idle")


async def _held(gateway: Gateway, count: int) -> bool:
    """Whether all were there at the same time."""
    alone_s, before, files = await _latency(gateway), _resident(gateway), gateway.open_files()
    idle = Idle(gateway.url)
    with contextlib.closing(idle):
        await idle.open(gateway, count)
        among_s, each = await _latency(gateway), (_resident(gateway) - before) / count
        if idle.gone() or gateway.open_files() < files + count:
            return False
        print(f"{count:,} idle connections: {each:,.0f} bytes each; {alone_s * 1e3:.1f} and {among_s * 1e3:.1f} ms")
        assert each < BYTES
        assert among_s < 5 * alone_s + 0.05
        await until(lambda: gateway.open_files() <= files + OWN, WITHIN_S + 40)
        assert idle.gone() == min(TOGETHER, count)
    with contextlib.closing(idle):
        await idle.open(gateway, count // 4)
        began = time.monotonic()
        assert await gateway.ended(signal.SIGTERM) == 0
        assert idle.gone() == min(TOGETHER, count // 4)
        assert time.monotonic() - began < WITHIN_S
    return True
