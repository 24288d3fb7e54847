"""The count of bytecodes: what runs is counted by function, and everything stands beside the plain gateway."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bytecodes
from benchmarks.bytecodes import Counting, table
from tests.house import ROOT


def _twice(number: int) -> int:
    return number + number


def test_what_is_run_is_counted_each_time_and_nothing_after() -> None:
    with Counting() as counting:
        _twice(1)
    once = counting.found[_twice.__code__]
    _twice(1)
    assert counting.found[_twice.__code__] == once > 0
    with Counting() as again:
        _twice(1)
        _twice(1)
    assert again.found[_twice.__code__] == 2 * once


def test_functions_are_told_by_what_they_take_more() -> None:
    counts = {"plain": {"a": 40.0, "b": 10.0}, "everything": {"a": 50.0, "b": 5.0, "c": 30.0}}
    assert table(counts, 2).splitlines()[2:] == [
        "| a request | 50 | 85 | +35 |",
        "| c | 0 | 30 | +30 |",
        "| a | 40 | 50 | +10 |",
    ]


def test_a_requests_functions_are_the_gateways_and_everything_takes_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytecodes, "REQUESTS", 64)
    found = {}
    for setup in bytecodes.SETUPS:
        folder = tmp_path / setup
        folder.mkdir()
        monkeypatch.chdir(folder)
        found[setup] = asyncio.run(bytecodes.count(folder, setup))
    assert all(name.startswith("gateway/") for count in found.values() for name in count)
    assert "gateway/policy/rules.py Book.decide" in found["everything"].keys() - found["plain"].keys()
    assert sum(found["everything"].values()) > sum(found["plain"].values()) > 1000


def test_it_says_what_it_does() -> None:
    command = [sys.executable, "-m", "benchmarks.bytecodes", "--help"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=True, timeout=60)
    assert "everything against plain" in done.stdout
