"""How an engine is noticed whose machine is gone without a word: its power is lost, or the network between is cut.

An engine may compute for minutes before its first byte, but all the while its machine answers for it: it confirms what
was sent, and says that it is there when it is asked. One that does neither is gone, long before a timeout of the
request would say so, and another replica can still answer.
"""

import errno
import socket
from typing import Protocol

LONGEST_S = 15
"""After so long it is noticed."""
_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),  # small writes go at once
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 2),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 10_000),
)
"""Those that a system does not know are left out."""
_GONE = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})


class Options(Protocol):
    """What is used of a socket."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set a number."""
        ...


def watch(connection: Options) -> None:
    """Have the system notice it, while nothing is said as well as when something was. Raises OSError."""
    for level, name, value in _OPTIONS:
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(level, option, value)


def ended(error: Exception | None) -> str:
    """How a connection ended, in words, by what its transport said."""
    if isinstance(error, OSError) and error.errno in _GONE:
        return "the engine's machine does not answer any more"
    return "the engine closed the connection"
