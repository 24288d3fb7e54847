"""What the demo prints: headings with the time, commands as a person would type them, lines of progress."""

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console
from rich.rule import Rule

console = Console(highlight=False)
_STARTED = time.monotonic()


def step(title: str) -> None:
    """A heading with the time so far."""
    console.print()
    console.print(Rule(f"[bold]{title}[/] [dim]{time.monotonic() - _STARTED:.0f} s", align="left", style="cyan"))


def note(text: str, style: str = "") -> None:
    """A line."""
    console.print(text, style=style, soft_wrap=True)


def run(command: Sequence[str], *, env: dict[str, str] | None = None, expected: Sequence[int] = (0,)) -> int:
    """Show a command, run it with its output on the terminal, and end the demo when its exit code is unexpected."""
    note(f"$ {' '.join(command)}", style="dim")
    sys.stdout.flush()
    code = subprocess.run([installed(command[0]), *command[1:]], env=env, check=False).returncode
    if code not in expected:
        fail(f"{command[0]} {command[1]} ended with exit code {code}, expected {' or '.join(map(str, expected))}")
    return code


def installed(name: str) -> str:
    """The console command beside this interpreter."""
    return name if "/" in name else f"{sys.executable.rpartition('/')[0]}/{name}"


def done(started: float, lines: Sequence[str]) -> None:
    """The end."""
    console.print()
    console.print(Rule(f"[bold green]done in {time.monotonic() - started:.0f} s", align="left", style="green"))
    for line in lines:
        note(line)


def fail(message: str) -> NoReturn:
    """The end, the other way."""
    note(message, style="red")
    sys.exit(1)
