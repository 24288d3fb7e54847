"""Gateways for hours, while everything that they stand on is killed, stopped and told lies: what must hold, and memory.

python -m benchmarks.soak                                           30 minutes, into benchmarks/soak/README.md
python -m benchmarks.soak --minutes 3 --seed 7 --json look.json --logs /tmp/look                   a look
python -m benchmarks.soak --minutes 30 --no-faults                  load alone: what memory does by itself

Every few minutes the load pauses, and everything has to be as it was: each answer has its one row with its outcome,
nothing is open, in flight, waiting or reserved, all slots are there, keys and releases are as they were last said, and
no process has kept memory, files or threads. The exit code says whether all held.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import install, machine
from benchmarks.soak import report
from benchmarks.soak.checks import Checks, Quiet, metric
from benchmarks.soak.faults import Faults
from benchmarks.soak.load import Load, outcomes
from benchmarks.soak.stack import Stack, answers, stack
from tests.gateway import postgres, redis_server

README = install.HERE / "soak/README.md"
CLIENTS = 16
ROUNDS = 15
"""Quiet points of a long soak, apart from the first one."""
ROUND_S = (2.0, 150.0)
WARM_UP_S = 5.0
LINE_S = 10.0
LONG_S = 5.0


async def soak(options: argparse.Namespace, folder: Path) -> report.Found:
    """One soak."""
    draw = random.Random(options.seed)
    async with stack(folder, options.gateways, options.logs) as made:
        load = Load(made, random.Random(draw.random()))
        faults = Faults(made, load, random.Random(draw.random()))
        checks = Checks(made, load, time.monotonic(), time.time() - 1)
        others = [asyncio.create_task(load.client()) for _ in range(options.clients)]
        others.append(asyncio.create_task(_lines(made, load, faults, checks)))
        watched = asyncio.gather(*others)
        try:
            quiets = await _rounds(options, load, faults, checks, watched)
        finally:
            watched.cancel()
            await asyncio.gather(watched, return_exceptions=True)
    return report.judged(options.minutes, options.seed, load.words, faults.happened, quiets)


async def _rounds(
    options: argparse.Namespace, load: Load, faults: Faults, checks: Checks, watched: "asyncio.Future[list[None]]"
) -> list[Quiet]:
    """Load and faults, then quiet, again and again; first without faults."""
    whole_s = options.minutes * 60
    round_s = min(max(whole_s / ROUNDS, ROUND_S[0]), ROUND_S[1])
    quiets: list[Quiet] = []
    while len(quiets) < 2 or time.monotonic() < checks.began + whole_s:
        over = asyncio.Event()
        load.go()
        striking = asyncio.create_task(faults.until(over)) if quiets and not options.no_faults else None
        await asyncio.wait([watched], timeout=round_s if quiets else min(WARM_UP_S, round_s))
        over.set()
        if striking is not None:
            await striking
        if watched.done():
            watched.result()
        await load.pause()
        quiets.append(await checks.quiet())
        _say_quiet(quiets[-1])
    return quiets


async def _lines(made: Stack, load: Load, faults: Faults, checks: Checks) -> None:
    """A line every few seconds."""
    before: Counter[str] = Counter()
    while True:
        await asyncio.sleep(LINE_S)
        new = load.words - before
        before = Counter(load.words)
        told = [f"{time.monotonic() - checks.began:6.0f} s  {sum(new.values()):5d} answers: {outcomes(new)}"]
        for gateway in made.gateways:
            found = gateway.taken()
            if found is None or not await answers(gateway.url, 0.5):
                told.append(f"    {gateway.name}: {report.shown(found)}, does not answer")
                continue
            counts = [
                f"{name} {await metric(gateway, name)}" for name in ("open_requests", "in_flight", "ledger_lag_rows")
            ]
            told.append(f"    {gateway.name}: {report.shown(found)}; {', '.join(counts)}")
        if faults.now:
            told.append(f"    wrong now: {', '.join(faults.now)}")
        print("\n".join(told), flush=True)


def _say_quiet(quiet: Quiet) -> None:
    print(
        f"{quiet.at_s:6.0f} s  quiet after {quiet.took_s:.1f} s: {quiet.requests:,} requests, {quiet.rows:,} rows, "
        f"{quiet.lost} lost, {quiet.open} open, {quiet.reserved} reserved; "
        + "; ".join(f"{name} {report.shown(taken)}" for name, taken in quiet.taken.items()),
        flush=True,
    )
    if quiet.took_s > LONG_S:
        print(f"    waited for: {'; '.join(quiet.waited)[:300]}", flush=True)
    for said in quiet.wrong:
        print(f"    WRONG: {said}", flush=True)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="(30)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and requests (1)")
    parser.add_argument("--gateways", type=int, default=2, help="(2)")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"({CLIENTS})")
    parser.add_argument("--no-faults", action="store_true", help="load alone")
    parser.add_argument("--json", type=Path, help="a file for what was found")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of gateways and engines")
    parser.add_argument("--table", action="store_true", help=f"put the table into {README.name}")
    return parser.parse_args(arguments)


def main() -> None:
    """Soak, print the table, and say by the exit code whether all held."""
    options = options_of()
    if postgres.programs() is None or redis_server.BINARY is None:
        sys.exit("a soak needs PostgreSQL's programs and redis-server: install both")
    machine.allow_many_files()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        found = asyncio.run(soak(options, Path(folder)))
    text = report.table(found)
    print(text)
    if options.json is not None:
        options.json.write_text(json.dumps(report.values(found), ensure_ascii=False, indent=1) + "\n")
    if options.table:
        facts = machine.facts()
        report.insert(README, f"{text}\n- On {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}.")
    for said in found.wrong:
        print(f"WRONG: {said}", file=sys.stderr)
    sys.exit(0 if found.good else 1)


if __name__ == "__main__":
    main()
