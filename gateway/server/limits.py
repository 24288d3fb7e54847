"""What a client may take of the gateway: bytes of memory, seconds of patience, and no more once it is to end."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds of one connection. uvicorn's `timeout_keep_alive` says how long one may be idle."""

    head_bytes: int = 65_536
    """Of a head, and of what in a body is not body: chunk extensions, trailers."""
    buffer_bytes: int = 262_144
    """Of bodies that wait for the application; beyond it the socket is not read."""
    pipelined: int = 16
    """Requests that wait for an answer to the one before; beyond it the socket is not read."""
    head_s: float = 30.0
    """From the first byte of a request to the end of its head."""
    body_s: float = 60.0
    """Between two pieces of a body."""
    whole_s: float = 600.0
    """From the moment that a body is asked for to its end, however lively its pieces come."""
    write_s: float = 30.0
    """How long a client may leave unread what was sent to it, unless a request sets its own limit."""
    linger_s: float = 30.0
    """After an answer to half a request: a client that reads only when it has sent everything finds it."""


DEFAULTS = Limits()


@dataclass(slots=True)
class Leaving:
    """Whether the gateway is about to end. From then on each answer is its connection's last, so that clients come back
    elsewhere, and /ready tells load balancers.
    """

    now: bool = False
