"""One connection of the simulated engine: reads requests, writes answers, and breaks them where a fault says so.

Written on the transport itself: a server library would repair the very bytes that a fault has to damage.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools

from tests.engine import faults
from tests.engine.faults import Died, Fault

GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfcthis is not HTTP\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: `head` and `body` are its bytes."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes
    keep_alive: bool

    def header(self, name: str) -> str | None:
        """The first header of that name, any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Reply:
    """One answer. `plain` or `open`, `event` …, `end`; raises Died where a fault ends it."""

    def __init__(self, connection: "Connection", received: Received, fault: Fault | None) -> None:
        self._connection, self._received = connection, received
        self.fault = fault or Fault("no_usage", times=0, path="")
        self.kind: str = fault.kind if fault else ""
        self._events = 0
        self._held: list[bytes] = []

    @property
    def _at_a_point(self) -> bool:
        return self.kind in faults.AT_A_POINT

    async def strike_before_head(self) -> None:
        """Do what a fault without `after` does in place of an answer."""
        if self._at_a_point and self.fault.after is None:
            await self._strike()

    async def _strike(self) -> None:
        connection = self._connection
        if self.kind == "reset":
            connection.reset()
        elif self.kind in ("close", "garbage"):
            if self.kind == "garbage":
                await connection.write(GARBAGE)
            connection.transport.close()
        else:
            if self.kind == "half_close":
                connection.transport.write_eof()
            # Only the client's leaving, or the engine's end, gets past here.
            await asyncio.Event().wait()
        raise Died(self.kind)

    async def _write(self, data: bytes) -> None:
        if self.kind != "drip":
            return await self._connection.write(data)
        for at in range(0, len(data), self.fault.size):
            await self._connection.write(data[at : at + self.fault.size])
            # One turn of the loop, so that the other side may read before the next byte.
            await asyncio.sleep(0)
        return None

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        first = [("date", formatdate(self._connection.clock(), usegmt=True)), ("server", "uvicorn")]
        last = [] if self._received.keep_alive else [("connection", "close")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in [*first, *headers, *last])
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode()

    async def plain(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        vary: str | None = "Origin",
        **headers: str,
    ) -> None:
        """A whole answer with its length."""
        length = len(body) + (self.fault.by if self.kind == "wrong_length" else 0)
        named = [("content-length", str(length))] + ([("content-type", content_type)] if body else [])
        extra = [(name.replace("_", "-"), value) for name, value in headers.items()]
        head = self._head(status, [*extra, *named, *([("vary", vary)] if vary else [])])
        if self._at_a_point:
            await self._write(head + body[: len(body) // 2])
            await self._strike()
        await self._write(head + body)

    async def open(self, content_type: str = "text/event-stream; charset=utf-8", **headers: str) -> None:
        """The head of a stream."""
        kind = [*headers.items(), ("content-type", content_type), ("vary", "Origin")]
        await self._write(self._head(200, [*kind, ("transfer-encoding", "chunked")]))

    async def events(self, events: Sequence[bytes]) -> None:
        """Events of a stream, one after the other."""
        for each in events:
            await self.event(each)

    async def comment(self, line: bytes) -> None:
        """A comment in a stream; faults do not count it."""
        await self._chunk(line)

    async def event(self, data: bytes) -> None:
        """One event of a stream, or what a fault makes of it."""
        if self.fault.after == self._events:
            if self._at_a_point:
                await self._strike()
            if self.kind == "garbage_json":
                data = data.partition(b"data: ")[0] + b'data: {"id": "chatcmpl-, \n\n'
        self._events += 1
        if self.kind == "ping":
            await self._chunk((self.fault.message or ": ping").encode() + b"\n\n")
        if self.kind == "coalesce":
            self._held.append(data)
            if len(self._held) == self.fault.size:
                await self._flush()
            return
        size = self.fault.size if self.kind == "split" else len(data)
        for at in range(0, len(data), size):
            await self._chunk(data[at : at + size])

    @property
    def broken(self) -> bool:
        """Whether generation has to fail now, with an error event."""
        return self.kind == "error_event" and self._events >= (self.fault.after or 0)

    async def _flush(self) -> None:
        held, self._held = b"".join(self._held), []
        if held:
            await self._chunk(held)

    async def _chunk(self, data: bytes) -> None:
        await self._write(b"%x\r\n%s\r\n" % (len(data), data))
        if self.kind == "split":
            await asyncio.sleep(0)

    async def end(self, last: bytes) -> None:
        """The event by which a client knows that it has all, and the last chunk."""
        if self.kind != "no_done":
            await self.event(last)
        await self._flush()
        await self._write(b"0\r\n\r\n")

    async def cut(self) -> None:
        """The end of the connection in the middle of a stream: what an error does that nobody catches."""
        await self._flush()
        self._connection.transport.close()
        raise Died("cut")


Respond = Callable[[Received, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """Parses requests and answers them one after the other. A client that leaves cancels its request."""

    transport: asyncio.Transport

    def __init__(
        self,
        respond: Respond,
        clock: Callable[[], float],
        opened: Callable[["Connection"], None],
        closed: Callable[["Connection"], None],
        paused: Callable[[], None],
    ) -> None:
        self._respond, self.clock, self._paused = respond, clock, paused
        self._opened, self._closed = opened, closed
        self._parser = httptools.HttpRequestParser(self)
        self._raw, self._body, self._url = bytearray(), bytearray(), b""
        self._headers: list[tuple[str, str]] = []
        self._pending: deque[Received] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self.task is not None:
            self.task.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()
        self._paused()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        head = bytes(self._raw[: self._raw.index(b"\r\n\r\n") + 4])
        url = httptools.parse_url(self._url)
        received = Received(
            method=self._parser.get_method().decode(),
            path=url.path.decode(),
            query=(url.query or b"").decode(),
            headers=tuple(self._headers),
            head=head,
            body=bytes(self._body),
            keep_alive=self._parser.should_keep_alive(),
        )
        # With a chunked body the length on the wire is unknown here; nobody pipelines behind one.
        chunked = received.header("transfer-encoding") is not None
        del self._raw[: len(self._raw) if chunked else len(head) + len(received.body)]
        self._headers, self._url = [], b""
        self._body.clear()
        self._pending.append(received)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while self._pending:
            received = self._pending.popleft()
            answered = False
            try:
                await self._respond(received, self)
                answered = True
            except Died:
                return
            finally:
                if not answered and not self.transport.is_closing():
                    # A mistake of the simulator itself: nobody shall wait for an answer that never comes.
                    self.transport.abort()
            if not received.keep_alive:
                self.transport.close()

    @property
    def writable(self) -> bool:
        """False while the other side does not read and the buffers are full."""
        return self._writable.is_set()

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other side does not read."""
        self.transport.write(data)
        await self._writable.wait()

    def reset(self) -> None:
        """End with RST: no FIN, and what the other side has not read yet is lost."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
