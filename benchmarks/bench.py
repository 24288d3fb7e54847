"""The parts of one measurement: the engine, a gateway in front of it, and a load that goes through it."""

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import install
from benchmarks.cells import Cell
from benchmarks.gateways import Launch
from benchmarks.machine import Process

START_S = 90.0
ENGINES = 2
WORDS = 50
"""What the engine says while a gateway starts."""
QUESTION = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "hello"}]})
SETTLE_S = 1.5
"""After a load, until a gateway has stored what it notes of its requests: that is paid for too."""


class Failed(Exception):
    """A gateway that did not start, or a program of the harness that gave no result."""


class Engine:
    """The fake engine on its core, as two replicas or as many."""

    def __init__(self, core: int, count: int = ENGINES) -> None:
        self.core = core
        self.process = Process(
            [str(install.compiled("engine")), str(count)], core, folder=install.CACHE, stdin=subprocess.PIPE
        )
        assert self.process.popen.stdout is not None
        self.ports: list[int] = json.loads(self.process.popen.stdout.readline())["ports"]
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in self.ports)

    def set(self, **settings: int) -> dict[str, int]:
        """Change `gap` (microseconds between tokens) and `chunks`; returns the counts."""
        target = "/_engine?" + "&".join(f"{name}={value}" for name, value in settings.items())
        status, body = _exchange(self.ports[0], "GET", target)
        if status != 200:
            raise Failed(f"the engine answered {target} with status {status}")
        counts: dict[str, int] = json.loads(body)
        return counts

    def open_streams(self) -> int:
        """How many streams have begun and not ended."""
        counts: dict[str, int] = json.loads(_exchange(self.ports[0], "GET", "/_engine")[1])
        return counts["open_streams"]

    @contextlib.contextmanager
    def on(self, core: int) -> Iterator[None]:
        """For a while on another core."""
        os.sched_setaffinity(self.process.pid, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(self.process.pid, {self.core})


@dataclass
class Running:
    """A gateway that answers. `asked` and `words` add up what went through it."""

    name: str
    launch: Launch
    port: int
    process: Process | None
    start_s: float | None
    asked: int = 1
    words: int = WORDS
    idle_mb: float | None = field(default=None)

    def cpu_s(self) -> float:
        """CPU seconds of the gateway so far."""
        return self.process.cpu_s() if self.process else 0.0

    def memory_mb(self) -> float | None:
        """Resident memory of the gateway."""
        return self.process.memory_mb() if self.process else None


@contextlib.contextmanager
def running(name: str, launch: Launch, port: int, engine: Engine, core: int, folder: Path) -> Iterator[Running]:
    """A gateway from its start to its end. Raises Failed when it does not answer."""
    engine.set(gap=0, chunks=WORDS)
    if not launch.command:
        yield Running(name, launch, launch.port or port, None, None)
        return
    log, since = folder / "log.txt", time.monotonic()
    process = Process(launch.command, core, folder=folder, env=launch.env, log=log)
    try:
        _until_it_answers(process, launch, port, log, since)
        gateway = Running(name, launch, port, process, round(time.monotonic() - since, 3))
        time.sleep(1.0)
        gateway.idle_mb = round(process.memory_mb(), 1)
        yield gateway
    finally:
        process.stop()


def _until_it_answers(process: Process, launch: Launch, port: int, log: Path, since: float) -> None:
    headers = dict(header.split(": ", 1) for header in launch.headers)
    said = "nothing"
    while time.monotonic() - since < START_S and process.popen.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = _exchange(port, "POST", "/v1/chat/completions", QUESTION, headers)
            if status == 200 and body.count(b" word") == WORDS:
                return
            said = f"status {status}: {body[:300]!r}"
        time.sleep(0.01)
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise Failed(f"no good answer in {time.monotonic() - since:.0f} s; it said {said}; its log: {' / '.join(tail)}")


def _exchange(
    port: int, method: str, target: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, target, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()


def load_command(cell: Cell, gateway: Running, answer_bytes: int) -> Sequence[str]:
    """The load generator's command line for a cell."""
    command = [str(install.compiled("load")), "-p", str(gateway.port), *cell.arguments()]
    if gateway.launch.verbatim and not cell.stream:
        command += ["-b", str(answer_bytes)]
    for header in gateway.launch.headers:
        command += ["-H", header]
    return command


def result_of(load: Process, patience_s: float, gateway: Running) -> dict[str, Any]:
    """What the load generator reports. Raises Failed."""
    try:
        out, _ = load.popen.communicate(timeout=patience_s)
        result: dict[str, Any] = json.loads(out)
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        load.stop()
        raise Failed(f"the load generator gave no result: {error}") from error
    gateway.asked += result["started"] - result["failed"]["refused"]
    gateway.words += result["words"]
    return result
