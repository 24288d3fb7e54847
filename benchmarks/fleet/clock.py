"""Simulated time, laid over the machine's own clock, and an alarm that goes off at a moment of it."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Simulated seconds pass `scale` times as fast as real ones, from `origin` on (seconds of `time.monotonic`).

    The scale may change once nothing is to be decided any more: what was measured before keeps its moment. Engine and
    load have one each, made of the same numbers.
    """

    origin: float
    scale: float
    pieces: list[tuple[float, float, float]] = field(default_factory=list)
    """(real, simulated, scale) from which each piece goes on."""

    def __post_init__(self) -> None:
        self.pieces = self.pieces or [(self.origin, 0.0, self.scale)]

    def simulated(self, real: float) -> float:
        """The simulated moment of a real one."""
        piece = next((piece for piece in reversed(self.pieces) if piece[0] <= real), self.pieces[0])
        return piece[1] + (real - piece[0]) * piece[2]

    def real(self, simulated: float) -> float:
        """The real moment of a simulated one."""
        piece = next((piece for piece in reversed(self.pieces) if piece[1] <= simulated), self.pieces[0])
        return piece[0] + (simulated - piece[1]) / piece[2]

    def rescale(self, real: float, scale: float) -> None:
        """From this real moment on, another scale."""
        self.pieces.append((real, self.simulated(real), scale))

    def now(self) -> float:
        """The simulated moment of now."""
        return self.simulated(time.monotonic())


class _Spec(ctypes.Structure):
    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


_LIBC = ctypes.CDLL(None, use_errno=True)
_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSOLUTE = 1, 0o2004000, 1


class Alarm:
    """Calls once at a real moment, to some hundredths of a millisecond: an event loop's own timers know milliseconds.

    Linux's timerfd, since Python has it from 3.13 on only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._fd: int = _LIBC.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed: the benchmark needs Linux")
        self._spec = _Spec(0, 0, 0, 0)
        loop.add_reader(self._fd, self._rung)

    def set(self, real: float | None) -> None:
        """Go off at this moment of `time.monotonic` instead; None: not at all."""
        # Zero would switch it off: a moment that has passed is one nanosecond after the start.
        nanoseconds = 0 if real is None else max(1, int(real * 1e9))
        self._spec.s, self._spec.ns = divmod(nanoseconds, 1_000_000_000)
        if _LIBC.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _rung(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            # It was set anew between its going off and this call.
            return
        self._ring()
