"""Both command lines end with one line where a full disk takes no more, and take no number that is none."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.contracts.commands import Number


@click.command()
@click.option("--least", type=Number(min=0))
@click.option("--within", type=Number(0, 1, min_open=True))
def told(least: float | None, within: float | None) -> None:
    click.echo(f"{least} {within}")


def test_numbers_within_their_bounds_pass() -> None:
    assert CliRunner().invoke(told, ["--least", "1e300", "--within", "1"]).output == "1e+300 1.0\n"


@pytest.mark.parametrize("option", ["--least", "--within"])
@pytest.mark.parametrize("value", ["nan", "-NaN", "inf", "-inf", "-1", "many"])
def test_what_is_no_number_is_refused_by_the_name_of_its_option(option: str, value: str) -> None:
    done = CliRunner().invoke(told, [option, value])
    assert (done.exit_code, f"Invalid value for '{option}'" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("program", "flags", "code"),
    [
        ("gateway", "--help", 1),
        ("gateway", "--version", 1),
        ("gateway", "keys --help", 1),
        ("evals", "scorers", 3),
        ("evals", "--help", 3),
        ("evals", "keys --help", 3),
        ("evals", "verify --help", 3),
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(program: str, flags: str, code: int) -> None:
    call = f"from {program}.cli import main; main({flags.split()!r})"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", call], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "Error: what was to be told cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (code, said)
