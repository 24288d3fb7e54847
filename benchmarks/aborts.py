"""Clients that leave, one hundred thousand of them, and what is left of them in the gateway: nothing.

    python -m benchmarks.aborts
    python -m benchmarks.aborts --requests 2000 --json

`gateway serve` runs as it does for everybody, in front of two simulated engines. Each client asks for a plain answer or
a stream and leaves at a random moment: in its own head or body, before the first byte, after some pieces of the answer.
Few stay to the end. Then every replica's in-flight count, the open requests, the ledger, the sockets and the memory of
the gateway are looked at; the exit code is 1 when any of them is not as it should be.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.leavers import CONNECTIONS, Clients

ROOT = Path(__file__).resolve().parents[1]
ENGINES = 2
STEP_S = 0.002
"""An engine's time for one token, so that there is a middle of a stream."""
FIRST = 10_000
"""After as many requests (of fewer, half) all is there that a gateway allocates once: memory counts from then on."""
GROWTH_MIB, RSS_GROWTH_MIB = 5.0, 10.0
"""Of its own memory: over 90,000 requests that is 58 bytes each, less than anything that one could leave. And of all
that is resident: the spool's mapped file is up to 5 MiB of it, and starts anew."""
SETTLE_S = 20.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass
class Report:
    """What was found. Memory in MiB: the gateway's own, and with mapped files the resident set (`rss`).

    `moments` are the clients by when they left, `rows` theirs in the ledger by outcome; `admitted` is what the metrics
    count, with the `probes` that the gateway makes itself.
    """

    requests: int = 0
    seconds: float = 0.0
    moments: dict[str, int] = field(default_factory=dict)
    answered: int = 0
    in_flight: dict[str, float] = field(default_factory=dict)
    engines_running: list[float] = field(default_factory=list)
    open_requests: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    probes: int = 0
    admitted: int = 0
    sockets_before: int = 0
    sockets: int = 0
    memory_first: float = 0.0
    memory: float = 0.0
    rss_first: float = 0.0
    rss: float = 0.0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gateway:
    """A running gateway: where it listens, and its folder."""

    pid: int
    port: int
    key: str
    folder: Path

    def memory(self) -> tuple[float, float]:
        """(its own memory, the resident set) in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        own, resident = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1024 for name in ("RssAnon", "VmRSS"))
        return own, resident

    def sockets(self) -> int:
        """How many sockets it has open."""
        count = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(entry.readlink()).startswith("socket:")
        return count

    def rows(self) -> tuple[dict[str, int], int]:
        """(clients' rows in the ledger by outcome, how many there are of the gateway's own requests)."""
        with contextlib.closing(sqlite3.connect(self.folder / "tollgate.db")) as database:
            by_outcome = "SELECT outcome, count(*) FROM ledger WHERE purpose != 'probe' GROUP BY outcome"
            (probes,) = database.execute("SELECT count(*) FROM ledger WHERE purpose = 'probe'").fetchone()
            return dict(database.execute(by_outcome).fetchall()), probes


@contextlib.contextmanager
def _process(command: list[str], folder: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def _says(process: "subprocess.Popen[str]", pattern: str) -> str:
    """What the pattern's group finds in the next lines of its output."""
    assert process.stdout is not None
    for line in process.stdout:
        if (found := re.search(pattern, line)) is not None:
            return found[1]
    raise RuntimeError(f"expected {pattern!r} in the output of {process.args!r}, and it ended")


@contextlib.contextmanager
def _running() -> Iterator[tuple[Gateway, list[int]]]:
    """A gateway and the ports of its engines."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        simulator = [sys.executable, str(ROOT / "tests/engine/simulator.py"), "--port", "0", "--step-s", str(STEP_S)]
        ports = [
            int(_says(stack.enter_context(_process(simulator, folder)), r"on http://[\d.]+:(\d+)"))
            for _ in range(ENGINES)
        ]
        command = [str(Path(sys.executable).with_name("gateway")), "serve", "--port", "0"]
        for port in ports:
            command += ["--upstream", f"http://127.0.0.1:{port}"]
        process = stack.enter_context(_process(command, folder))
        port = int(_says(process, r"answers on http://[\d.]+:(\d+)"))
        yield Gateway(process.pid, port, _says(process, r"TOLLGATE_API_KEY=(\S+)"), folder), ports


async def _metrics(port: int) -> dict[str, dict[str, float]]:
    """Each metric's values by their labels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
    page = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in _SAMPLE.findall(page):
        found.setdefault(name, {})[labels] = float(value)
    return found


async def _settled(gateway: Gateway, engines: list[int], report: Report) -> None:
    """Wait until nothing is open, or until that has taken too long; note what is."""
    end = time.monotonic() + SETTLE_S
    while True:
        page = await _metrics(gateway.port)
        running = [await _metrics(port) for port in engines]
        report.in_flight = page.get("tollgate_in_flight", {})
        report.open_requests = sum(page.get("tollgate_open_requests", {}).values())
        report.engines_running = [
            sum(each.get("vllm:num_requests_running", {}).values())
            + sum(each.get("vllm:num_requests_waiting", {}).values())
            for each in running
        ]
        report.admitted = int(sum(page.get("tollgate_requests_total", {}).values()))
        lag = sum(page["tollgate_ledger_lag_rows"].values())
        busy = sum(report.in_flight.values()) + report.open_requests + sum(report.engines_running) + lag
        if not busy or time.monotonic() > end:
            return
        await asyncio.sleep(0.25)


def judge(report: Report) -> list[str]:
    """What is not as it should be."""
    rows = sum(report.rows.values())
    whole = report.requests - report.moments.get("in the head", 0) - report.moments.get("in the body", 0)
    found = [f"{count:g} in flight on {name}" for name, count in report.in_flight.items() if count]
    if not report.in_flight:
        found.append("/metrics names no replica")
    if report.open_requests:
        found.append(f"{report.open_requests:g} requests are open")
    if any(report.engines_running):
        found.append(f"engines still work for nobody: {report.engines_running}")
    if rows + report.probes != report.admitted:
        found.append(f"{rows} rows and {report.probes} of probes for {report.admitted} admitted requests")
    if not report.answered <= rows <= whole:
        found.append(f"{rows} rows: expected from {report.answered} (answered) to {whole} (sent)")
    if strange := set(report.rows) - {"completed", "client_closed"}:
        found.append(f"outcomes that nothing here explains: {', '.join(sorted(strange))}")
    if report.sockets > report.sockets_before + CONNECTIONS:
        found.append(f"{report.sockets} sockets: {report.sockets_before} before, {CONNECTIONS} kept to engines at most")
    for what, grown, most in (
        ("memory", report.memory - report.memory_first, GROWTH_MIB),
        ("the resident set", report.rss - report.rss_first, RSS_GROWTH_MIB),
    ):
        if grown > most:
            found.append(f"{what} grew by {grown:.1f} MiB, at most {most:g}")
    return found


async def measure(requests: int, seed: int = 0, *, progress: bool = False) -> Report:
    """Let so many clients come and go."""
    report = Report(requests=requests)
    with _running() as (gateway, engines):
        clients = Clients(gateway.port, gateway.key, requests, STEP_S, random.Random(seed))
        report.sockets_before = gateway.sockets()
        started = time.monotonic()

        def tick(done: int) -> None:
            if done == min(FIRST, requests // 2):
                report.memory_first, report.rss_first = gateway.memory()
            if progress and done % max(1, requests // 50) == 0:
                rate = done / (time.monotonic() - started)
                line = f"{done:,} of {requests:,}, {rate:.0f} a second, {gateway.memory()[0]:.1f} MiB"
                print(f"\r{line}   ", end="", file=sys.stderr, flush=True)

        await clients.run(tick)
        report.seconds = time.monotonic() - started
        await _settled(gateway, engines, report)
        report.rows, report.probes = gateway.rows()
        report.moments, report.answered = dict(clients.moments), clients.answered
        report.sockets = gateway.sockets()
        report.memory, report.rss = gateway.memory()
    if progress:
        print(file=sys.stderr)
    report.problems = judge(report)
    return report


def _text(report: Report) -> str:
    told: dict[str, Any] = asdict(report)
    width = max(map(len, told))
    for name in ("memory_first", "memory", "rss_first", "rss", "seconds"):
        told[name] = f"{told[name]:.1f}"
    return "\n".join(f"{name.replace('_', ' '):{width}}  {value}" for name, value in told.items())


def main() -> None:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description="Clients that leave at random moments, and what is left of them.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    options = parser.parse_args()
    report = asyncio.run(measure(options.requests, options.seed, progress=True))
    print(json.dumps(asdict(report)) if options.json else _text(report))
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
