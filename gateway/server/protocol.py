"""The gateway's own HTTP/1.1 connection, for uvicorn: what costs most there, cut, and the limits that it lacks.

    uvicorn.Config(app, http=HttpProtocol)                              # or, with other limits, and a shorter way
    uvicorn.Config(app, http=partial(HttpProtocol, limits=Limits(head_s=5.0), direct=direct))

uvicorn keeps the sockets, the signals, the lifespan and the graceful end. Requests are answered one after the other, in
the order in which they came. What cannot be read is answered too, in the envelope of every other error, after what came
before it. An upgrade is never made: its request is answered as plain HTTP/1.1.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from gateway.client import Direct
from gateway.contracts.errors import InternalError, UpstreamOverloaded
from gateway.deadline import Deadline
from gateway.server.cycle import Cycle
from gateway.server.head import TOO_SLOW, Refused, refusal
from gateway.server.limits import DEFAULTS, Leaving, Limits
from gateway.server.reader import Head, Reader, Scope

log = logging.getLogger("tollgate")


class HttpProtocol(asyncio.Protocol):
    """One connection of a client.

    `_current` is being answered, `_waiting` are not yet, `_arriving` is the last of them as long as its body comes.
    `_held`: the socket is not read. `_lingering`: the last answer is out, and the client still sends.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits = DEFAULTS,
        direct: Direct | None = None,
        leaving: Leaving | None = None,
    ) -> None:
        self._app, self._direct, self._leaving = config.loaded_app, direct, leaving
        self._idle_s, self._most_tasks = float(config.timeout_keep_alive), config.limit_concurrency
        self._state, self._limits = server_state, limits
        self._loop = asyncio.get_running_loop() if _loop is None else _loop
        self._reader, self._timed_head, self._buffered = Reader(self, limits.head_bytes), 0, 0
        self._transport = cast(asyncio.Transport, None)
        self._base: Scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": ""}
        self._app_state = app_state
        self._held = self._lingering = self.paused = False
        self._arriving = self._current = cast(Cycle | None, None)
        self._waiting: deque[Cycle] = deque()
        self._refusal: tuple[Refused, str] | None = None
        self._writable = asyncio.Event()
        self._deadline = Deadline(self._loop, self._late)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own protocols alone
        for side, name in (("client", "peername"), ("server", "sockname")):
            address = transport.get_extra_info(name)
            self._base[side] = address[:2] if isinstance(address, tuple) else None
        self._base["scheme"] = "https" if transport.get_extra_info("sslcontext") else "http"
        self._deadline.within(self._idle_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and whoever answers it hears of it."""
        self._state.connections.discard(self)
        self._deadline.stop()
        self.paused = False
        self._waiting.clear()
        self._writable.set()
        if self._current is not None:
            self._current.left()
        self._current = self._arriving = None  # each holds this connection
        self._reader.stop()

    def eof_received(self) -> None:
        """The client has left. One that would still read is not told from it: an engine must not work for nobody."""
        self._reader.last = True
        if self._current is not None:
            self._current.left()
        self._end()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused)
            return
        if self._arriving is not None:
            self._await_body()
        elif self._reader.in_head and self._reader.heads != self._timed_head and not (self._current or self.paused):
            self._timed_head = self._reader.heads
            self._deadline.within(self._limits.head_s)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        self.paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.paused = False
        self._writable.set()
        if self._current is None and not self._transport.is_closing():
            self._next()

    # What the reader tells.

    def on_head(self, head: Head) -> None:
        """A request has begun: so may the application."""
        if self._most_tasks is not None and len(self._state.tasks) >= self._most_tasks:
            raise Refused(UpstreamOverloaded(f"more than {self._most_tasks} requests at once: try again"))
        self._arriving = cycle = Cycle(self, head, self._limits)
        if self._current is None and not self.paused:
            self._start(cycle)
        else:
            self._waiting.append(cycle)
            self._regulate()

    def on_piece(self, body: bytes) -> None:
        """A piece of its body."""
        if self._arriving is not None:
            self._arriving.piece(body)
            self._buffered += len(body)
            if self._buffered > self._limits.buffer_bytes:
                self._regulate()

    def on_whole(self) -> None:
        """The request is whole."""
        if self._arriving is not None:
            if self._arriving is self._current:
                self._deadline.never()
            self._arriving.complete()
            self._arriving = None
        elif self._lingering:
            self._end()

    # What a cycle calls.

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries: the date."""
        return self._state.default_headers

    @property
    def leaving(self) -> bool:
        """Whether the gateway is to end, and nobody's request waits who has sent it already."""
        return self._leaving is not None and self._leaving.now and not self._waiting

    def taken(self, size: int) -> None:
        """So many bytes of a body are not held any more."""
        self._buffered -= size
        if self._held:
            self._regulate()

    async def drained(self, seconds: float) -> None:
        """Wait until the client has read; cut it when it takes longer than `seconds`."""
        timer = self._loop.call_later(seconds, self._transport.abort)
        try:
            await self._writable.wait()
        finally:
            timer.cancel()

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is whole: go on with the next request, or make an end."""
        self._current = None
        if self._transport.is_closing():
            return
        if keep_alive:
            self._next()
        elif self._arriving is None and not self._held:
            self._end()
        else:
            self._linger()

    def shutdown(self) -> None:
        """uvicorn ends: close when idle, and after the answer otherwise."""
        if self._current is None:
            self._end()
        else:
            self._current.close_after()

    def _start(self, cycle: Cycle) -> None:
        self._current = cycle
        self._state.total_requests += 1
        if self._direct is None or (work := self._direct(cycle)) is None:
            scope = {**self._base, **cycle.head.scope, "state": self._app_state.copy()}
            work = self._app(scope, cycle.receive, cycle.send)
        task = self._loop.create_task(work)
        self._state.tasks.add(task)
        task.add_done_callback(partial(self._finished, cycle))

    def _finished(self, cycle: Cycle, task: asyncio.Task[None]) -> None:
        """The application is done with a request. One that it did not answer ends the connection."""
        self._state.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        unanswered = not (cycle.ended or cycle.gone)
        if error is not None or (unanswered and not task.cancelled()):
            log.error("the application failed to answer a request", exc_info=error)
        if not unanswered:
            return
        if not cycle.silent:
            self._transport.abort()
            return
        self._current, self._reader.last = None, True
        self._waiting.clear()
        self._refusal = Refused(InternalError("the gateway failed: its log says why")), cycle.path
        self._next()

    def _next(self) -> None:
        """Go on with the request that waits, once the client has read enough of the answer before."""
        if self.paused:
            self._deadline.within(self._limits.write_s)
        elif self._waiting:
            self._start(self._waiting.popleft())
            self._regulate()
            self._await_body()
        elif self._refusal is not None:
            self.write(refusal(*self._refusal, self.default_headers))
            self._refusal = None
            self._linger()
        elif not self._reader.last:
            self._deadline.within(self._limits.head_s if self._reader.in_head else self._idle_s)

    def _refuse(self, refused: Refused) -> None:
        """Answer what cannot be read, after what came before it; nothing more is read."""
        self._reader.stop()
        if self._lingering:
            self._end()
            return
        self._refusal = refused, self._reader.path
        broken, self._arriving = self._arriving, None
        if broken is not None and broken is not self._current:
            self._waiting.pop()
        elif broken is not None:
            broken.left()
            if not broken.silent:
                self._transport.abort()
                return
            self._current = None
        if self._current is None:
            self._next()

    def _linger(self) -> None:
        """The last answer is out. A client that is still sending reads it only if its bytes are taken until it ends."""
        self._lingering, self._arriving, self._buffered = True, None, 0
        self._reader.last = True
        self._waiting.clear()
        self._regulate()
        if self._transport.can_write_eof():
            with suppress(OSError):  # it has gone already
                self._transport.write_eof()
        self._deadline.within(self._limits.linger_s)

    def _end(self) -> None:
        """Close in order, once the client has read what was sent."""
        self._transport.close()
        self._deadline.within(self._limits.write_s)

    def _regulate(self) -> None:
        """Read from the client as long as there is room."""
        hold = self._buffered > self._limits.buffer_bytes or len(self._waiting) >= self._limits.pipelined
        if hold == self._held or self._transport.is_closing():
            return
        self._held = hold
        if not hold:
            self._transport.resume_reading()
            self._await_body()
            return
        self._transport.pause_reading()
        if self._current is not None:
            self._deadline.never()

    def _await_body(self) -> None:
        if self._arriving is not None and self._arriving is self._current and not self._held:
            self._deadline.within(self._limits.body_s)

    def _late(self) -> None:
        """The client has had its time."""
        if self._transport.is_closing() or self._transport.get_write_buffer_size():
            self._transport.abort()
        elif self._arriving is not None or (self._reader.in_head and not self._lingering):
            self._refuse(TOO_SLOW)
        else:
            self._transport.close()
