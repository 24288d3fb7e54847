"""Two or more gateways in short turns under the same load: what one costs against another on a machine that is shared.

    python -m benchmarks.pairs                                    # everything against plain: five minutes
    python -m benchmarks.pairs --of vllm-router,tollgate --rounds 3
    python -m benchmarks.pairs --cell saturated --json
    python -m benchmarks.pairs --cell all --rounds 9 --turns 3    # every load in each round: half an hour

All of them run at once on one core, and only the one whose turn it is has anything to do. A shared machine is fast and
slow by the minute; within a turn of a few seconds it hardly changes, so each turn gives ratios to the first gateway.
What is told is the median of rounds, in each of which the gateways are started anew, with an interval that holds the
true one in 95 of 100 runs of six rounds or more. CPU time is that until a while after the load's end: rows that are
stored later than their answer are paid for.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import comb
from pathlib import Path

from benchmarks import install, machine
from benchmarks.bench import SETTLE_S, Engine, Failed, Running, load_command, result_of, running
from benchmarks.cells import CELLS, WARM_UP, Cell
from benchmarks.gateways import GATEWAYS, Place

CONFIDENCE = 0.95
COMPARED = tuple(name for name in CELLS if name != "memory")
WHAT = {"rate": "per second", "cpu_us": "CPU µs of one", "p50_us": "p50 µs", "p99_us": "p99 µs"}
"""Answers (of streams: chunks) a second, CPU for one, and the time until an answer (of streams: its first token)."""
Turn = Mapping[str, Mapping[str, float]]
Round = Mapping[str, Sequence[Turn]]
"""The turns of each load, by its name, of gateways that were started once."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval of a median, from ranks alone (binomial, as of the sign test): the values may be distributed anyhow.

    The narrowest that holds it with `CONFIDENCE`; with fewer than six values the whole range, which holds it with less.
    """
    ordered, count = sorted(values), len(values)
    rank, outside = 0, 2 / 2**count
    while rank < (count - 1) // 2:
        outside += 2 * comb(count, rank + 1) / 2**count
        if outside > 1.0 - CONFIDENCE:
            break
        rank += 1
    return ordered[rank], ordered[count - 1 - rank]


def table(names: Sequence[str], rounds: Sequence[Round]) -> str:
    """Medians of each gateway, and over the rounds, of its ratios to the first: a round's is the median of its turns.

    A gateway that is started anew lies elsewhere in memory and is a few percent faster or slower, so turns of one start
    say nothing of another; the interval is that of the rounds.
    """
    lines = [f"| load | gateway | {' | '.join(f'{title} | × {names[0]}' for title in WHAT.values())} |"]
    lines.append(f"| --- | --- |{' ---: |' * 2 * len(WHAT)}")
    for cell in rounds[0]:
        lines += _rows(CELLS[cell].title, names, [each[cell] for each in rounds])
    return "\n".join(lines)


def _rows(load: str, names: Sequence[str], rounds: Sequence[Sequence[Turn]]) -> list[str]:
    first, turns, lines = names[0], [turn for each in rounds for turn in each], []
    for name in names:
        told = []
        for what in WHAT:
            told.append(f"{statistics.median(turn[name][what] for turn in turns):,.0f}")
            ratios = [statistics.median(turn[name][what] / turn[first][what] for turn in each) for each in rounds]
            low, high = interval(ratios)
            told.append("–" if name == first else f"{statistics.median(ratios):.3f} ({low:.3f}–{high:.3f})")
        lines.append(f"| {load} | {name} | {' | '.join(told)} |")
    return lines


def cpu_s(process: machine.Process) -> float:
    """CPU seconds of a process so far, to the nanosecond: `/proc` has only hundredths (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process.pid << 3) | 2)


def measure(engine: Engine, cell: Cell, gateway: Running, core: int) -> dict[str, float]:
    """One turn of one gateway, which runs on `core`. Raises Failed."""
    answer_bytes = engine.set(gap=cell.gap_us, chunks=cell.chunks)["answer_bytes"]
    assert gateway.process is not None
    before = cpu_s(gateway.process)
    load_core = core if cell.one_core else engine.core
    with engine.on(load_core):
        load = machine.Process(load_command(cell, gateway, answer_bytes), load_core, folder=install.CACHE)
        result = result_of(load, cell.seconds + cell.grace_s + 40, gateway)
    time.sleep(SETTLE_S)
    spent = cpu_s(gateway.process) - before
    done = result["words" if cell.stream else "good"]
    if not done or any(result["failed"].values()):
        raise Failed(f"{gateway.name} gave {done} good answers, and failed: {result['failed']}")
    took = result["first_word_us" if cell.stream else "latency_us"]
    rate = result["words_per_s" if cell.stream else "answers_per_s"]
    return {"rate": rate, "cpu_us": spent / done * 1e6, "p50_us": took["p50"], "p99_us": took["p99"]}


def compare(names: Sequence[str], cells: Sequence[Cell], count: int, core: int, load_core: int) -> Round:
    """One round: `count` turns of each load, each in the opposite order of the one before.

    Raises Failed, and Missing where a gateway is not here.
    """
    with ExitStack() as stack:
        engine = Engine(load_core)
        stack.callback(engine.process.stop)
        gateways = []
        for name in names:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"pairs-{name}-")))
            place = Place(machine.free_port(), engine.urls, folder)
            launch = GATEWAYS[name](place)
            gateways.append(stack.enter_context(running(name, launch, place.port, engine, core, folder)))
        for gateway in gateways:
            for warm_up in WARM_UP:
                measure(engine, warm_up, gateway, core)
        turns: dict[str, list[Turn]] = {cell.name: [] for cell in cells}
        for number in range(count):
            order = gateways if number % 2 else gateways[::-1]
            for cell in cells:
                turns[cell.name].append({gateway.name: measure(engine, cell, gateway, core) for gateway in order})
    return turns


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name in GATEWAYS if name != "direct"]
    parser.add_argument("--of", default="tollgate-plain,tollgate", help=f"gateways, the first is 1: {', '.join(known)}")
    parser.add_argument("--cell", default="plain64", help=f"loads, or all: {', '.join(COMPARED)} (plain64)")
    parser.add_argument("--rounds", type=int, default=6, help="in each, the gateways are started anew (6)")
    parser.add_argument("--turns", type=int, default=6, help="of each load in a round (6)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in a turn, for each gateway (2)")
    parser.add_argument("--json", action="store_true", help="every turn")
    options = parser.parse_args()
    names = options.of.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no gateway {', '.join(unknown)}: choose from {', '.join(known)}")
    loads = COMPARED if options.cell == "all" else options.cell.split(",")
    if unknown := [load for load in loads if load not in COMPARED]:
        parser.error(f"no load {', '.join(unknown)}: choose from {', '.join(COMPARED)}, or all")
    machine.allow_many_files()
    install.CACHE.mkdir(exist_ok=True)
    cells = [replace(CELLS[load], seconds=options.seconds, warm_up_s=0.0) for load in loads]
    core, load_core = machine.cores()
    os.sched_setaffinity(0, {load_core})
    try:
        rounds = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            rounds.append(compare(names, cells, options.turns, core, load_core))
    except (install.Missing, Failed) as error:
        sys.exit(f"benchmarks.pairs: {error}")
    print(json.dumps(rounds) if options.json else table(names, rounds))


if __name__ == "__main__":
    main()
