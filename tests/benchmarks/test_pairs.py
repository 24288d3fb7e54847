"""Turns of gateways: the interval of a median holds it as often as it says, and a table tells ratios within a turn."""

import subprocess
import sys
from random import Random

import pytest

from benchmarks.pairs import WHAT, interval, table
from tests.house import ROOT


def _turn(**gateways: tuple[float, float, float, float]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(WHAT, figures, strict=True)) for name, figures in gateways.items()}


TURNS = [
    _turn(one=(1000.0, 100.0, 10.0, 50.0), other=(900.0, 110.0, 11.0, 50.0)),
    _turn(one=(2000.0, 50.0, 5.0, 50.0), other=(1700.0, 60.0, 6.0, 100.0)),
    _turn(one=(1000.0, 100.0, 10.0, 50.0), other=(950.0, 105.0, 12.0, 75.0)),
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
    head, _, one, other = table(["one", "other"], [{"plain1": [turn]} for turn in TURNS]).splitlines()
    assert head == ("| load | gateway | per second | × one | CPU µs of one | × one | p50 µs | × one | p99 µs | × one |")
    assert one == "| 1 connection | one | 1,000 | – | 100 | – | 10 | – | 50 | – |"
    assert other == (
        "| 1 connection | other | 950 | 0.900 (0.850–0.950) | 105 | 1.100 (1.050–1.200) "
        "| 11 | 1.200 (1.100–1.200) | 75 | 1.500 (1.000–2.000) |"
    )
    assert table(["one", "other"], [{"plain1": TURNS}, {"plain1": TURNS}]).splitlines()[-1] == (
        "| 1 connection | other | 950 | 0.900 (0.900–0.900) | 105 | 1.100 (1.100–1.100) "
        "| 11 | 1.200 (1.200–1.200) | 75 | 1.500 (1.500–1.500) |"
    )


def test_a_table_tells_of_each_load_by_itself() -> None:
    rows = table(["one", "other"], [{"plain1": TURNS[:1], "plain16": TURNS[1:2]}]).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["one", "other", "one", "other"]
    assert [row.split(" | ")[0] for row in rows] == ["| 1 connection"] * 2 + ["| 16 connections"] * 2
    assert "0.900 (0.900–0.900)" in rows[1]
    assert "0.850 (0.850–0.850)" in rows[3]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--of", "tollgate,traefik"], "no gateway traefik: choose from nginx, litellm"),
        (["--cell", "plain16,memory"], "no load memory: choose from latency, plain1, plain16,"),
    ],
)
def test_a_gateway_or_a_load_that_is_none_is_told(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "benchmarks.pairs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
