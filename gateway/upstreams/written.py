"""An answer that a task writes, piece by piece, as the relay reads it."""

import asyncio
from collections.abc import Mapping

from gateway.upstreams.http1 import ExchangeError

HELD = 16
"""Pieces held for a slow reader before the writer has to wait."""


class Written:
    """What a task has of its answer so far. It ends as the task ends; `abort` cancels the task."""

    def __init__(self) -> None:
        self.reused = False
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._done = self._aborted = False
        self._news, self._room = asyncio.Event(), asyncio.Event()

    def follow(self, task: "asyncio.Task[None]") -> None:
        """Take the end of this task for the end of the answer."""
        self._task = task
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._error is None:
            self._error = ExchangeError("cancelled") if task.cancelled() else task.exception()
        self._done = True  # later than `task.done()`, and never before the error is known
        self._news.set()

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The head is there."""
        self.status, self.headers = status, headers
        self._news.set()

    async def push(self, piece: bytes) -> None:
        """More of the body; waits while `HELD` pieces lie here unread."""
        while len(self._pieces) >= HELD:
            self._room.clear()
            await self._room.wait()
        self._pieces.append(piece)
        self._news.set()

    async def head(self, seconds: float, most: float = float("inf")) -> int:
        """Wait for the head and return the status. Raises ExchangeError."""
        seconds = min(seconds, most)
        while not self.status:
            await self._wait(seconds, "its first byte")
        return self.status

    async def read(self, seconds: float, what: str = "the next piece") -> bytes:
        """The next piece of the body; `b""` at the end. Raises ExchangeError."""
        while not self._pieces:
            if self._done and self._error is None:
                return b""
            await self._wait(seconds, what)
        return self._taken()

    def rest(self) -> bytes | None:
        """The rest of the body, if all of it has arrived."""
        return self._taken() if self._done and self._error is None else None

    def _taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._room.set()
        return data

    def abort(self, reason: str) -> None:
        """Cancel the task: it closes the provider's stream.

        Once only: a second cancellation would break off the closing that the first one has begun.
        """
        if self._task is not None and not (self._aborted or self._task.done()):
            self._aborted = True
            self._error = self._error or ExchangeError(reason)
            self._task.cancel()
            self._news.set()

    async def _wait(self, seconds: float, what: str) -> None:
        self._news.clear()
        if self._error is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                self._error = ExchangeError(f"the provider did not send {what} within {seconds:g} s", timeout=True)
                self.abort("")
        if self._error is not None and not self._pieces:
            raise self._error
