"""The client of one request: what it asks, whether it is still there, and what it is told.

Whoever carries the bytes is a subclass: the gateway's own server, or any server of ASGI. Nothing that is said waits:

    client.write(events)
    if client.blocked:
        await client.drain()        # until the client has read, or is cut for not reading
"""

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from gateway.contracts.envelopes import Dialect, envelope, event
from gateway.contracts.errors import BodyTooLarge, InternalError, MethodNotAllowed, RequestError
from gateway.contracts.ledger import CLIENT_CLOSED
from gateway.contracts.trace import Trace, passed_on

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"content-type: application/json\r\n"
ALLOW = b"allow: POST\r\n"
"""What every endpoint takes."""
SSE = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\n"


class ClientGone(Exception):
    """The client left, or reads too slowly to be waited for."""

    code = CLIENT_CLOSED


class Client:
    """`path` is as it was written; `gone` turns true when it leaves; `started` when it was sent its first byte.

    `lines` are header lines, each with its line end, that every answer to it carries. Errors are told in its `dialect`.
    What was sent to it may stay unread for `write_s` seconds. `context` are header lines that say to engines which
    trace its request belongs to, and `trace` what is noted of it where it is recorded. `events` is how many events of a
    stream it may have seen.
    """

    __slots__ = (
        "_abort", "_streaming", "context", "dialect", "events", "gone", "lines", "method", "path", "request_id",
        "started", "trace", "write_s",
    )  # fmt: skip

    def __init__(self, method: str, path: str, write_s: float) -> None:
        self.method = method
        self.path = path
        self.write_s = write_s
        self.dialect: Dialect = "openai"
        self.request_id: str | None = None
        self.lines = self.context = b""
        self.trace: Trace | None = None
        self.events = 0
        self.gone = self.started = self._streaming = False
        self._abort: Callable[[str], None] | None = None

    # What carries the bytes says.

    def header(self, name: bytes) -> bytes | None:
        """The first header of a name (lower case)."""
        raise NotImplementedError

    def watch(self) -> None:
        """Notice from now on when the client leaves."""

    def unwatch(self) -> None:
        """Stop that."""

    @property
    def blocked(self) -> bool:
        """Whether there is something to wait for before more is said."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Wait for it. Raises ClientGone for a client that left or does not read."""
        raise NotImplementedError

    async def _body(self, limit: int) -> bytes:
        raise NotImplementedError

    def _begin(self, status: int, lines: bytes, length: int | None) -> None:
        """The head of an answer; without a length it ends with its last piece."""
        raise NotImplementedError

    def _say(self, data: bytes, *, more: bool) -> None:
        """A piece of its body."""
        raise NotImplementedError

    # The rest is the same for all.

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge as soon as it exceeds the limit, whatever content-length says."""
        announced = self.header(b"content-length")
        # Zeros in front are allowed, and Python refuses to read a number of thousands of digits.
        if announced is not None and announced.isdigit() and int(announced.lstrip(b"0")[:20] or b"0") > limit:
            raise too_large(limit)
        return await self._body(limit)

    def follow(self) -> None:
        """Say to engines, as it came, which trace the request belongs to."""
        parent = self.header(b"traceparent")
        if parent is not None:
            self.context = passed_on(parent, self.header(b"tracestate"))

    def aborts(self, abort: Callable[[str], None] | None) -> None:
        """What to call with the reason when the client leaves; at once, if it has left. None: nothing any more."""
        self._abort = abort
        if self.gone and abort is not None:
            abort("the client left")

    def departed(self) -> None:
        """It has left, and whoever works for it hears of it."""
        self.gone = True
        self.aborts(self._abort)

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """A whole answer. Raises ClientGone."""
        if self.gone:
            raise ClientGone
        self.started = True
        self._begin(status, lines + self.lines, len(body))
        self._say(body, more=False)

    def stream(self, lines: bytes) -> None:
        """Begin a stream of server-sent events. Raises ClientGone."""
        if self.gone:
            raise ClientGone
        self.started = self._streaming = True
        self._begin(200, SSE + lines + self.lines, None)

    def write(self, data: bytes, *, more: bool = True) -> None:
        """A piece of a stream. Raises ClientGone."""
        if self.gone:
            raise ClientGone
        self._say(data, more=more)

    def fail(self, error: RequestError) -> None:
        """Tell of an error: as a status, or as an event when the stream has begun. Raises ClientGone."""
        if self.trace is not None:
            self.trace.error, self.trace.status = error.code, error.status
        if not self.started:
            again = b"" if error.retry_after is None else b"retry-after: %d\r\n" % error.retry_after
            again += b"" if error.passes else b"x-should-retry: false\r\n"  # OpenAI's clients heed it
            again += ALLOW if isinstance(error, MethodNotAllowed) else b""
            self.answer(error.status, JSON + again, envelope(error, self.dialect, self.request_id))
        elif self._streaming:
            self.write(event(error, self.dialect, self.request_id, self.events), more=False)
        else:
            raise InternalError("an error after a whole answer")


Direct = Callable[[Client], Coroutine[Any, Any, None] | None]
"""Who answers a client without ASGI between them; None: ASGI's application does."""


async def gathered(receive: Receive, limit: int) -> bytes:
    """The whole body of an ASGI request. Raises BodyTooLarge, or ClientGone when it ends before it is whole."""
    body: bytes | bytearray = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        if len(body) + len(piece) > limit:
            raise too_large(limit)
        if not body:
            body = piece
        elif piece:
            # One array: however small its pieces are, a body takes no more memory than it is large.
            body = bytearray(body) if isinstance(body, bytes) else body
            body += piece
        if not message.get("more_body"):
            return bytes(body)


def too_large(limit: int) -> BodyTooLarge:
    """A body of more bytes than are read."""
    return BodyTooLarge(f"the body is larger than {limit} bytes: send less, or raise `limits.max_body_bytes`")
