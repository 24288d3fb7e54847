"""One request and its answer: what ASGI calls `receive` and `send`, and the link beside them.

An application may ask in its scope for what ASGI does not offer:

    link = scope["extensions"][LINK]
    link.on_gone(callback)          # called once when the client leaves, without a task that waits for it
    link.write_within(seconds)      # how long a client may leave unread what was sent to it
    link.take()                     # the whole body, if it is there already
"""

import asyncio
import http
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Protocol

LINK = "tollgate.link"
WRITE_S = 30.0

Message = MutableMapping[str, Any]


class Connection(Protocol):
    """What a cycle needs of its connection."""

    paused: bool

    @property
    def default_headers(self) -> Iterable[tuple[bytes, bytes]]:
        """What every answer carries."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def received(self) -> None:
        """What had come of the body was taken: there is room for more."""

    async def drained(self, seconds: float) -> None:
        """Wait until the client has read, or is cut for not reading."""

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is whole."""


def _phrase(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _phrase(status)) for status in range(100, 600)}


class Cycle:
    """`whole`: the request has arrived; `started`, `ended`: its answer; `gone`: the client left."""

    __slots__ = (
        "_callback", "_chunked", "_connection", "_continue", "_delivered", "_head", "_head_only", "_keep_alive",
        "_length", "_pieces", "_waiter", "_write_s", "ended", "gone", "scope", "started", "whole",
    )  # fmt: skip

    def __init__(self, connection: Connection, scope: Message, *, keep_alive: bool, expects_continue: bool) -> None:
        self._connection = connection
        self.scope = scope
        self._keep_alive = keep_alive
        self._continue = expects_continue
        self._head_only = scope["method"] == "HEAD"
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._callback: Callable[[], None] | None = None
        self._length: int | None = None
        self._head = b""
        self._write_s = WRITE_S
        self._chunked = self._delivered = False
        self.whole = self.started = self.ended = self.gone = False

    # The link.

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves before its answer is whole; at once, if it has left."""
        self._callback = callback
        if self.gone:
            callback()

    def write_within(self, seconds: float) -> None:
        """How long what was sent may stay unread before the client is cut."""
        self._write_s = seconds

    def take(self) -> bytes | None:
        """The whole body, when nothing of it was received yet and all of it is there; None otherwise."""
        if not self.whole or self._delivered or self.gone:
            return None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._delivered = [], True
        self._connection.received()
        return body

    # What the connection tells.

    def piece(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._pieces.append(data)
        self._wake()

    def complete(self) -> None:
        """The request is whole."""
        self.whole = True
        self._wake()

    def left(self) -> None:
        """The client is gone."""
        self.gone = True
        self._wake()
        if self._callback is not None and not self.ended:
            self._callback()

    def close_after(self) -> None:
        """This answer is the connection's last."""
        self._keep_alive = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ASGI.

    async def receive(self) -> Message:
        """What has come of the body, then the client's departure."""
        if self._continue and not self.started:
            self._continue = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._delivered:
            while not (self._pieces or self.whole or self.gone or self.ended):
                await self._wait()
            if not (self.gone or self.ended):
                body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces, self._delivered = [], self.whole
                self._connection.received()
                return {"type": "http.request", "body": body, "more_body": not self.whole}
        while not (self.gone or self.ended):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def send(self, message: Message) -> None:
        """A part of the answer: the head leaves with the first piece of the body. Waits for a client that is slow."""
        if self.gone:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
            return
        more = message.get("more_body", False)
        data = self._framed(message.get("body", b""), more=more)
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self._connection.write(data)
        if not more:
            self.ended = True
            self._wake()
            self._connection.answered(keep_alive=self._keep_alive)
        elif self._connection.paused:
            await self._connection.drained(self._write_s)

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self.started:
            raise RuntimeError("the answer has begun already")
        self.started = True
        lines = [b"%b: %b\r\n" % header for header in (*self._connection.default_headers, *headers)]
        for name, value in headers:
            if name == b"content-length":
                self._length = int(value)
        if self._length is None and not self._head_only and status not in (204, 304):
            self._chunked = self.scope["http_version"] == "1.1"
            if self._chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self.whole or not (self._chunked or self._length is not None or status in (204, 304)):
            self._keep_alive = False  # nobody could tell where the next message begins
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        block = b"".join(lines)
        if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines):
            raise RuntimeError("a header of the answer holds a line end")
        self._head = b"%b%b\r\n" % (_STATUS_LINES[status], block)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if not self.started or self.ended:
            raise RuntimeError("a body before its head, or after its end")
        if self._head_only:
            return b""
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return piece if more else piece + b"0\r\n\r\n"
        if self._length is not None:
            self._length -= len(body)
            if self._length < 0 or (self._length and not more):
                raise RuntimeError("the answer is not as long as its content-length")
        return body
