"""The processes of a soak, as the kernel sees them: started, killed, stopped and measured by their numbers.

Linux alone: what they take is read from /proc.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.install import HERE

ROOT = HERE.parent
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Taken:
    """What a process takes: memory of its own in MB, open files and sockets, threads.

    Pages of files do not count: a gateway maps its spool, 4 MB of it at a time, which the kernel may drop.
    """

    own_mb: float
    files: int
    threads: int


@dataclass
class Child:
    """A program that is started again and again, on the same port and in the same folder."""

    name: str
    command: Sequence[str]
    folder: Path
    url: str
    env: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0
    started_at: float = 0.0
    _popen: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        """What it has said, in all of its lives."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Of its life of now."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, or at least stands."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Another life."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1
        self.started_at = time.time()

    def signal(self, number: signal.Signals) -> None:
        """Tell it."""
        if self.alive:
            os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        assert self._popen is not None
        return self._popen.wait(seconds)

    def kill(self) -> None:
        """End it, whatever it does, and what it has started."""
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def taken(self) -> Taken | None:
        """What it takes now; None where it does not run."""
        return taken(self.pid) if self.alive else None


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]


def taken(pid: int) -> Taken | None:
    """What a process takes; None where there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    told = {name: value.split() for name, _, value in (line.partition(":") for line in status)}
    if "RssAnon" not in told:  # it has ended, and nobody has waited for it
        return None
    return Taken(int(told["RssAnon"][0]) / 1024, files, int(told["Threads"][0]))


def family(pid: int) -> list[int]:
    """A process and those that it has started itself."""
    with contextlib.suppress(FileNotFoundError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def tell(pids: Sequence[int], number: signal.Signals) -> None:
    """Signal processes that may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def gone(pids: Sequence[int]) -> None:
    """Wait until processes of others have ended. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE_S
    while any(taken(pid) is not None for pid in pids):
        if time.monotonic() > until:
            raise TimeoutError(f"processes {', '.join(map(str, pids))} do not end")
        time.sleep(0.01)
