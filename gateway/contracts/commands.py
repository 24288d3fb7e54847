"""What the two command lines share: numbers that are some, and an end where nothing can be told."""

import errno
import math
import os
import sys
from typing import Any, ClassVar

import click

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk says that takes no more."""


class Number(click.FloatRange):
    """A finite number within bounds. NaN is neither below the least nor above the most, so click lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"expected a number, found {value!r}", param, ctx)
        return found


class Commands(click.Group):
    """All commands of a program. `unwritten` is its exit code where a full disk takes no more of what it tells."""

    unwritten: ClassVar[int]

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command; a full disk behind stdout is one line."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.filename is not None or error.errno not in _FULL:
                raise
            click.echo(f"Error: what was to be told cannot be written: {error.strerror}", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail once more
            sys.exit(self.unwritten)
