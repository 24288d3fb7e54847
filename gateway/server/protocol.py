"""The gateway's own HTTP/1.1 connection, for uvicorn: what costs most there, cut, and the limits that it lacks.

    uvicorn.Config(app, http=HttpProtocol)

uvicorn keeps the sockets, the signals, the lifespan and the graceful end. A head has a limit in bytes and in seconds, a
body a limit in seconds between two pieces, an unread answer one in bytes and seconds, and an idle connection lapses.
"""

import asyncio
import logging
import socket
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.server import ServerState

from gateway.contracts.errors import InvalidRequest, envelope
from gateway.server.cycle import LINK, Cycle

MAX_HEAD_BYTES = 65_536
MAX_BUFFER_BYTES = 256 * 1024
"""Of a body that waits for the application; beyond it the socket is not read."""
MAX_PIPELINED = 16
HEAD_S = 30.0
"""From the first byte of a request to the end of its head."""
BODY_S = 60.0
"""Between two pieces of a body."""
LINGER_S = 2.0
"""After an answer to half a request, so that a client that is still sending reads it before the connection goes."""

log = logging.getLogger("tollgate")


class HttpProtocol(asyncio.Protocol):
    """One connection of a client. Requests that come before an answer has ended wait for their turn."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app = config.loaded_app
        self._keep_alive_s = float(config.timeout_keep_alive)
        self._state = server_state
        self._loop = asyncio.get_running_loop() if _loop is None else _loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast(asyncio.Transport, None)
        self._base: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}
        self._base |= {"root_path": ""}
        self._app_state = app_state
        self._url, self._headers, self._head_bytes = b"", list[tuple[bytes, bytes]](), 0
        self._expects_continue = self._in_head = self._held_reading = self._closing = False
        self._arriving: Cycle | None = None
        self._current: Cycle | None = None
        self._waiting: deque[Cycle] = deque()
        self._buffered = 0
        self._drain: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self.paused = False

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries: the date."""
        return self._state.default_headers

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own protocols alone
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != getattr(socket, "AF_UNIX", None):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._base["client"] = tuple(client[:2]) if isinstance(client, tuple) else None
        self._base["server"] = tuple(server[:2]) if isinstance(server, tuple) else None
        self._base["scheme"] = "https" if transport.get_extra_info("sslcontext") else "http"
        self._until(self._keep_alive_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; every request of its that is not answered hears of it."""
        self._state.connections.discard(self)
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.resume_writing()
        for cycle in (self._current, *self._waiting):
            if cycle is not None:
                cycle.left()
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._closing:
            return  # lingering: what is still sent has been answered
        if self._current is None and not self._in_head:
            self._in_head = True
            self._until(HEAD_S)
        if self._in_head:
            self._head_bytes += len(data)
        elif self._arriving is not None:
            self._until(BODY_S)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No upgrade is offered: the request is answered as it is, and what follows is HTTP/1.1 again.
            self._parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
        except httptools.HttpParserError:
            self._refuse("not an HTTP/1.1 request")
        else:
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(f"a head of more than {MAX_HEAD_BYTES} bytes")

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        self.paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers = b"", []
        self._expects_continue, self._in_head = False, True

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """The head is whole: the application may begin."""
        self._in_head, self._head_bytes = False, 0
        path, _, query = self._url.partition(b"?")
        if not path.startswith(b"/"):
            path = httptools.parse_url(self._url).path or b"/"
        text = path.decode("latin-1")
        scope = {
            **self._base,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("latin-1"),
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": self._headers,
            "state": self._app_state.copy(),
        }
        keeps = self._parser.should_keep_alive() or self._parser.should_upgrade()
        keep_alive = keeps and scope["http_version"] == "1.1"
        cycle = Cycle(self, scope, keep_alive=keep_alive, expects_continue=self._expects_continue)
        scope["extensions"] = {LINK: cycle}
        self._arriving = cycle
        if self._current is None:
            self._begin(cycle)
        elif len(self._waiting) < MAX_PIPELINED:
            self._waiting.append(cycle)
        else:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        if self._arriving is None:
            return
        self._arriving.piece(body)
        self._buffered += len(body)
        if self._buffered > MAX_BUFFER_BYTES and not self._held_reading:
            self._held_reading = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._arriving is not None:
            self._arriving.complete()
            self._arriving = None
            self._deadline = float("inf")

    # What a cycle calls.

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def received(self) -> None:
        """The application took what had come of the body."""
        self._buffered = 0
        if self._held_reading:
            self._held_reading = False
            self._transport.resume_reading()

    async def drained(self, seconds: float) -> None:
        """Wait until the client has read; cut it when it takes longer than `seconds`."""
        self._drain = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._transport.abort)
        try:
            await self._drain
        finally:
            timer.cancel()
            self._drain = None

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is whole: close, linger, or go on with the next request."""
        self._current = None
        if self._transport.is_closing():
            return
        if not keep_alive:
            self._close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self._until(self._keep_alive_s)

    def shutdown(self) -> None:
        """uvicorn ends: close when idle, and after the answer otherwise."""
        if self._current is None:
            self._transport.close()
        else:
            self._current.close_after()

    # The rest.

    def _begin(self, cycle: Cycle) -> None:
        self._current = cycle
        task = self._loop.create_task(self._run(cycle))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _run(self, cycle: Cycle) -> None:
        """The application's answer to one request. One that it does not finish ends the connection."""
        self._state.total_requests += 1
        try:
            await self._app(cycle.scope, cycle.receive, cycle.send)
        finally:
            if not cycle.ended and not self._transport.is_closing():
                self._transport.abort()

    def _refuse(self, what: str) -> None:
        """Answer what cannot be read, unless an answer is on its way."""
        if self._current is None:
            body = envelope(InvalidRequest(f"expected HTTP/1.1, found {what}"))
            head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
            self._close()
        else:
            self._transport.abort()

    def _close(self) -> None:
        """Close in order; a client that is still sending has some time to read the answer."""
        if self._arriving is None:
            self._transport.close()
            return
        self._closing, self._arriving = True, None
        if self._held_reading:
            self._transport.resume_reading()
        self._until(LINGER_S)

    def _until(self, seconds: float) -> None:
        """Give the connection this long for its next step. Most deadlines are moved, few reached: one timer serves."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._late)
        elif self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            if self._deadline != float("inf"):
                self._timer = self._loop.call_at(self._deadline, self._late)
        elif self._in_head and self._head_bytes:
            self._refuse(f"no whole head within {HEAD_S:g} s")
        else:
            self._transport.close()
