"""A network without sockets, in a time that nobody waits for: what runs in it is quick, and the same every time.

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(...)     # `loop.hosts` says who answers; `create_connection` reaches it

When nothing is left to do, the clock jumps to the next timer; when there is none, a task waits for nobody, and that is
an error.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Accept = Callable[[], Awaitable[asyncio.Protocol]]
"""What a host does with a new connection: the protocol of its side. Raises OSError to refuse it."""


class _Clock(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing comes from outside; time passes instead."""
        if timeout is None:
            raise AssertionError("a task waits for what nobody does")
        self.now += max(0.0, timeout)
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is its own. Names without a host refuse every connection."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self.hosts: dict[str, Accept] = {}
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds since its start."""
        return self._clock.now

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """To one of `hosts`."""
        if host not in self.hosts:
            raise ConnectionRefusedError
        other, protocol = await self.hosts[host](), factory()
        return join(protocol, other)[0], protocol


async def pause(seconds: float) -> None:
    """Let virtual time pass."""
    passed = asyncio.get_running_loop().create_future()
    timer = asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    try:
        await passed
    finally:
        timer.cancel()


async def turns(count: int) -> None:
    """Let everybody else have some turns, in no time."""
    for _ in range(count):
        await asyncio.sleep(0)


def join(one: asyncio.BaseProtocol, other: asyncio.BaseProtocol) -> tuple["Wire", "Wire"]:
    """Both ends of a new connection between two protocols."""
    ends = Wire(one), Wire(other)
    ends[0].peer, ends[1].peer = ends[1], ends[0]
    for end in ends:
        end.protocol.connection_made(end)
    return ends


class Wire(asyncio.Transport):
    """One end of a connection. `delivered` counts the bytes that reached it; `pace` makes it slow to take them.

    `pace` is (bytes, seconds): how many it takes at a time, and how long that lasts.
    """

    peer: "Wire"

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol: Any = protocol
        self.pace: tuple[int, float] | None = None
        self.delivered = 0
        self.high_water = 64 * 1024
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[bytes] = deque()
        self._reading, self._closing, self._lost = True, False, False
        self._flushing = self._paused = False

    def write(self, data: Any) -> None:
        """On its way to the other end."""
        if self._closing or not data:
            return
        self._outbox.append(bytes(data))
        if not self._paused and self._waiting() > self.high_water:
            self._paused = True
            self.protocol.pause_writing()
        self._soon()

    def _waiting(self) -> int:
        return sum(map(len, self._outbox))

    def _soon(self, seconds: float = 0.0) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_later(seconds, self._flush) if seconds else self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        peer = self.peer
        if self._lost or (self._outbox and not peer._reading):
            return
        if peer._closing and self._outbox:
            self._end(ConnectionResetError())
            return
        data = b"".join(self._outbox)
        self._outbox.clear()
        if peer.pace is not None and len(data) > peer.pace[0]:
            self._outbox.append(data[peer.pace[0] :])
            data = data[: peer.pace[0]]
        if data:
            peer.delivered += len(data)
            peer.protocol.data_received(data)
        if self._outbox:
            self._soon(0.0 if peer.pace is None else peer.pace[1])
            return
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing:
            self._end(None)
            peer._eof()

    def _eof(self) -> None:
        if not self._closing and not self.protocol.eof_received():
            self.close()

    def close(self) -> None:
        """End it once all is delivered."""
        if not self._closing:
            self._closing = True
            self._soon()

    def abort(self) -> None:
        """End it now."""
        self._end(None)
        self.peer._end(ConnectionResetError())

    def _end(self, error: Exception | None) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._outbox.clear()
            self._loop.call_soon(self.protocol.connection_lost, error)

    def get_write_buffer_size(self) -> int:
        """Bytes that were not delivered yet."""
        return self._waiting()

    def can_write_eof(self) -> bool:
        """It ends as a whole."""
        return False

    def is_closing(self) -> bool:
        """Whether it is over."""
        return self._closing

    def pause_reading(self) -> None:
        """Take no more."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take more."""
        self._reading = True
        self.peer._soon()
