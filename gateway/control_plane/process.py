"""What this process says of itself: how late its loop is, what it takes, and how old is what the database lacks."""

import asyncio
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry

LOOK_S = 1.0
"""Between two looks."""
TICK_S = 0.05
"""After how long the loop is asked to come back, to see how late it does."""
SELF = Path("/proc/self")


class Process:
    """One process's looks at itself. `clock` and `monotonic` in seconds, `cpu` in seconds of processor time so far.

    What a system without `/proc` does not tell has no value.
    """

    def __init__(
        self,
        spool: Spool,
        telemetry: Telemetry,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        proc: Path = SELF,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._spool, self._telemetry, self._proc = spool, telemetry, proc
        self._clock, self._monotonic, self._cpu = clock, monotonic, cpu
        self._spent_s = 0.0

    async def look(self) -> None:
        """One round of the loop."""
        begun = self._monotonic()
        await asyncio.sleep(TICK_S)
        self._telemetry.loop_late.observe(max(0.0, self._monotonic() - begun - TICK_S))
        spent_s = self._cpu()
        self._telemetry.cpu.inc(spent_s - self._spent_s)
        self._spent_s = spent_s
        owed(self._spool, self._telemetry, self._clock())
        taken(self._telemetry, self._proc)


def owed(spool: Spool, telemetry: Telemetry, now: float) -> None:
    """What the database does not have yet, also while it keeps a drain waiting."""
    row = spool.oldest()
    telemetry.ledger_age.set(0.0 if row is None else max(0.0, now - row.started_at - row.duration_s))
    telemetry.spool_bytes.set(spool.size)


def taken(telemetry: Telemetry, proc: Path = SELF) -> None:
    """Memory and descriptors, by proc(5): the second number of `statm` is the resident pages."""
    try:
        pages = int((proc / "statm").read_bytes().split()[1])
        descriptors = len(os.listdir(proc / "fd"))  # noqa: PTH208 (a Path for each of thousands)
    except FileNotFoundError:
        for gauge in (telemetry.resident, telemetry.descriptors, telemetry.descriptors_used):
            gauge.set(math.nan)
        return
    telemetry.resident.set(pages * resource.getpagesize())
    telemetry.descriptors.set(descriptors)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        telemetry.descriptors_used.set(descriptors / most)
