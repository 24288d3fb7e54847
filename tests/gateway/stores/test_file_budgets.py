"""The book of the workers of one machine: real processes, one of which is killed with its leases open."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.policy.budgets import Charge, Claim, Standing
from gateway.stores.budget_book import BookAway
from gateway.stores.file_budgets import FileBook

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import asyncio, sys
from pathlib import Path
from gateway.policy.budgets import Charge, Claim
from gateway.stores.file_budgets import FileBook

async def main(path, name, limit, amount, count, keep):
    book = FileBook(Path(path), lambda: 100.0, lambda: 100.0, lambda *told: None)
    print("ready", flush=True)
    sys.stdin.readline()
    taken = 0
    for number in range(count):
        lease = f"{name}-{number}"
        if (await book.reserve(lease, [Claim("a", limit, amount)], 60.0)).taken:
            taken += 1
            if not keep:
                book.settle(lease, [Charge("a", amount, amount - number % 2)])
    print(taken, flush=True)
    sys.stdin.readline()

asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path) -> tuple[FileBook, Clock]:
    clock = Clock()
    return FileBook(path, clock, clock, lambda name, before, after: None), clock


def worker(path: Path, name: str, *numbers: int) -> subprocess.Popen[str]:
    """A process that waits for a line, reserves, and tells how often it could."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), name, *map(str, numbers)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def said(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def test_law_2_four_processes_never_overspend(tmp_path: Path) -> None:
    path, limit, amount = tmp_path / "book.sqlite", 1001, 7
    book, _ = opened(path)
    await book.load("a", 0, 0.0, math.inf)
    processes = [worker(path, str(number), limit, amount, 125, 0) for number in range(4)]
    for process in processes:
        go(process)
    taken = sum(map(said, processes))
    for process in processes:
        process.communicate("\n")
    ((standing, _at),) = [each for each in await book.standings(["a"]) if each]
    assert standing.reserved == 0
    assert limit - amount < standing.spent <= limit
    assert taken * (amount - 1) <= standing.spent <= taken * amount
    # What is left is there for whoever fits.
    assert (await book.reserve("last", [Claim("a", limit, limit - standing.spent)], 60.0)).taken
    await book.close()


async def test_the_leases_of_a_worker_that_was_killed_end(tmp_path: Path) -> None:
    path = tmp_path / "book.sqlite"
    book, clock = opened(path)
    await book.load("a", 0, 0.0, math.inf)
    dying = worker(path, "dying", 10, 5, 2, 1)
    go(dying)
    assert said(dying) == 2
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    assert not (await book.reserve("1", [Claim("a", 10, 1)], 60.0)).taken
    clock.now += 60.0
    assert (await book.reserve("1", [Claim("a", 10, 10)], 60.0)).taken
    assert await book.standings(["a"]) == [(Standing(0, 10, 0), 0.0)]
    await book.close()


async def test_a_late_settlement_counts_though_its_lease_has_ended(tmp_path: Path) -> None:
    book, clock = opened(tmp_path / "book.sqlite")
    await book.load("a", 0, 0.0, 500.0)
    assert (await book.reserve("1", [Claim("a", 10, 10)], 60.0)).taken
    clock.now += 61.0
    assert await book.standings(["a"]) == [(Standing(0, 0, 0), 0.0)]
    book.settle("1", [Charge("a", 10, 4)])
    assert await book.standings(["a"]) == [(Standing(4, 0, 0), 0.0)]
    clock.now = 500.0
    await book.load("b", 0, 0.0, math.inf)
    assert await book.standings(["a"]) == [None]
    await book.close()


async def test_what_cannot_be_written_at_once_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "book.sqlite"
    book, _ = opened(path)
    await book.load("a", 0, 0.0, math.inf)
    assert (await book.reserve("1", [Claim("a", 10, 10)], 60.0)).taken
    book._file.execute("PRAGMA busy_timeout=0")
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    book.settle("1", [Charge("a", 10, 4)])
    with pytest.raises(BookAway, match="cannot be written"):
        await book.reserve("2", [Claim("a", 10, 1)], 60.0)
    stranger.execute("ROLLBACK")
    stranger.close()
    assert (await book.reserve("2", [Claim("a", 10, 6)], 60.0)).taken
    assert await book.standings(["a"]) == [(Standing(4, 6, 0), 0.0)]
    await book.close()
