"""How many instructions a request takes inside the gateway: a count that nothing else on the machine changes.

    python -m benchmarks.instructions                   # four counts, about two minutes
    python -m benchmarks.instructions --json

Times of the same code differ by a factor of two from hour to hour where a machine is shared: count before you compare
two versions. It needs valgrind. Each count is a difference: the gateway is started and answers few requests, then
many, and what start and end take falls out. `drain` adds what comes after the answer: lines, database and metrics.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import uvloop

from benchmarks import inside, tollgate

FEW, MANY = 640, 1_920
"""Requests of the two runs; each has a warm interpreter after a few hundred."""
SETUPS = {"plain": tollgate.PLAIN, "everything": tollgate.EVERYTHING}
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")


class Uncounted(Exception):
    """There is no count, and why."""


def counted(said: str) -> int:
    """The instructions that valgrind's cachegrind says were run. Raises Uncounted."""
    found = COUNTED.search(said)
    if found is None:
        raise Uncounted(f"expected valgrind to say `I refs`, found: {said.strip()[-400:] or 'nothing'}")
    return int(found[1].replace(",", ""))


def table(counts: Mapping[str, Mapping[str, float]]) -> str:
    """Thousands of instructions of a request, and how many times those of the plain gateway they are."""
    lines = ["| | an answer | with drain |", "| --- | ---: | ---: |"]
    plain = counts["plain"]
    for name, found in counts.items():
        told = (f"{found[what] / 1000:,.0f} k ({found[what] / plain[what]:.2f} ×)" for what in ("answer", "drain"))
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


def count(setup: str, *, drain: bool) -> float:
    """Instructions of one request. Raises Uncounted."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Uncounted("valgrind is not installed: `apt-get install valgrind`, or the like")
    options = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    runs = [
        subprocess.Popen(
            [valgrind, *options, sys.executable, "-m", "benchmarks.instructions", "--run", str(requests), setup,
             *(["--drain"] if drain else [])],
            env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for requests in (FEW, MANY)
    ]  # fmt: skip
    few, many = (counted(run.communicate(timeout=600)[1]) for run in runs)
    return (many - few) / (MANY - FEW)


async def answer(folder: Path, setup: str, requests: int, *, drain: bool) -> None:
    """What is counted."""
    gateway = inside.made(folder, SETUPS[setup])
    await gateway.whole(requests)
    if drain:
        gateway.drain()


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", nargs=2, metavar=("REQUESTS", "SETUP"), help=argparse.SUPPRESS)
    parser.add_argument("--drain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            os.chdir(folder)
            runner.run(answer(Path(folder), options.run[1], int(options.run[0]), drain=options.drain))
        return
    try:
        counts = {setup: {"answer": count(setup, drain=False), "drain": count(setup, drain=True)} for setup in SETUPS}
    except Uncounted as error:
        sys.exit(f"benchmarks.instructions: {error}")
    print(json.dumps(counts) if options.json else table(counts))


if __name__ == "__main__":
    main()
