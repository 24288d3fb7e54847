"""Turns of gateways: the interval of a median holds it as often as it says, and a table tells ratios within a turn."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.pairs import interval, table
from tests.house import ROOT

TURNS = [
    {"one": {"rate": 1000.0, "cpu_us": 100.0}, "other": {"rate": 900.0, "cpu_us": 110.0}},
    {"one": {"rate": 2000.0, "cpu_us": 50.0}, "other": {"rate": 1700.0, "cpu_us": 60.0}},
    {"one": {"rate": 1000.0, "cpu_us": 100.0}, "other": {"rate": 950.0, "cpu_us": 105.0}},
]


@pytest.mark.parametrize(
    ("count", "ranks"),
    # Tables of the sign test's interval for a median at 95 % (Conover, Practical Nonparametric Statistics, table A3).
    [(5, (0, 4)), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (10, (1, 8)), (20, (5, 14)), (40, (13, 26))],
)
def test_an_interval_lies_between_these_ranks(count: int, ranks: tuple[int, int]) -> None:
    values = [float(value) for value in range(count)]
    Random(1).shuffle(values)
    assert interval(values) == ranks


def test_an_interval_holds_the_median_as_often_as_it_says() -> None:
    draws = Random(7)
    runs = [interval([draws.lognormvariate(0.0, 1.0) for _ in range(20)]) for _ in range(2000)]
    assert 0.95 <= sum(low <= 1.0 <= high for low, high in runs) / len(runs) <= 0.98


def test_a_table_tells_ratios_within_a_turn_of_rounds_that_are_started_anew() -> None:
    assert table(["one", "other"], [[turn] for turn in TURNS]).splitlines()[2:] == [
        "| one | 1,000 | – | 100 | – |",
        "| other | 950 | 0.900 (0.850–0.950) | 105 | 1.100 (1.050–1.200) |",
    ]
    assert table(["one", "other"], [TURNS, TURNS]).splitlines()[-1] == (
        "| other | 950 | 0.900 (0.900–0.900) | 105 | 1.100 (1.100–1.100) |"
    )


def test_a_gateway_that_is_none_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pairs", "--of", "tollgate,traefik"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no gateway traefik: choose from nginx, litellm" in done.stderr
