import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from evals.cli import main
from evals.cli.common import DEFAULT_KEY, Command, GateCommand, api_key, console
from gateway.contracts.errors import InputError

CRASH = """
import click
from evals.cli.common import {kind}

@click.command(cls={kind})
def crash():
    raise ZeroDivisionError("a defect")

crash([])
"""

TELL = """
import click
from evals.cli.common import {kind}, console

@click.command(cls={kind})
def told():
    {say}("passed")
    raise click.exceptions.Exit(0)

told({flags})
"""


@pytest.mark.parametrize("kind", [Command, GateCommand])
def test_an_expected_error_is_one_message_and_exit_code_3(kind: type[click.Command]) -> None:
    @click.command(cls=kind)
    def broken() -> None:
        raise InputError("what to do")

    result = CliRunner().invoke(broken, [])
    assert (result.exit_code, result.stderr, result.stdout) == (3, "Error: what to do\n", "")


@pytest.mark.parametrize(("kind", "code"), [(Command, 2), (GateCommand, 3)])
def test_wrong_flags(kind: type[click.Command], code: int) -> None:
    @click.command(cls=kind)
    def strict() -> None:
        raise click.UsageError("not together")

    assert CliRunner().invoke(strict, ["--nope"]).exit_code == code
    assert CliRunner().invoke(strict, []).exit_code == code


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_gates_own_exit_codes_stay(code: int) -> None:
    @click.command(cls=GateCommand)
    def decided() -> None:
        raise click.exceptions.Exit(code)

    hook = sys.excepthook
    assert CliRunner().invoke(decided, []).exit_code == code
    assert sys.excepthook is hook


@pytest.mark.parametrize(("kind", "code"), [("Command", 1), ("GateCommand", 3)])
def test_a_defect_shows_its_traceback_and_is_never_a_verdict(kind: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH.format(kind=kind)], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "ZeroDivisionError: a defect" in done.stderr


@pytest.mark.parametrize(("kind", "code"), [(Command, 130), (GateCommand, 3)])
def test_a_command_that_is_stopped_says_so_and_its_code_is_no_answer(kind: type[click.Command], code: int) -> None:
    @click.command(cls=kind)
    def stopped() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(stopped, [])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: stopped before it ")


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(
    ("say", "flags", "error"),
    [
        ("click.echo", "[]", "nobody read the output"),
        ("console().print", "[]", "nobody read the output"),
        ("missing", "[]", "NameError"),
        ("click.echo", "['--nope']", "No such option"),
    ],
)
def test_an_answer_that_a_closed_pipe_swallowed_is_none(say: str, flags: str, error: str, *, heard: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", TELL.format(kind="GateCommand", say=say, flags=flags)],
        stdout=writer,
        stderr=subprocess.PIPE if heard else writer,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 3
    assert not heard or error in done.stderr


@pytest.mark.parametrize("say", ["click.echo", "console().print"])
def test_a_closed_pipe_of_any_command_is_an_error_of_its_own(say: str) -> None:
    """Not 1, which some commands answer with, nor 0: what was not told may have been that evidence is missing."""
    reader, writer = os.pipe()
    os.close(reader)
    tell = [sys.executable, "-c", TELL.format(kind="Command", say=say, flags="[]")]
    done = subprocess.run(tell, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (
        3,
        "Error: nobody read the output to its end; what goes to files is there\n",
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["run", "--model", "m", "--dataset", "d.jsonl", "--dry-run", "--temperature"],
        ["run", "--model", "m", "--dataset", "d.jsonl", "--dry-run", "--deadline"],
        ["gate", "--candidate", "run.jsonl", "--margin"],
        ["gate", "--candidate", "run.jsonl", "--at-least"],
        ["compare", "a.jsonl", "b.jsonl", "--classical", "--margin"],
        ["judge", "measure", "judge.yaml", "labels.jsonl", "--threshold"],
        ["pass-at-k", "run.jsonl", "--threshold"],
        ["data", "lint", "d.jsonl", "--similar"],
    ],
    ids=lambda flags: " ".join([flags[0], flags[-1]]),
)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_option(flags: list[str], value: str) -> None:
    """NaN lies within all bounds: neither below the least nor above the most."""
    done = CliRunner().invoke(main, [*flags, value])
    assert done.exit_code == (3 if flags[0] == "gate" else 2), done.output
    assert f"Invalid value for '{flags[-1]}'" in done.stderr


def test_tables_have_room_where_there_is_no_terminal() -> None:
    assert console().width >= 120


def test_a_key_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEFAULT_KEY, raising=False)
    assert api_key(DEFAULT_KEY) is None
    (tmp_path / "key").write_text("tg-of-the-file\n")
    monkeypatch.setenv(f"{DEFAULT_KEY}_FILE", str(tmp_path / "key"))
    assert api_key(DEFAULT_KEY) == "tg-of-the-file"
    monkeypatch.setenv(DEFAULT_KEY, "tg-of-the-variable")
    assert api_key(DEFAULT_KEY) == "tg-of-the-variable"
    monkeypatch.setenv("OTHER_FILE", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="nothing"):
        api_key("OTHER")
