"""A small HTTP/1.1 client on httptools: whole requests out, whole answers back, connections kept.

    async with Pool(urlsplit("http://127.0.0.1:8080/v1"), connections=32) as pool:
        head = pool.head("POST", "/chat/completions", {"Content-Type": "application/json"})
        response = await pool.request(head, body, timeout_s=60)

It raises two things and no more: TimeoutError, and `ExchangeError` with the reason in words. A connection is used again
only when its last answer ended cleanly. A server may close a kept connection in the very moment in which a request is
written to it; where not a byte of an answer came from a connection that had served before, the request is sent once
more, over a new one. Redirects are answers like any other, and no proxy is asked.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast
from urllib.parse import SplitResult, quote

import httptools

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
IDLE_S = 60.0
"""A connection that lay idle for so many seconds is not used again: what lies between may have forgotten it."""

_PATH = "/%:@!$&'()*+,;=~-._"
_CODINGS = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class ExchangeError(Exception):
    """No whole answer came. `unheard`: the connection ended before the first byte of one."""

    def __init__(self, reason: str, *, unheard: bool = False) -> None:
        super().__init__(reason)
        self.unheard = unheard


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are in lower case; of a name that comes twice the first one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._size = self._head_size = 0
        self._has_head = False
        self._clean = True
        self._used_at = 0.0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; small writes go out at once."""
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that has neither a length nor chunks ends with its connection; any other one is cut off."""
        self._clean = False
        if exc is None and self._has_head and not self._framed():
            self._finish()
        elif self._head_size:
            self._fail("the connection broke in the middle of an answer")
        else:
            self._fail("the connection was closed before an answer came", unheard=True)
        self._parser = None  # it holds this connection, and a circle would wait for the collector

    def data_received(self, data: bytes) -> None:
        """Parse; what comes while nothing is asked for ends the connection."""
        if self._waiter is None:
            self.shut()
            return
        if not self._has_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the answer is not HTTP")
            return
        if not self._has_head and self._head_size > MAX_HEAD_BYTES:
            self._fail(f"the headers of the answer are larger than {MAX_HEAD_BYTES} bytes")

    def _framed(self) -> bool:
        return "content-length" in self._headers or "transfer-encoding" in self._headers

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        """The head is whole, unless it is an interim one (1xx)."""
        self._has_head = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """A piece of the body, without its transfer coding."""
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self._fail(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        elif self._waiter is not None:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole; an interim one makes room for the next. A second one belongs to nobody."""
        if self._waiter is None:
            self._clean = False
        elif not self._has_head:
            self._headers = {}
        else:
            # Still writing: the server answered without having read the request, and would take its rest for a new one.
            unread = self._transport is None or self._transport.get_write_buffer_size() > 0
            self._clean = self._clean and not unread and bool(self._parser.should_keep_alive())
            self._finish()

    # What the pool calls.

    def usable(self) -> bool:
        """Whether another exchange may start here."""
        transport = self._transport
        fresh = self._loop.time() - self._used_at < IDLE_S
        return self._clean and self._waiter is None and fresh and transport is not None and not transport.is_closing()

    async def exchange(self, request: bytes) -> Response:
        """Send a whole request and wait for the whole answer. Raises ExchangeError."""
        if self._transport is None or self._transport.is_closing():
            raise ExchangeError("the connection was closed before it was used", unheard=True)
        self._headers, self._pieces = {}, []
        self._size = self._head_size = 0
        self._has_head = False
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            if self._waiter is not None:  # given up, so what still comes must not be taken for the next answer
                self._waiter = None
                self.shut()

    def shut(self) -> None:
        """Close it for good, and at once: an engine stops generating when its client is gone."""
        self._clean = False
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        waiter, self._waiter = self._waiter, None
        self._used_at = self._loop.time()
        if waiter is None or waiter.done():
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        try:
            body = _decoded(body, self._headers.get("content-encoding", "identity").strip().lower())
        except ExchangeError as error:
            waiter.set_exception(error)
            return
        waiter.set_result(Response(self._parser.get_status_code(), self._headers, body))

    def _fail(self, reason: str, *, unheard: bool = False) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ExchangeError(reason, unheard=unheard))
        self.shut()


def _decoded(body: bytes, coding: str) -> bytes:
    """The body without its content coding; none is asked for, and some servers use one all the same."""
    if coding in ("identity", ""):
        return body
    if coding not in _CODINGS:
        raise ExchangeError(f"the answer is coded as {coding!r}; only gzip and deflate are read")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise ExchangeError(f"the answer is not the {coding} that it says it is ({error})") from error
    if not inflater.eof:
        raise ExchangeError(f"the {coding} of the answer is cut off, or larger than {MAX_BODY_BYTES} bytes")
    return plain


class Pool:
    """Keep-alive connections to one server, at most `connections` of them. The last one used is used first.

    `url` is http or https with a host, without credentials, query and fragment; its path is put before each target.
    """

    def __init__(self, url: SplitResult, *, connections: int) -> None:
        self._host, self._tls = url.hostname or "", url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._path = quote(url.path.rstrip("/"), safe=_PATH)
        name = self._host.encode("idna").decode("ascii") if ":" not in self._host else f"[{self._host}]"
        self._authority = name if url.port is None else f"{name}:{url.port}"
        self._context: ssl.SSLContext | None = None
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []

    async def __aenter__(self) -> "Pool":
        if self._tls:
            self._context = ssl.create_default_context()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().shut()

    def head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        """The first lines of a request, up to its length. Raises ValueError for a header that would end its line."""
        fields = {"Host": self._authority, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        for name, value in fields.items():
            if not (value.isprintable() and value.isascii()):
                raise ValueError(f"the header {name!r} holds characters that no header may carry")
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {self._path}{target} HTTP/1.1\r\n{lines}".encode("ascii")

    async def request(self, head: bytes, body: bytes, timeout_s: float) -> Response:
        """One exchange; `timeout_s` bounds waiting for a connection, connecting, sending and reading together.

        `head` is one of `head()`. Raises TimeoutError and ExchangeError.
        """
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        async with asyncio.timeout(timeout_s), self._slots:
            kept = self._kept()
            if kept is not None:
                try:
                    return await self._over(kept, request)
                except ExchangeError as error:
                    if not error.unheard:
                        raise
            return await self._over(await self._connect(), request)

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.shut()
        return None

    async def _over(self, connection: Connection, request: bytes) -> Response:
        try:
            return await connection.exchange(request)
        finally:
            if connection.usable():
                self._idle.append(connection)
            else:
                connection.shut()

    async def _connect(self) -> Connection:
        loop, tls = asyncio.get_running_loop(), self._context
        # Without the dot that ends a name for look-ups: no certificate has it.
        named = None if tls is None else self._host.removesuffix(".")
        try:
            _, connection = await loop.create_connection(
                Connection, self._host, self._port, ssl=tls, server_hostname=named
            )
        except OSError as error:
            detail = error.strerror or str(error) or type(error).__name__
            raise ExchangeError(f"no connection to {self._authority}: {detail}") from error
        return connection
