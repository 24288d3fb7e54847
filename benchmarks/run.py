"""Compare gateways side by side on this machine, and write one table.

python benchmarks/run.py --all                                             everything, into results.jsonl and README.md
python benchmarks/run.py --only tollgate,vllm-router --cells plain64 --reps 2        a quick look at two, printed alone
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Run as a script: the folder above holds this package and the gateway.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import install, machine, table
from benchmarks.bench import SETTLE_S, Engine, Failed, Running, load_command, result_of, running
from benchmarks.cells import CELLS, WARM_UP, Cell
from benchmarks.gateways import GATEWAYS, Place

HERE = Path(__file__).resolve().parent
RESULTS, README = HERE / "results.jsonl", HERE / "README.md"
Record = Callable[..., None]
QUIET_S = 10.0
ATTEMPTS = 3
OPEN_S = 35.0


def main() -> None:
    """Measure what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every gateway and cell; writes results.jsonl and README.md")
    parser.add_argument("--only", type=_names(GATEWAYS), default=list(GATEWAYS), help="gateways, separated by commas")
    parser.add_argument("--cells", type=_names(CELLS), default=list(CELLS), help="cells, separated by commas")
    parser.add_argument("--reps", type=int, default=3, help="rounds; each measures every gateway in every cell (3)")
    parser.add_argument("--foreign", type=float, default=0.15, help="cores that others may use before it is repeated")
    parser.add_argument(
        "--realtime", action="store_true", help="before all others on a busy machine (root; a look only)"
    )
    parser.add_argument("--out", type=Path, default=install.CACHE / "last.jsonl", help="where the measurements go")
    options = parser.parse_args()
    if options.all:
        options.only, options.cells, options.out = list(GATEWAYS), list(CELLS), RESULTS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the way out that ends what was started
    machine.allow_many_files()
    if options.realtime:
        machine.go_first()
    install.CACHE.mkdir(exist_ok=True)
    with options.out.open("w", encoding="utf-8") as out:

        def record(kind: str, **values: Any) -> None:
            out.write(json.dumps({"kind": kind, **values}, ensure_ascii=False) + "\n")
            out.flush()

        measured = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        record("machine", **machine.facts(), measured=measured, realtime=options.realtime)
        session = Session(options.only, [CELLS[name] for name in options.cells], options.foreign, record)
        session.patience_s = 0.0 if options.realtime else QUIET_S
        session.rounds(options.reps)
    markdown = table.write(table.read(options.out))
    print(markdown)
    if options.all:
        table.insert(README, markdown)


def _names(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}: choose from {', '.join(known)}")
        return names

    return read


class Session:
    """One run of the harness."""

    def __init__(self, names: Sequence[str], cells: Sequence[Cell], foreign: float, record: Record) -> None:
        self.names, self.cells, self.foreign, self.record = list(names), cells, foreign, record
        self.patience_s = QUIET_S
        self.core, self.load_core = machine.cores()
        os.sched_setaffinity(0, {self.load_core})
        try:
            self.engine = Engine(self.load_core)
        except install.Missing as missing:
            raise SystemExit(str(missing)) from missing

    def rounds(self, count: int) -> None:
        """Every gateway in every cell, then all of it again: what is compared was measured within minutes."""
        try:
            for number in range(count):
                for name in list(self.names):
                    print(f"round {number + 1} of {count}: {name}", file=sys.stderr)
                    try:
                        self._gateway(name, number)
                    except (install.Missing, Failed) as error:
                        print(f"  left out: {error}", file=sys.stderr)
                        self.record("left_out", gateway=name, round=number, reason=str(error))
                        if isinstance(error, install.Missing):
                            self.names.remove(name)
        finally:
            self.engine.process.stop()

    def _gateway(self, name: str, number: int) -> None:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"bench-{name}-")))
            place = Place(machine.free_port(), self.engine.urls, folder)
            launch = GATEWAYS[name](place)
            machine.quiet((self.core, self.load_core), self.patience_s)
            with running(name, launch, place.port, self.engine, self.core, folder) as gateway:
                about = {"version": launch.version, "start_s": gateway.start_s, "idle_mb": gateway.idle_mb}
                self.record("start", gateway=name, round=number, **about)
                for cell in WARM_UP:
                    self._measure(cell, gateway)
                for cell in self.cells:
                    if gateway.process or cell.name != "memory":
                        self._cell(cell, gateway, number)
            if launch.audit is not None:
                books = launch.audit()
                self.record("ledger", gateway=name, round=number, asked=gateway.asked, words=gateway.words, books=books)

    def _cell(self, cell: Cell, gateway: Running, number: int) -> None:
        """Measure until nobody disturbs it, three times at most; of three disturbed ones the least disturbed counts."""
        attempts: list[dict[str, Any]] = []
        while len(attempts) < ATTEMPTS and not (attempts and attempts[-1]["foreign"] <= self.foreign):
            machine.quiet((self.core, self.load_core), self.patience_s)
            attempts.append(self._open(cell, gateway) if cell.name == "memory" else self._measure(cell, gateway))
            print(f"  {table.line(cell.name, attempts[-1])}", file=sys.stderr)
        best = min(attempts, key=lambda result: float(result["foreign"]))
        for result in attempts:
            about = {"noisy": result["foreign"] > self.foreign, "discarded": result is not best}
            self.record("cell", gateway=gateway.name, cell=cell.name, round=number, **about, **result)

    def _measure(self, cell: Cell, gateway: Running) -> dict[str, Any]:
        """One repetition: what the load generator saw, and what the gateway and the two cores did meanwhile."""
        counts = self.engine.set(gap=cell.gap_us, chunks=cell.chunks)
        core = self.core if cell.one_core else self.load_core
        with self.engine.on(core):
            own = (gateway.cpu_s, self.engine.process.cpu_s)
            used, busy, since = [read() for read in own], self._busy(), time.monotonic()
            load = machine.Process(load_command(cell, gateway, counts["answer_bytes"]), core, folder=HERE)
            bound = cell.warm_up_s + cell.seconds + cell.grace_s + 40
            result = result_of(load, bound, gateway)
            wall = time.monotonic() - since
            spent = [read() - before for read, before in zip(own, used, strict=True)]
            cores = [after - before for after, before in zip(self._busy(), busy, strict=True)]
            time.sleep(SETTLE_S)
        foreign = max(0.0, (sum(cores) - sum(spent) - result["cpu_s"]) / wall)
        result |= {
            "gateway_cpu_s": round(gateway.cpu_s() - used[0], 3),
            "engine_cpu_s": round(spent[1], 3),
            "foreign": round(foreign, 3),
        }
        return result | {"busy": round(cores[0] / wall, 3), "load_busy": round(cores[1] / wall, 3)}

    def _open(self, cell: Cell, gateway: Running) -> dict[str, Any]:
        """The gateway's memory while streams are open: each has begun, and is held until all have."""
        self.engine.set(gap=cell.gap_us, chunks=cell.chunks)
        load = machine.Process(load_command(cell, gateway, 0), self.load_core, folder=HERE)
        opened, until = 0, time.monotonic() + OPEN_S
        while opened < cell.connections and time.monotonic() < until and load.popen.poll() is None:
            time.sleep(0.1)
            opened = self.engine.open_streams()
        time.sleep(0.5)
        memory = gateway.memory_mb()
        self.engine.set(gap=0, chunks=cell.chunks)
        result = result_of(load, cell.seconds + cell.grace_s + 40, gateway)
        return result | {"opened": opened, "memory_mb": memory and round(memory, 1), "foreign": 0.0}

    def _busy(self) -> list[float]:
        return [machine.busy_s(core) for core in (self.core, self.load_core)]


if __name__ == "__main__":
    main()
