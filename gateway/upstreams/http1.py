"""A small HTTP/1.1 client on httptools: keep-alive, backpressure, one deadline per phase.

    connection = pool.take()                # a kept one, or one that connects when it sends
    connection.send(request_bytes)
    await connection.head(seconds)          # status and headers are there
    while piece := await connection.read(seconds): ...
    pool.close(connection)                  # kept when the exchange ended cleanly, closed otherwise

Written for one thing: few headers out, bytes back as they come. Every wait has a limit, and `abort` ends any of them,
so that a client that leaves frees its engine at once.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools

from gateway.deadline import Deadline
from gateway.resolving import Name
from gateway.upstreams.silent import ended, watch

HIGH_WATER = 256 * 1024
"""Bytes held for a slow client before the socket is no longer read."""


class ExchangeError(Exception):
    """The exchange ended early. `connecting`: it never began. `timeout`: the engine was too slow.

    `unheard`: the connection closed before a byte of the answer came.
    """

    def __init__(self, reason: str, *, timeout: bool = False, connecting: bool = False, unheard: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timeout = timeout
        self.connecting = connecting
        self.unheard = unheard


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens, and what its connections may cost. `connect_s`: seconds until one must be there."""

    name: Name
    tls: ssl.SSLContext | None = None
    connect_s: float = 5.0
    max_head_bytes: int = 65_536


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. `reused`: it has served before, so its engine may be closing it.

    It connects when the first exchange begins. `since` is when it was made, by the clock of its loop.
    """

    def __init__(self, address: Address, forget: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._address = address
        self._forget = forget
        self._opening: asyncio.Task[Any] | None = None
        self._request = b""
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = Deadline(self._loop, self._late)
        self._limit, self._what = 0.0, ""
        self._error: ExchangeError | None = None
        self._pieces: list[bytes] = []
        self._held = self._head_bytes = 0
        self._paused = self._has_head = False
        self._done = True
        self._reusable = True
        self.reused = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, send small writes at once, and the request that waits for it."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        if not self._reusable:  # it was given up while it connected: the engine must not begin
            self._transport.abort()
            return
        raw = transport.get_extra_info("socket")
        if raw is not None:
            watch(raw)
        self._transport.write(self._request)
        self._request = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """An idle connection is forgotten; one in use fails its exchange."""
        self._reusable = False
        self._parser = None  # it holds this connection, and a circle would wait for the collector
        self._deadline.stop()
        if self._done:
            self._forget(self)
        elif exc is None and self._error is None and self._ends_with_connection():
            self._done = True
            self._wake()
        else:
            self._fail(ExchangeError(ended(exc), unheard=self._head_bytes == 0 and not self._has_head))

    def data_received(self, data: bytes) -> None:
        """Parse, then wake the reader once, however many callbacks the parser made.

        Half a head and half of a chunk's frame wake nobody: whoever wakes waits anew, and an engine that drips them
        would be waited for without end.
        """
        if self._done:
            self._close()
            return
        had_head = self._has_head
        self._head_bytes += len(data)  # of what is no body: trailers are headers too, and have no other end
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ExchangeError("the engine's answer is not HTTP"))
            return
        if not self._done and self._head_bytes > self._address.max_head_bytes:
            most = self._address.max_head_bytes
            self._fail(ExchangeError(f"the engine's headers are larger than {most} bytes"))
            return
        if self._pieces or self._done or had_head != self._has_head:
            self._wake()

    def _ends_with_connection(self) -> bool:
        """Whether the answer has neither a length nor chunks: then its connection's end is its own."""
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        return self._has_head and not framed

    # What httptools calls. Whatever comes after a whole answer is not for this exchange, and ends the connection.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        if not self._done:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is whole, unless it is an interim one (1xx)."""
        if not self._done:
            self.status = self._parser.get_status_code()
            self._has_head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its transfer coding."""
        if self._done:
            self._reusable = False
            return
        self._pieces.append(body)
        self._head_bytes = 0
        self._held += len(body)
        if self._held > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole; an interim one makes room for the next."""
        if self._done:
            self._reusable = False
            return
        if not self._has_head:
            self.headers, self.status = {}, 0
            return
        self._done = True
        if not self._parser.should_keep_alive():
            self._reusable = False

    # What the data plane calls.

    @property
    def usable(self) -> bool:
        """Whether another exchange may start here: not behind a request that its engine answered without reading it."""
        transport = self._transport
        if transport is None or self._pieces or not self._done or not self._reusable or transport.is_closing():
            return False
        return not transport.get_write_buffer_size()

    def send(self, data: bytes) -> None:
        """Start an exchange with a whole request."""
        self._error, self._pieces, self.headers = None, [], {}
        self._held = self._head_bytes = self.status = 0
        self._has_head = self._done = False
        if self._transport is not None:
            self._transport.write(data)
            return
        self._request = data
        self._opening = self._loop.create_task(self._open())
        self._opening.add_done_callback(self._opened)

    async def head(self, seconds: float, most: float = float("inf")) -> int:
        """Wait for the head and return the status; for a connection, if need be, before that. Raises ExchangeError.

        `seconds` are the head's alone, `most` those of both.
        """
        while self._opening is not None:
            begun = self._loop.time()
            await self._wait(min(self._address.connect_s, most), "")
            most -= self._loop.time() - begun
            seconds = max(0.001, min(seconds, most))
        while not self._has_head:
            await self._wait(seconds, "its first byte")
        return self.status

    async def read(self, seconds: float, what: str = "the next piece") -> bytes:
        """The next piece of the body, everything that has arrived; `b""` at the end. Raises ExchangeError."""
        while not self._pieces:
            if self._done:
                return b""
            await self._wait(seconds, what)
        return self._taken()

    def _taken(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._held = [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def rest(self) -> bytes | None:
        """The rest of the body, if all of it has arrived."""
        if not self._done or self._error is not None:
            return None
        return self._taken()

    def abort(self, reason: str) -> None:
        """End the exchange now. vLLM stops generating when its client's connection closes."""
        if not self._done:
            self._fail(ExchangeError(reason))

    def shut(self) -> None:
        """Close the connection for good."""
        self._reusable = False
        self._error = None  # once raised it holds, by its traceback, this connection
        self._close()

    # Waiting.

    async def _wait(self, seconds: float, what: str) -> None:
        self._raise_error()
        self._waiter = self._loop.create_future()
        self._limit, self._what = seconds, what
        self._deadline.within(seconds)
        try:
            await self._waiter
        finally:
            self._deadline.never()
            self._waiter = None
        if not self._pieces:
            self._raise_error()

    async def _open(self) -> None:
        await self._address.name.connect(self, self._address.tls)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        error = None if opening.cancelled() else opening.exception()
        if self._error is None and self._transport is None:
            detail = "it was cancelled" if error is None else getattr(error, "strerror", None) or type(error).__name__
            self._fail(ExchangeError(f"the engine refused the connection ({detail})", connecting=True))
        if self._transport is None:
            self._deadline.stop()  # no end of a connection will do it
        elif not self._reusable:
            self._close()  # nobody waits for it any more
        self._wake()

    def _late(self) -> None:
        if self._opening is None:
            reason = f"the engine did not send {self._what} within {self._limit:g} s"
        else:
            reason = f"the engine did not accept a connection within {self._limit:g} s"
        self._fail(ExchangeError(reason, timeout=True, connecting=self._opening is not None))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _fail(self, error: ExchangeError) -> None:
        if self._error is None:
            self._error = error
        self._reusable = False
        self._close()
        self._wake()

    def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
