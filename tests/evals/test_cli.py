import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from evals.cli import main

COMMANDS = [
    "run",
    "gate",
    "plan",
    "selftest",
    "compare",
    "report",
    "show",
    "pass-at-k",
    "import",
    "batch",
    "scorers",
    "keys",
    "verify",
    "index",
    "judge",
    "data",
]
HEAVY = ("pydantic", "numpy", "scipy", "aiohttp", "cryptography", "rich")


def test_help_lists_every_command_with_what_it_does() -> None:
    lines = CliRunner().invoke(main, ["--help"]).output.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    path = [name, "lint"] if name == "data" else [name]
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert f"evals {' '.join(path)} " in result.output.split("Examples:")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_what_the_list_calls_it(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["gaet"]).exit_code == 2


@pytest.mark.parametrize(("name", "code"), [("gate", 3), ("selftest", 3), ("verify", 3), ("run", 130)])
def test_one_that_is_stopped_while_it_loads_says_so(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def interrupted(module: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    result = CliRunner().invoke(main, [name])
    assert (result.exit_code, "stopped before it began" in result.stderr) == (code, True)


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from evals.cli import main
main(["--help"], standalone_mode=False)
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_loads_no_statistics_before_it_needs_them() -> None:
    modules = "evals.cli.run, evals.cli.gate, evals.cli.data"
    code = f"import sys, {modules}; print('scipy' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
