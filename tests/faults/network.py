"""A network of the tests' own: each gateway in a network namespace, behind a router that can drop what passes it.

    tests ── 198.18.x.0/28 ── router ── 198.18.x.16/28 ── gateway 0
                                    └── 198.18.x.32/28 ── gateway 1

A cut drops packets without a word, as a broken switch or a lost machine does: nobody hears of it by a reset. The kernel
may lack what delays packets, so that delays are made by `Relay`, through which a gateway reaches what it stands on.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

TOOLS = ("ip", "iptables", "nsenter")
LATE_S = 1e-6
"""Bytes that came later go later."""


class Network:
    """`here` is the address by which gateways reach the tests."""

    def __init__(self, gateways: int) -> None:
        number = os.getpid() % 512
        self._base = f"198.{18 + number // 256}.{number % 256}"
        self._names = [f"tg{os.getpid()}r", *(f"tg{os.getpid()}g{each}" for each in range(gateways))]
        self._router = self._names[0]
        self.here = f"{self._base}.1"

    def start(self) -> None:
        """Make it. Raises CalledProcessError where that is not allowed, and then nothing of it is there."""
        for name in self._names:
            _run("ip", "netns", "add", name)
        outer = f"{self._router[:13]}-o"
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "outside", "netns", self._router)
        self._up(None, outer, f"{self.here}/28")
        self._up(self._router, "outside", f"{self._base}.2/28")
        _run("ip", "route", "add", f"{self._base}.0/24", "via", f"{self._base}.2")
        for number, name in enumerate(self._names[1:]):
            side = f"g{number}"
            _run("ip", "-n", self._router, "link", "add", side, "type", "veth", "peer", "name", "inside", "netns", name)
            self._up(self._router, side, f"{self._base}.{16 * number + 17}/28")
            self._up(name, "inside", f"{self.address(number)}/28")
            self._up(name, "lo", None)
            _run("ip", "-n", name, "route", "add", "default", "via", f"{self._base}.{16 * number + 17}")
        self._in_router("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._in_router("iptables", "-P", "FORWARD", "ACCEPT")

    def stop(self) -> None:
        """Remove it: links go with the namespaces that they lead to."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def address(self, gateway: int) -> str:
        """The address of a gateway."""
        return f"{self._base}.{16 * gateway + 18}"

    def within(self, gateway: int) -> list[str]:
        """What makes a command run where the gateway is, as the same process."""
        return ["nsenter", f"--net=/run/netns/{self._names[1 + gateway]}"]

    def cut(self, gateway: int, port: int) -> None:
        """Drop all packets between a gateway and what the tests have at a port, in both directions."""
        at = self.address(gateway)
        self._in_router("iptables", "-A", "FORWARD", "-p", "tcp", "-s", at, "--dport", str(port), "-j", "DROP")
        self._in_router("iptables", "-A", "FORWARD", "-p", "tcp", "-d", at, "--sport", str(port), "-j", "DROP")

    def heal(self) -> None:
        """Let all packets pass."""
        self._in_router("iptables", "-F", "FORWARD")

    def _in_router(self, *command: str) -> None:
        _run("ip", "netns", "exec", self._router, *command)

    def _up(self, space: str | None, link: str, address: str | None) -> None:
        within = [] if space is None else ["-n", space]
        if address is not None:
            _run("ip", *within, "addr", "add", address, "dev", link)
        _run("ip", *within, "link", "set", "dev", link, "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def network(gateways: int) -> Iterator[Network]:
    """A network for so many gateways. Where it cannot be had the test is skipped, and says why."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        reason = f"not on this machine: {', '.join(missing)} (Debian's packages iproute2, iptables and util-linux)"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    made = Network(gateways)
    try:
        try:
            made.start()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces for this user here: {error.cmd}: {error.stderr.decode().strip()}")
        yield made
    finally:
        made.stop()


class Relay:
    """Passes bytes to a port of this machine and back, each after `delay_s`. `port` is its own."""

    def __init__(self, to_port: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._to = to_port
        self._tasks = set[asyncio.Task[Any]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both sides have said all."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, further = await asyncio.open_connection("127.0.0.1", self._to)
            try:
                await asyncio.gather(self._pass(reader, further), self._pass(there, writer))
            finally:
                further.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or the test is over
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                due = max(loop.time() + self.delay_s, due + LATE_S)
                loop.call_at(due, sink.write, data)
        loop.call_at(max(loop.time() + self.delay_s, due + LATE_S), sink.close)

    async def end(self) -> None:
        """End all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def relay(host: str, to_port: int) -> AsyncIterator[Relay]:
    """One on a free port of an address."""
    made = Relay(to_port)
    server = await asyncio.start_server(made.serve, host, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()
        await server.wait_closed()
