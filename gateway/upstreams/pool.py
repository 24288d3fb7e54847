"""The connections to one engine that wait to be used again."""

import asyncio
import ssl
from urllib.parse import urlsplit

from gateway.resolving import Name
from gateway.upstreams.http1 import Address, Connection

LOOK_UPS = 4
"""Look-ups of one engine's name that may hang at once: there may be many engines."""
LONGEST_S = 60.0
"""How long a connection is used again: so soon a name counts that leads elsewhere, whoever still answers here."""


class Pool:
    """Keep-alive connections to one engine. The last one used is used first, so that spare ones can lapse."""

    def __init__(
        self, url: str, *, connect_s: float, max_head_bytes: int = 65_536, longest_s: float = LONGEST_S
    ) -> None:
        parts = urlsplit(url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        name = Name(parts.hostname or "", port, most=LOOK_UPS)
        self._address = Address(name, tls, connect_s, max_head_bytes)
        self._idle: list[Connection] = []
        self._longest_s = longest_s
        self.base_path = parts.path.rstrip("/")
        self.authority = parts.netloc

    def take(self, *, fresh: bool = False) -> Connection:
        """A kept connection that is not old, or a new one."""
        while self._idle and not fresh:
            connection = self._idle.pop()
            # Here and not when it is taken back: one may have become old while it was idle.
            if connection.usable and asyncio.get_running_loop().time() < connection.since + self._longest_s:
                connection.reused = True
                return connection
            connection.shut()
        return Connection(self._address, self._forget)

    def close(self, connection: Connection) -> None:
        """Take a connection back: kept when it can serve again, closed otherwise."""
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.shut()

    def close_all(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().shut()

    def _forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
