"""A name server for one test, and processes that ask no other one: it takes root, for its port and for their mounts."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

ADDRESS = "127.0.0.77"
PORT = 53
OWN_FILE = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class NameServer(asyncio.DatagramProtocol):
    """Every name is this machine's, but those in `silent`: whoever asks for one of them hears nothing."""

    def __init__(self, folder: Path) -> None:
        self.silent: set[str] = set()
        self.unanswered = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._file = folder / "resolv.conf"
        self._file.write_text(f"nameserver {ADDRESS}\nsearch tollgate.test\n")

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command so that it asks this server alone."""
        return ("unshare", "--mount", "sh", "-c", OWN_FILE, str(self._file))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, at = "", 12
        while length := data[at]:
            name, at = f"{name}.{data[at + 1 : at + 1 + length].decode()}", at + 1 + length
        if name[1:].removesuffix(".tollgate.test") in self.silent:
            self.unanswered += 1
            return
        question, asked = data[12 : at + 5], int.from_bytes(data[at + 1 : at + 3], "big")
        found = (
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton("127.0.0.1") if asked == 1 else b""
        )
        head = data[:2] + b"\x81\x80\x00\x01" + len(found[:1]).to_bytes(2, "big") + b"\x00\x00\x00\x00"
        assert self._transport is not None
        self._transport.sendto(head + question + found, addr)


@asynccontextmanager
async def name_server(folder: Path) -> AsyncIterator[NameServer]:
    """A running one. Skipped where this user may not have it."""
    server = NameServer(folder)
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a name server on port 53, and a mount of its own, take root and `unshare`")
    tried = await asyncio.create_subprocess_exec(*server.within, "true")
    if await tried.wait() != 0:
        pytest.skip("this machine gives nobody a mount of their own")
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=(ADDRESS, PORT))
    except OSError as error:
        pytest.skip(f"another name server has port {PORT} of {ADDRESS}: {error}")
    try:
        yield server
    finally:
        transport.close()
