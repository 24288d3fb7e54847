"""One process from its start to its end on one core: wall time, CPU time, and the most memory it held."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Process

EVERY_S = 0.05
UNSET = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX")
"""What a person's shell says about Python: a harness would compile itself anew each time, or import another one."""


@dataclass(frozen=True)
class Usage:
    """Seconds and MB of a process and its children. `peak_mb` is looked at every twentieth of a second."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int | None


def run(command: Sequence[str], env: Mapping[str, str], core: int, folder: Path, log: Path, patience_s: float) -> Usage:
    """Run a command to its end; `code` is None when it took longer than the patience and was stopped."""
    clean = ["env", *(flag for name in UNSET if name not in env for flag in ("-u", name))]
    since = time.monotonic()
    process = Process([*clean, *command], core, folder=folder, env=env, log=log)
    peak, spent, status = 0.0, 0.0, None
    while time.monotonic() - since < patience_s:
        done, code, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            status, spent = os.waitstatus_to_exitcode(code), usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss / 1024)
            process.popen.returncode = status
            break
        peak = max(peak, process.memory_mb())
        time.sleep(EVERY_S)
    wall = time.monotonic() - since
    process.stop(patience_s=2.0)
    return Usage(round(wall, 3), round(spent, 3), round(peak, 1), status)
