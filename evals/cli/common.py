"""What every command shares: how errors end a command, and where tables are printed."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TextIO

import click
from rich.console import Console

from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError, TollgateError

BROKEN = 3
"""Exit code when there is no evidence to decide on: a wrong file, missing evidence, an invalid gate."""
_PLAIN_WIDTH = 160


DEFAULT_KEY = "TOLLGATE_API_KEY"
"""The variable of the virtual key: the only one that may be missing, for an engine without a gateway asks for none."""


def api_key(variable: str) -> str | None:
    """The key that a variable holds, or the file that a variable of its name with `_FILE` names.

    Raises InputError for one that was named and is not set, and DocumentError for a file that cannot be read.
    """
    value = os.environ.get(variable) or None
    if value is None and (file := os.environ.get(f"{variable}_FILE")):
        value = Secret(file=Path(file)).read()
    if value is None and variable != DEFAULT_KEY:
        raise InputError(f"expected a key in the variable {variable!r}, found none: export it, or do not name it")
    return value


def forget_empty(path: Path) -> None:
    """Remove a log that holds its manifest and nothing else: it would stand in a later run's way."""
    if path.is_file() and path.read_bytes().count(b"\n") <= 1:
        path.unlink()


class Broken(click.ClickException):
    """An expected error: one message on stderr. Its exit code stands where nobody reads the message, too."""

    exit_code = BROKEN

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        try:
            super().show(file)
        except BrokenPipeError:
            _hush(sys.stderr)


class Interrupted(click.ClickException):
    """Stopped by the user; the exit code is the shell's for SIGINT."""

    exit_code = 130


class BrokenUsage(Broken, click.UsageError):
    """Wrong flags of a command whose exit code 2 means something else."""


class Command(click.Command):
    """A command whose expected errors are one message on stderr and exit code 3; one that was stopped ends with 130.

    A closed pipe (`| head -1`) is such an error: the exit code may hang on what was not told yet.
    """

    unheard = "nobody read the output to its end; what goes to files is there"

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. An unexpected exception propagates."""
        try:
            return super().invoke(ctx)
        except TollgateError as error:
            raise Broken(str(error)) from error
        except KeyboardInterrupt:
            raise self.stopped() from None
        except (BrokenPipeError, SystemExit):  # rich makes SystemExit(1) of a closed pipe
            # Left alone it is 1, which no command says of itself, and the rest could be an answer that nobody heard.
            _hush(sys.stdout)
            raise Broken(self.unheard) from None

    def stopped(self) -> click.ClickException:
        """What it says where it was stopped and has said nothing yet."""
        return Interrupted("stopped before it was done: run the same command again")


class GateCommand(Command):
    """A command whose exit codes 1 and 2 mean something: all that kept it from telling one, crashes too, is 3."""

    unheard = "nobody read the output to its end, so nothing counts as told: leave the pipe open"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the flags."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise BrokenUsage(error.format_message(), error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        previous, sys.excepthook = sys.excepthook, _exit_broken
        try:
            result = super().invoke(ctx)
        except click.exceptions.Exit:
            sys.excepthook = previous
            raise
        except click.UsageError as error:
            raise BrokenUsage(error.format_message(), error.ctx) from error
        sys.excepthook = previous
        return result

    def stopped(self) -> click.ClickException:
        """130 would do for people; a pipeline knows four codes."""
        return Broken("stopped before it told what it decided: run the same command again")


def _hush(stream: TextIO) -> None:
    """Let what is left for a closed pipe go nowhere: Python would write it at the end, fail, and exit with 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _exit_broken(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python ends a crashed program with 1, which a gate's caller would read as `fail`."""
    with suppress(OSError):
        sys.__excepthook__(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(BROKEN)


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; wide enough for every table where there is none."""
    made = Console(stderr=stderr, highlight=False, emoji=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, width=_PLAIN_WIDTH)
