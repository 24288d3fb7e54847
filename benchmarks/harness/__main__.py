"""Evaluation harnesses side by side: the same samples, the same fake engine without delay, one core each, in turns.

python -m benchmarks.harness --install-only --peers FOLDER          fetch the peers (2 to 3 GB), measure nothing
python -m benchmarks.harness --all --peers FOLDER                   everything, into results.jsonl and ../README.md
python -m benchmarks.harness --only tollgate,lm-eval --samples 1000 --rounds 1                a look, printed alone

Each harness runs twice in a round, with few samples and with all of them: what the difference took is its speed without
its start. A run counts when its harness says that it scored every sample, with the score that is right, and when the
engine was asked exactly once for each. On a quiet machine everything takes about ten minutes.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import install, machine
from benchmarks.bench import Engine
from benchmarks.harness import jobs, measured, table
from benchmarks.harness.harnesses import HARNESSES, ROOT
from benchmarks.harness.jobs import Job, Outcome

RESULTS, README = Path(__file__).resolve().parent / "results.jsonl", install.HERE / "README.md"
SAMPLES, SHORT, CONCURRENCY, ROUNDS = 5000, 50, 64, 3
PATIENCE_S = 240.0
QUIET_S = 10.0


def main() -> None:
    """Measure what was asked for, and print the table."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the way out that ends what was started
    options.peers.mkdir(parents=True, exist_ok=True)
    if options.install_only:
        _install(options.only, options.peers)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as out:

        def record(kind: str, **values: Any) -> None:
            out.write(json.dumps({"kind": kind, **values}) + "\n")
            out.flush()

        measured_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        record("machine", **machine.facts(), measured=measured_at, concurrency=options.concurrency)
        session = Session(options, record)
        try:
            session.rounds()
        finally:
            session.engine.process.stop()
        if not options.no_statistics:
            session.statistics()
    report = table.write(table.read(options.out))
    print(report)
    if options.all:
        table.insert(README, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.harness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every harness at full size; writes results and README.md")
    parser.add_argument("--only", default=",".join(HARNESSES), help=f"of: {', '.join(HARNESSES)}")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"of a full run ({SAMPLES})")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help=f"requests at a time ({CONCURRENCY})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"each runs every harness once ({ROUNDS})")
    parser.add_argument("--peers", type=Path, default=install.CACHE / "harnesses", help="where peers are installed")
    parser.add_argument("--out", type=Path, default=install.CACHE / "harness-last.jsonl", help="where rows are written")
    parser.add_argument("--wait", type=float, default=QUIET_S, help=f"seconds to wait for idle cores ({QUIET_S:g})")
    parser.add_argument("--install-only", action="store_true", help="install the peers and end")
    parser.add_argument("--no-statistics", action="store_true", help="leave out the statistics of large runs")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in HARNESSES]:
        parser.error(f"no {', '.join(unknown)}: choose from {', '.join(HARNESSES)}")
    if not options.samples > SHORT:
        parser.error(f"--samples: expected more than {SHORT}, the size of the short run, found {options.samples}")
    if options.all:
        options.only, options.samples, options.concurrency = list(HARNESSES), SAMPLES, CONCURRENCY
        options.rounds, options.out = max(ROUNDS, options.rounds), RESULTS
    options.peers = options.peers.resolve()
    return options


def _install(names: Sequence[str], peers: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-install-") as folder:
        for name in names:
            job = Job(jobs.write(Path(folder) / "data.jsonl", SHORT), SHORT, "http://127.0.0.1:1/v1", 1, Path(folder))
            try:
                HARNESSES[name].prepare(job, peers)
                print(f"{name} {HARNESSES[name].version}: there")
            except install.Missing as missing:
                print(f"{name} {HARNESSES[name].version}: {missing}")


class Session:
    """One run of the benchmark."""

    def __init__(self, options: argparse.Namespace, record: Callable[..., None]) -> None:
        self.options, self.record = options, record
        self.core, self.load_core = machine.cores()
        os.sched_setaffinity(0, {self.load_core})
        try:
            self.engine = Engine(self.load_core)
        except install.Missing as missing:
            raise SystemExit(str(missing)) from missing

    def rounds(self) -> None:
        """Every harness once with few samples that do not count, then every round."""
        for name in list(self.options.only):
            try:
                self._run(name, -1, "warm-up", SHORT)
            except install.Missing as missing:
                print(f"{name} is left out: {missing}", file=sys.stderr)
                self.record("left_out", harness=name, reason=str(missing))
                self.options.only.remove(name)
        for number in range(self.options.rounds):
            for name in self.options.only:
                for size, samples in (("short", SHORT), ("full", self.options.samples)):
                    self.record("run", **self._run(name, number, size, samples))

    def _run(self, name: str, number: int, size: str, samples: int) -> dict[str, Any]:
        """One run of one harness, and whether it did what it was asked."""
        harness = HARNESSES[name]
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as place:
            folder = Path(place)
            data = jobs.write(folder / "data.jsonl", samples)
            job = Job(data, samples, f"{self.engine.urls[0]}/v1", self.options.concurrency, folder)
            launch, log = harness.prepare(job, self.options.peers), folder / "log.txt"
            machine.quiet((self.core, self.load_core), self.options.wait)
            asked = self.engine.set(gap=0, chunks=1)["answers"]
            busy, own, since = self._busy(), self._own(), time.monotonic()
            usage = measured.run(launch.command, launch.env, self.core, folder, log, PATIENCE_S)
            wall, busy, own = time.monotonic() - since, self._busy() - busy, self._own() - own
            asked = self.engine.set(gap=0, chunks=1)["answers"] - asked
            problem = _problem(job, usage.code, asked, lambda: launch.read(log), log)
        foreign = round(max(0.0, (busy - own - usage.cpu_s) / wall), 3)
        row = {
            "harness": name,
            "version": harness.version,
            "round": number,
            "size": size,
            "samples": samples,
            "wall_s": usage.wall_s,
            "cpu_s": usage.cpu_s,
            "peak_mb": usage.peak_mb,
            "foreign": foreign,
            "good": not problem,
            "problem": problem,
        }
        print(
            f"{name:12} {size:8} {samples:6,} samples: {usage.wall_s:7.2f} s, {usage.cpu_s:7.2f} CPU s, "
            f"{usage.peak_mb:6.0f} MB, others {foreign:.2f} cores {problem}",
            file=sys.stderr,
        )
        return row

    def statistics(self) -> None:
        """The statistics of large runs, in a process of their own."""
        for number in range(self.options.rounds):
            with tempfile.TemporaryDirectory(prefix="bench-statistics-") as place:
                log = Path(place) / "log.txt"
                command = [sys.executable, "-m", "benchmarks.harness.statistics"]
                env = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(self.options.peers / "bytecode")}
                machine.quiet((self.core, self.load_core), self.options.wait)
                usage = measured.run(command, env, self.core, Path(place), log, PATIENCE_S)
                lines = log.read_text(encoding="utf-8").splitlines()
                if usage.code != 0:
                    raise SystemExit(f"the statistics ended with {usage.code}: {' / '.join(lines[-5:])}")
                for line in lines:
                    self.record("statistics", round=number, **json.loads(line))
                print(f"statistics: {usage.wall_s:.2f} s, {usage.peak_mb:.0f} MB", file=sys.stderr)

    def _busy(self) -> float:
        return sum(machine.busy_s(core) for core in (self.core, self.load_core))

    def _own(self) -> float:
        times = os.times()
        return times.user + times.system + self.engine.process.cpu_s()


def _problem(job: Job, code: int | None, asked: int, read: Callable[[], Outcome], log: Path) -> str:
    """Why a run does not count; empty when it does."""
    if code != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
        ended = f"it took longer than {PATIENCE_S:g} s" if code is None else f"it ended with {code}"
        return f"{ended}: {' / '.join(tail)}"
    found, wanted = read(), Outcome(job.samples, job.right)
    if found != wanted:
        expected = f"expected {wanted.right} of {wanted.samples}"
        return f"it scored {found.samples} samples, {found.right} of them right; {expected}"
    return "" if asked == job.samples else f"it asked the engine {asked} times for {job.samples} samples"


if __name__ == "__main__":
    main()
