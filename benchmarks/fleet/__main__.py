"""Routing policies side by side: eight simulated vLLM engines, the same requests for every gateway, in turns.

python -m benchmarks.fleet                   everything, into benchmarks/routing.jsonl and benchmarks/fleet/README.md
python -m benchmarks.fleet --only tollgate:score,vllm-router:cache_aware --seeds 2 --out look.jsonl           a look
python -m benchmarks.fleet --only no_gateway:in_turn,no_gateway:by_customer --seeds 1 --out look.jsonl   the harness
python -m benchmarks.fleet --table FILE                                                a table of what was measured
"""

import argparse
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import install, machine
from benchmarks.fleet import table
from benchmarks.fleet.contenders import CONTENDERS, DEFAULT
from benchmarks.fleet.session import Session
from benchmarks.fleet.workload import WORKLOADS

RESULTS, README = install.HERE / "routing.jsonl", install.HERE / "fleet/README.md"
SCALES = {"shared": 12.0, "unique": 10.0, "seldom": 16.0}
"""No gateway's core is busier than half at these, but for those that `contenders` slows down."""


def main() -> None:
    """Measure what was asked for, and print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(DEFAULT), help=f"of: {', '.join(CONTENDERS)}")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"of: {', '.join(WORKLOADS)}")
    parser.add_argument("--seeds", type=int, default=5, help="how many; every gateway gets the requests of each (5)")
    parser.add_argument("--first", type=int, default=1, help="the first seed, to go on where a run has ended (1)")
    parser.add_argument("--seconds", type=float, help="simulated seconds at the full rate, which are measured")
    parser.add_argument("--scale", type=float, help="simulated seconds in a real one")
    parser.add_argument("--attempts", type=int, default=2, help="how often a run that others disturb is repeated (2)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where measurements are appended")
    parser.add_argument("--table", type=Path, help="measure nothing; print the table of this file")
    options = parser.parse_args()
    if options.table is not None:
        print(table.write(table.read(options.table)))
        return
    only, workloads = _known(parser, options.only, CONTENDERS), _known(parser, options.workloads, WORKLOADS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the way out that ends what was started
    machine.allow_many_files()
    session_id = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    with options.out.open("a", encoding="utf-8") as out:

        def record(kind: str, **values: Any) -> None:
            out.write(json.dumps({"kind": kind, "session": session_id, **values}, ensure_ascii=False) + "\n")
            out.flush()

        record("machine", **machine.facts())
        scales = {name: options.scale or SCALES[name] for name in workloads}
        session = Session([CONTENDERS[name] for name in only], scales, options.seconds, options.attempts, record)
        session.rounds(range(options.first, options.first + options.seeds))
    report = table.write(table.read(options.out))
    print(report)
    if options.out == RESULTS:
        table.insert(README, report)


def _known(parser: argparse.ArgumentParser, text: str, known: dict[str, Any]) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no {', '.join(unknown)}: choose from {', '.join(known)}")
    return names


if __name__ == "__main__":
    main()
