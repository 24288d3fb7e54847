"""The client's side of one request, over ASGI: read the body, notice that the client left, write the answer."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from gateway.contracts.errors import BodyTooLarge, Dialect, InternalError, RequestError, envelope, event
from gateway.server.cycle import LINK

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
SSE: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]


class ClientGone(Exception):
    """The client left, or reads too slowly to be waited for."""


class Client:
    """One request's client. `gone` turns true when it leaves; `started` when it was sent its first byte.

    `events` is how many events of a stream it may have seen. Errors are told in its `dialect`.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        *,
        write_s: float,
        dialect: Dialect = "openai",
        request_id: str | None = None,
    ) -> None:
        self._dialect = dialect
        self._request_id = request_id
        self.events = 0
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._receive = receive
        self._send = send
        self._write_s = write_s
        self._abort: Callable[[str], None] | None = None
        self._watcher: asyncio.Future[None] | None = None
        # The gateway's own server tells of a departure and bounds writes by itself; under another one a task waits.
        self._link = scope.get("extensions", {}).get(LINK)
        if self._link is not None:
            self._link.write_within(write_s)
        self._stream = False
        self.gone = False
        self.started = False

    def header(self, name: bytes) -> bytes | None:
        """The first header of a name (lower case)."""
        return self._headers.get(name)

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge as soon as it exceeds the limit, whatever content-length says."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        if self._link is not None and (whole := self._link.take()) is not None:
            if len(whole) > limit:
                raise _too_large(limit)
            return cast(bytes, whole)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientGone
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def watch(self) -> None:
        """Notice from now on when the client leaves."""
        if self._link is not None:
            self._link.on_gone(self._left)
        else:
            self._watcher = asyncio.ensure_future(self._watch())

    def unwatch(self) -> None:
        """Stop that."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self.gone = True
        self.aborts(self._abort)

    def aborts(self, abort: Callable[[str], None] | None) -> None:
        """What to call with the reason when the client leaves; at once, if it has left. None: nothing any more."""
        self._abort = abort
        if self.gone and abort is not None:
            abort("the client left")

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        self.started = True
        length = (b"content-length", str(len(body)).encode())
        await self._write({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._write({"type": "http.response.body", "body": body})

    async def stream(self, headers: Headers) -> None:
        """Begin a stream of server-sent events."""
        self.started = self._stream = True
        await self._write({"type": "http.response.start", "status": 200, "headers": [*SSE, *headers]})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """A piece of a stream. Raises ClientGone for a client that left or does not read."""
        if self.gone:
            raise ClientGone
        await self._write({"type": "http.response.body", "body": data, "more_body": more})

    async def fail(self, error: RequestError, headers: Headers) -> None:
        """Tell the client of an error: as a status, or as an event when the stream has begun."""
        if not self.started:
            extra = [] if error.retry_after is None else [(b"retry-after", str(error.retry_after).encode())]
            extra += [] if error.passes else [(b"x-should-retry", b"false")]  # OpenAI's clients heed it
            body = envelope(error, self._dialect, self._request_id)
            await self.answer(error.status, [JSON, *extra, *headers], body)
        elif self._stream:
            await self.write(event(error, self._dialect, self._request_id, self.events), more=False)
        else:
            raise InternalError("an error after a whole answer")

    async def _write(self, message: Message) -> None:
        if self._link is not None:
            await self._send(message)
            if self.gone:
                raise ClientGone
            return
        try:
            async with asyncio.timeout(self._write_s):
                await self._send(message)
        except TimeoutError as error:
            self.gone = True
            raise ClientGone from error


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit} bytes: send less, or raise `limits.max_body_bytes`")
