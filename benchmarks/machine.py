"""The machine under the benchmark: its cores, and the processes that are started, measured and ended on it.

Linux alone: CPU time and memory are read from /proc.
"""

import contextlib
import os
import platform
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
SESSION, UTIME, CSTIME, RSS = 3, 11, 14, 21
"""Positions in /proc/PID/stat behind the name of the command."""


def cores() -> tuple[int, int]:
    """(the gateway's core, the core of load and engine): the first two that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit(
            f"the benchmark needs two cores, one for the gateway and one for the load; found {len(usable)}"
        )
    return usable[0], usable[1]


def facts() -> dict[str, Any]:
    """What a reader needs to know of the machine."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    with Path("/proc/meminfo").open(encoding="utf-8") as lines:
        memory = int(next(lines).split()[1]) / 2**20
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def busy_s(core: int) -> float:
    """Seconds that a core has worked for anyone since the machine started, and those that its host took."""
    with Path("/proc/stat").open(encoding="utf-8") as lines:
        fields = next(line.split()[1:] for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _stats(session: int) -> Iterator[list[str]]:
    """The /proc/PID/stat of every process of a session."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            if int(fields[SESSION]) == session:
                yield fields


class Process:
    """A program pinned to one core, in a session of its own: what it starts is measured and ended with it."""

    def __init__(
        self,
        command: Sequence[str],
        core: int,
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        stdin: int | None = subprocess.DEVNULL,
    ) -> None:
        with contextlib.ExitStack() as stack:
            out = subprocess.PIPE if log is None else stack.enter_context(log.open("ab"))
            self.popen = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=stdin,
                stdout=out,
                stderr=None if log is None else out,
                env={**os.environ, **(env or {})},
                cwd=folder,
                start_new_session=True,
            )
        self.pid = self.popen.pid

    def cpu_s(self) -> float:
        """CPU seconds so far, of the session's processes and of those that they have waited for."""
        return sum(sum(map(int, fields[UTIME : CSTIME + 1])) for fields in _stats(self.pid)) / TICKS

    def memory_mb(self) -> float:
        """Resident memory of the session's processes; what they share counts once for each."""
        return sum(int(fields[RSS]) for fields in _stats(self.pid)) * PAGE_MB

    def stop(self, patience_s: float = 15.0) -> None:
        """End the session, kindly at first."""
        for number, patience in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience)
            deadline = time.monotonic() + 2.0
            while time.monotonic() < deadline and any(True for _ in _stats(self.pid)):
                time.sleep(0.05)
            if not any(True for _ in _stats(self.pid)):
                return


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def allow_many_files() -> None:
    """A thousand streams are two thousand sockets in a gateway."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def go_first() -> None:
    """Run this process and what it starts before all others: the kernel leaves those 5 % of each core."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def quiet(of: Sequence[int], patience_s: float) -> bool:
    """Wait until these cores have next to nothing to do; False when they have not become quiet."""
    deadline = time.monotonic() + patience_s
    while True:
        before, since = sum(map(busy_s, of)), time.monotonic()
        time.sleep(0.3)
        if (sum(map(busy_s, of)) - before) / (time.monotonic() - since) < 0.15:
            return True
        if time.monotonic() > deadline:
            return False
