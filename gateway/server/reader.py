"""What a client sends, read as requests: no socket, no clock, and a bound on everything that is kept."""

from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from gateway.contracts.errors import InvalidRequest
from gateway.server.head import SHORT, Refused

Scope = dict[str, Any]


class Head:
    """The head of a request: `path` as it was written. The names of its headers are in lower case."""

    __slots__ = ("expects_continue", "headers", "keep_alive", "method", "path", "query", "version")

    def __init__(
        self,
        method: str,
        url: bytes,
        version: str,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Raises Refused for a target that is no URL."""
        self.method = method
        self.path, self.query = _remembered(url) if len(url) <= SHORT else _target(url)
        self.version = version
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue

    @property
    def scope(self) -> Scope:
        """What ASGI says of it."""
        return {
            "path": unquote(self.path) if "%" in self.path else self.path,
            "raw_path": self.path.encode("ascii"),
            "query_string": self.query,
            "http_version": self.version,
            "method": self.method,
            "headers": self.headers,
        }


class Sink(Protocol):
    """Who is told of requests, in the order in which they come."""

    def on_head(self, head: Head) -> None:
        """A request has begun. May raise Refused."""

    def on_piece(self, body: bytes) -> None:
        """A piece of its body."""

    def on_whole(self) -> None:
        """It is whole."""


class _Nobody:
    """Who is told of nothing any more."""

    def on_head(self, head: Head) -> None: ...

    def on_piece(self, body: bytes) -> None: ...

    def on_whole(self) -> None: ...


def too_large(limit: int) -> Refused:
    """A head, or what in a body is not body, of more bytes than are kept."""
    return Refused(InvalidRequest(f"expected at most {limit} bytes of headers: send less"), 431)


class Reader:
    """`in_head`, `in_body`: where the last byte was; `heads`: how many began; `last`: no request is read any more."""

    def __init__(self, sink: Sink, limit: int) -> None:
        """`limit`: the bytes of a head, and of what in a body is not body (chunk extensions, trailers)."""
        self._sink: Sink = sink
        self._limit = limit
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url, self._headers = b"", list[tuple[bytes, bytes]]()
        self._fed = self._first = self._overhead = self.heads = 0
        self._expects_continue = self.in_head = self.in_body = self.last = False

    @property
    def path(self) -> str:
        """The path of the request that began last, as far as it came; empty where it is none."""
        try:
            return _target(self._url)[0]
        except Refused:
            return ""

    def stop(self) -> None:
        """Read nothing more."""
        self.last, self.in_head, self.in_body = True, False, False
        self._parser = None  # it refers to this object
        self._sink = _Nobody()  # and mostly the sink does too

    def feed(self, data: bytes) -> None:
        """Read a piece of what the client sends. Raises Refused for what is not HTTP/1.1: nothing is read after it."""
        if self.last and not self.in_body:
            return
        self._fed = len(data)
        self._overhead += self._fed
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            if not self.last or self.in_body:
                raise _unreadable(str(error)) from None
        if self._overhead > self._limit and (self.in_head or self.in_body):
            raise too_large(self._limit)

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return
            # The parser takes what follows for another protocol, a body too: it reads the head again, as a plain one.
            lines = b"".join(b"%b: %b\r\n" % field for field in self._headers if field[0] != b"upgrade")
            version = self._parser.get_http_version().encode()
            head = b"%b %b HTTP/%b\r\n%b\r\n" % (self._parser.get_method(), self._url, version, lines)
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self.last:
            self._url, self._headers, self._expects_continue = b"", [], False
            self._first, self._overhead, self.in_head = self._fed, 0, True
            self.heads += 1

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        if self.in_head:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers. What comes after its body is none."""
        if self.in_head:
            name = name.lower()
            self._headers.append((name, value))
            if name == b"expect":
                self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """The head is whole."""
        method, version = self._parser.get_method().decode("ascii"), self._parser.get_http_version()
        if not self.in_head or (self._parser.should_upgrade() and method != "CONNECT"):
            return
        # How many bytes were counted depends on how they were cut, and those of its first piece were not: near the
        # limit the head is measured.
        if self._first + self._overhead + self._fed > self._limit and self._size() > self._limit:
            raise too_large(self._limit)
        if method == "CONNECT" or version not in ("1.1", "1.0"):
            raise _unreadable(f"{method} in HTTP/{version}")
        keep_alive = version == "1.1" and self._parser.should_keep_alive()
        expects = self._expects_continue and version == "1.1"
        self._sink.on_head(
            Head(method, self._url, version, self._headers, keep_alive=keep_alive, expects_continue=expects)
        )
        self._overhead, self.in_head, self.in_body, self.last = 0, False, True, not keep_alive

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        if self.in_body:
            self._overhead = 0
            self._sink.on_piece(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.in_body:
            self.in_body = False
            self._sink.on_whole()

    def _size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)


def _unreadable(found: str) -> Refused:
    return Refused(InvalidRequest(f"expected a request in HTTP/1.1, found: {found}"))


def _target(url: bytes) -> tuple[str, bytes]:
    """(path, query) of a target: origin-form, absolute-form or `*`."""
    path, _, query = url.partition(b"?")
    if not path.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError as error:
            raise _unreadable(str(error)) from None
        path, query = parsed.path or b"/", parsed.query or b""
    return path.decode("ascii"), query


_remembered = lru_cache(maxsize=64)(_target)
