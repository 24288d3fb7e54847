"""A moment that is often moved and seldom reached."""

import asyncio
from collections.abc import Callable

_NEVER = float("inf")


def _nobody() -> None:
    """Who is called once it has stopped."""


class Deadline:
    """Calls back when it is reached. One timer follows it: later is free, only sooner sets the timer anew."""

    __slots__ = ("_at", "_loop", "_reached", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, reached: Callable[[], None]) -> None:
        self._loop = loop
        self._reached = reached
        self._timer: asyncio.TimerHandle | None = None
        self._at = _NEVER

    def within(self, seconds: float) -> None:
        """Move it to so many seconds from now."""
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._at:
            self._set()

    def never(self) -> None:
        """Nothing is waited for."""
        self._at = _NEVER

    def stop(self) -> None:
        """Let go of the timer and of who would be called, for good: whoever holds a deadline is mostly held by it."""
        self._at, self._reached = _NEVER, _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._at == _NEVER:
            return
        if self._loop.time() < self._at:
            self._set()
        else:
            self._at = _NEVER
            self._reached()
