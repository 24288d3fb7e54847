"""A host's name looked up without anybody having to wait for a resolver that hangs.

A look-up of the system blocks its thread for as long as the resolver likes, twenty seconds and more where no name
server answers, and cannot be called off. Here it has a thread of its own, so that it keeps nothing else waiting, and
all who ask at once share one. One that hangs is not waited for: whoever asks half a second later begins another, which
finds what has changed since. How many hang at once is bounded.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

AGAIN_S = 0.5
"""After so long a look-up counts as hanging."""
SILENT_S = 1.0
"""After so long an address is given up for the next one: as long as TCP waits until it asks a second time."""
MOST = 32
"""Look-ups of one name that may hang at once: with one a second, a resolver that takes half a minute is outrun."""

Look = Callable[[str, int], Sequence[str]]
"""The addresses of a host and a port, best first; blocks. Raises OSError."""


def system(host: str, port: int) -> Sequence[str]:
    """As the system does it: its files, its name servers. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} cannot be the name of a host: {error}") from error
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class Name:
    """One host and port. An address needs no look-up."""

    def __init__(self, host: str, port: int, *, most: int = MOST, look: Look = system) -> None:
        self.host, self.port = host, port
        self.hanging = 0
        self._most, self._look = most, look
        self._began = 0.0
        self._answer: asyncio.Future[Sequence[str]] | None = None
        self._known = _literal(host)

    async def addresses(self) -> Sequence[str]:
        """The host's addresses, at least one. Whoever waits says for how long. Raises OSError."""
        if self._known is not None:
            return self._known
        loop = asyncio.get_running_loop()
        if self._answer is None or self._answer.done() or self._answer.get_loop() is not loop:
            self._answer = loop.create_future()
        late = loop.time() >= self._began + AGAIN_S
        if self.hanging == 0 or (late and self.hanging < self._most):
            self.hanging, self._began = self.hanging + 1, loop.time()
            threading.Thread(target=self._looked, args=(loop,), name=f"look-up of {self.host}", daemon=True).start()
        return await asyncio.shield(self._answer)

    async def connect(self, protocol: asyncio.BaseProtocol, tls: ssl.SSLContext | None = None) -> None:
        """Connect to the first of the addresses that lets itself be connected to, by the host's name in TLS.

        One that says nothing is not waited for while there is another: else a host that has lost one of its addresses,
        or has one that leads nowhere from here, would be lost with all of them.

        By address: a look-up that hangs in the loop's own threads would hold up the connections to all other hosts.
        Raises OSError.
        """
        # Without the dot that ends a name for look-ups: no certificate has it.
        loop, named = asyncio.get_running_loop(), None if tls is None else self.host.removesuffix(".")
        *others, last = await self.addresses()
        for host in others:
            with suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(SILENT_S):
                    await loop.create_connection(lambda: protocol, host, self.port, ssl=tls, server_hostname=named)
                return
        await loop.create_connection(lambda: protocol, last, self.port, ssl=tls, server_hostname=named)

    def _looked(self, loop: asyncio.AbstractEventLoop) -> None:
        found: Sequence[str] | OSError
        try:
            found = self._look(self.host, self.port)
        except OSError as error:
            found = error
        with suppress(RuntimeError):  # the loop is over: nobody waits
            loop.call_soon_threadsafe(self._told, found)

    def _told(self, found: Sequence[str] | OSError) -> None:
        self.hanging -= 1
        if self._answer is None or self._answer.done():
            return
        if not isinstance(found, OSError):
            self._answer.set_result(found)
        elif self.hanging == 0:  # else a later one may know better
            self._answer.set_exception(found)
            self._answer.exception()  # who asked may be gone


def _literal(host: str) -> Sequence[str] | None:
    try:
        ip_address(host.partition("%")[0])  # what comes after it names an interface
    except ValueError:
        return None
    return [host]
