"""The count of instructions: what valgrind says is read, and told as a ratio; without it the reason is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.instructions import Uncounted, counted, table
from tests.house import ROOT

SAID = "==7== \n==7== I refs:        1,234,567,890\n"


def test_what_valgrind_says_is_read() -> None:
    assert counted(SAID) == 1_234_567_890
    with pytest.raises(Uncounted, match="found: no such tool"):
        counted("no such tool")


def test_counts_stand_beside_those_of_the_plain_gateway() -> None:
    counts = {
        "plain": {"answer": 400_000.0, "drain": 500_000.0},
        "everything": {"answer": 480_000.0, "drain": 550_000.0},
    }
    assert table(counts).splitlines()[2:] == [
        "| plain | 400 k (1.00 ×) | 500 k (1.00 ×) |",
        "| everything | 480 k (1.20 ×) | 550 k (1.10 ×) |",
    ]


def test_without_valgrind_the_reason_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.instructions"]
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "valgrind is not installed" in done.stderr


def test_what_is_counted_is_answered(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.instructions", "--run", "64", "everything", "--drain"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
