"""How many bytecodes of Python a request takes inside the gateway, and in which functions.

    python -m benchmarks.bytecodes                      # everything against plain, and where the difference is
    python -m benchmarks.bytecodes --most 40            # more functions
    python -m benchmarks.bytecodes --json

A request's time goes by their number, 10 ns each or so, more than by instructions: most likely because its code runs
once and not in a loop, so that each is a jump that the processor has to guess. They are the same in every run.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import uvloop

from benchmarks import inside, tollgate

REQUESTS = 640
SETUPS = {"plain": tollgate.PLAIN, "everything": tollgate.EVERYTHING}
ROOT = Path(__file__).resolve().parents[1]
Count = Mapping[str, float]
"""Function to bytecodes of a request."""


class Counting:
    """`with Counting() as counting:` counts what is run in it, by function."""

    def __init__(self) -> None:
        self.found: Counter[CodeType] = Counter()
        self._before = sys.gettrace()

    def __enter__(self) -> "Counting":
        """From here on."""
        sys.settrace(self._called)
        return self

    def __exit__(self, *exc: object) -> None:
        """Until here."""
        sys.settrace(self._before)

    def _called(self, frame: FrameType, _event: str, _told: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._run

    def _run(self, frame: FrameType, event: str, _told: Any) -> Any:
        if event == "opcode":
            self.found[frame.f_code] += 1
        return self._run


async def count(folder: Path, setup: str) -> Count:
    """Of one request, as the mean of many."""
    gateway = inside.made(folder, SETUPS[setup])
    await gateway.whole(REQUESTS)
    with Counting() as counting:
        await gateway.whole(REQUESTS)
    found: Counter[str] = Counter()
    for code, bytecodes in counting.found.items():
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT / "gateway"):
            found[f"{path.relative_to(ROOT)} {code.co_qualname}"] += bytecodes
    return {name: bytecodes / REQUESTS for name, bytecodes in found.items()}


def table(counts: Mapping[str, Count], most: int) -> str:
    """All bytecodes of each setup, and the functions in which everything takes most beyond plain."""
    plain, everything = counts["plain"], counts["everything"]
    more = {name: everything.get(name, 0.0) - plain.get(name, 0.0) for name in {*plain, *everything}}
    lines = ["| | plain | everything | more |", "| --- | ---: | ---: | ---: |"]
    rows = [("a request", sum(plain.values()), sum(everything.values()))]
    rows += [(name, plain.get(name, 0.0), everything.get(name, 0.0)) for name in sorted(more, key=lambda at: -more[at])]
    return "\n".join(
        [*lines, *(f"| {name} | {a:,.0f} | {b:,.0f} | {b - a:+,.0f} |" for name, a, b in rows[: most + 1])]
    )


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=20, help="functions that are told (20)")
    parser.add_argument("--json", action="store_true", help="every function")
    options = parser.parse_args()
    counts = {}
    for setup in SETUPS:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            os.chdir(folder)
            counts[setup] = runner.run(count(Path(folder), setup))
            os.chdir(ROOT)
    print(json.dumps(counts) if options.json else table(counts, options.most))


if __name__ == "__main__":
    main()
