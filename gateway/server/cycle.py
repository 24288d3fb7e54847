"""One request and its answer, for either side that may give it: ASGI's `receive` and `send`, or a `Client`."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.client import Client, ClientGone, Message, gathered, too_large
from gateway.contracts.errors import InvalidRequest
from gateway.server.head import Fields, common_line, fields, status_line
from gateway.server.limits import Limits
from gateway.server.reader import Head


class Connection(Protocol):
    """What a cycle needs of its connection."""

    paused: bool

    @property
    def leaving(self) -> bool:
        """Whether an answer that begins now is its last."""

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


class Cycle(Client):
    """`whole`: the request has arrived; `ended`: so has its answer; `gone`: the client left, or is not answered."""

    __slots__ = (
        "_bodiless", "_chunked", "_connection", "_continue", "_delivered", "_fields", "_head", "_keep_alive",
        "_left_of_length", "_news", "_pieces", "_sent_head", "_touched", "_whole_s", "ended", "head", "whole",
    )  # fmt: skip

    def __init__(self, connection: Connection, request: Head, limits: Limits) -> None:
        super().__init__(request.method, request.path, limits.write_s)
        self.head = request
        self._whole_s = limits.whole_s
        self._connection = connection
        self._keep_alive = request.keep_alive
        self._continue = request.expects_continue
        self._bodiless = request.method == "HEAD"
        self._fields: dict[bytes, bytes] | None = None
        self._pieces: list[bytes] = []
        self._news: asyncio.Event | None = None
        self._left_of_length: int | None = None
        self._head = b""
        self._touched = self._delivered = self._sent_head = self._chunked = False
        self.whole = self.ended = False

    # What the connection tells.

    @property
    def silent(self) -> bool:
        """Whether the client was sent nothing of the answer yet."""
        return not self._sent_head or bool(self._head)

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
        """The client is gone. Whoever is told twice has heard it once."""
        if not self.gone:
            self.departed()
            self._wake()

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

    # What a client is to the gateway.

    def header(self, name: bytes) -> bytes | None:
        """The first header of a name (lower case)."""
        if self._fields is None:
            self._fields = dict(reversed(self.head.headers))
        return self._fields.get(name)

    async def _body(self, limit: int) -> bytes:
        if not self.whole or self._touched or self.gone:
            return await self._gathered(limit)
        self._touched = self._delivered = True
        body = self._taken()
        if len(body) > limit:
            raise too_large(limit)
        return body

    async def _gathered(self, limit: int) -> bytes:
        try:
            async with asyncio.timeout(self._whole_s):
                return await gathered(self.receive, limit)
        except TimeoutError:
            raise InvalidRequest(f"the body took longer than {self._whole_s:g} s: send it faster, or less") from None

    @property
    def blocked(self) -> bool:
        """Whether the client has much to read yet."""
        return self._connection.paused and not self.ended

    async def drain(self) -> None:
        """Wait until it has read that. Raises ClientGone when it left, or was cut for not reading."""
        if self.blocked:
            await self._connection.drained(self.write_s)
        if self.gone:
            raise ClientGone

    def _begin(self, status: int, lines: bytes, length: int | None) -> None:
        dates = b"".join([common_line(name, value) for name, value in self._connection.default_headers])
        self._open(status, [dates, lines], length)

    def _say(self, data: bytes, *, more: bool) -> None:
        data = self._framed(data, more=more)
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self._connection.write(data)
        if not more:
            self._end()

    # ASGI.

    async def receive(self) -> Message:
        """What has come of the body, then the client's departure."""
        if self._continue and not (self.whole or self._sent_head or self.gone):
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
            lines, length, close = fields((*self._connection.default_headers, *message.get("headers", ())))
            if close:
                self._keep_alive = False
            self._open(message["status"], lines, length)
            return
        if kind != "http.response.body":
            raise RuntimeError(f"expected the start or the body of an answer, found {kind!r}")
        self._say(message.get("body", b""), more=message.get("more_body", False))
        if self.blocked:
            await self._connection.drained(self.write_s)

    # The answer's bytes.

    def _open(self, status: int, lines: list[bytes], length: int | None) -> None:
        if self._sent_head:
            raise RuntimeError("the answer has begun already")
        bodiless = self._bodiless or status in (204, 304)
        chunked = length is None and not bodiless and self.head.version == "1.1"
        # Where nobody could tell where this answer ends, or this request, no other can follow.
        if not self.whole or not (bodiless or chunked or length is not None) or self._connection.leaving:
            self._keep_alive = False
        framing = b"" if length is None or status == 204 else b"content-length: %d\r\n" % length
        if chunked:
            framing = b"transfer-encoding: chunked\r\n"
        end = b"\r\n" if self._keep_alive else b"connection: close\r\n\r\n"
        self._head = b"".join([status_line(status), *lines, framing, end])
        self._bodiless, self._chunked, self._left_of_length, self._sent_head = bodiless, chunked, length, True

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if not self._sent_head or self.ended:
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
        self.ended = True
        self.aborts(None)
        self._wake()
        if self._pieces:
            self._taken()
        self._connection.answered(keep_alive=self._keep_alive)
