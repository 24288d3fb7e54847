"""One request and its answer: what ASGI calls `receive` and `send`, and the link beside them.

An application may ask in its scope for what ASGI does not offer:

    link = scope["extensions"][LINK]
    link.on_gone(callback)          # called once when the client leaves, without a task that waits for it
    link.write_within(seconds)      # how long a client may leave unread what was sent to it
    link.take()                     # the whole body, if it is there already
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from gateway.server.head import Fields, fields, head
from gateway.server.reader import Head

LINK = "tollgate.link"

Message = MutableMapping[str, Any]


class Connection(Protocol):
    """What a cycle needs of its connection."""

    paused: bool

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes."""

    @property
    def default_headers(self) -> Fields:
        """What every answer carries."""

    def taken(self, size: int) -> None:
        """So many bytes of a body are not held any more: there is room for others."""

    async def drained(self, seconds: float) -> None:
        """Wait until the client has read, or is cut for not reading."""

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is whole."""


class Cycle:
    """`whole`: the request has arrived; `ended`: so has its answer; `gone`: the client left, or is not answered."""

    __slots__ = (
        "_bodiless", "_callback", "_chunked", "_chunks", "_connection", "_continue", "_delivered", "_head",
        "_keep_alive", "_left_of_length", "_news", "_pieces", "_started", "_touched", "_write_s", "ended", "gone",
        "whole",
    )  # fmt: skip

    def __init__(self, connection: Connection, request: Head, write_s: float) -> None:
        self._connection = connection
        self._keep_alive = request.keep_alive
        self._continue = request.expects_continue
        self._write_s = write_s
        self._bodiless = request.scope["method"] == "HEAD"
        self._chunks = request.scope["http_version"] == "1.1"
        self._pieces: list[bytes] = []
        self._news: asyncio.Event | None = None
        self._callback: Callable[[], None] | None = None
        self._left_of_length: int | None = None
        self._head = b""
        self._touched = self._delivered = self._started = self._chunked = False
        self.whole = self.ended = self.gone = False

    # The link.

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves before its answer is whole; at once, if it has left."""
        if self.gone:
            callback()
        else:
            self._callback = callback

    def write_within(self, seconds: float) -> None:
        """How long what was sent may stay unread before the client is cut."""
        self._write_s = seconds

    def take(self) -> bytes | None:
        """The whole body, when nothing of it was received yet and all of it is there; None otherwise."""
        if not self.whole or self._touched or self.gone:
            return None
        self._touched = self._delivered = True
        return self._taken()

    # What the connection tells.

    @property
    def silent(self) -> bool:
        """Whether the client was sent nothing of the answer yet."""
        return not self._started or bool(self._head)

    def piece(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._pieces.append(data)
        self._continue = False
        self._wake()

    def complete(self) -> None:
        """The request is whole."""
        self.whole = True
        self._wake()

    def left(self) -> None:
        """The client is gone."""
        self.gone = True
        self._wake()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def close_after(self) -> None:
        """This answer is the connection's last."""
        self._keep_alive = False

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    def _taken(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._connection.taken(len(body))
        return body

    # ASGI.

    async def receive(self) -> Message:
        """What has come of the body, then the client's departure."""
        if self._continue and not (self.whole or self._started or self.gone):
            self._continue = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._delivered:
            self._touched = True
            while not (self._pieces or self.whole or self.gone or self.ended):
                await self._wait()
            if not (self.gone or self.ended):
                self._delivered = self.whole
                return {"type": "http.request", "body": self._taken(), "more_body": not self.whole}
        while not (self.gone or self.ended):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.Event()
        self._news.clear()
        await self._news.wait()

    async def send(self, message: Message) -> None:
        """A part of the answer: the head leaves with the first piece of the body. Waits for a client that is slow.

        Raises RuntimeError for what is no answer in HTTP.
        """
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body":
            raise RuntimeError(f"expected the start or the body of an answer, found {kind!r}")
        more = message.get("more_body", False)
        data = self._framed(message.get("body", b""), more=more)
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self._connection.write(data)
        if not more:
            self._end()
        elif self._connection.paused:
            await self._connection.drained(self._write_s)

    def _begin(self, status: int, headers: Fields) -> None:
        if self._started:
            raise RuntimeError("the answer has begun already")
        lines, length, close = fields((*self._connection.default_headers, *headers))
        bodiless = self._bodiless or status in (204, 304)
        chunked = self._chunks and length is None and not bodiless
        if chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        # Where nobody could tell where this answer ends, or this request, no other can follow.
        if close or not self.whole or not (bodiless or chunked or length is not None):
            self._keep_alive = False
        if not self._keep_alive:
            lines.append(b"connection: close\r\n")
        self._head = head(status, lines)
        self._bodiless, self._chunked, self._left_of_length, self._started = bodiless, chunked, length, True

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if not self._started or self.ended:
            raise RuntimeError("a body before its head, or after its end")
        if self._bodiless:
            return b""
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return piece if more else piece + b"0\r\n\r\n"
        if self._left_of_length is not None:
            self._left_of_length -= len(body)
            if self._left_of_length < 0 or (self._left_of_length and not more):
                raise RuntimeError("the answer is not as long as its content-length")
        return body

    def _end(self) -> None:
        self.ended, self._callback = True, None
        self._wake()
        if self._pieces:
            self._taken()
        self._connection.answered(keep_alive=self._keep_alive)
