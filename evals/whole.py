"""Files that are written whole or not at all: on a full disk, what was there stays."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end, unless an error does. Raises OSError.

    Of a link it is the file that it names; what is no file, such as a pipe, is written to as it is.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        yield target
        return
    made = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield made
        if target.exists():
            shutil.copymode(target, made)
        made.replace(target)
    finally:
        with suppress(OSError):  # of a folder that is none: why nothing was written is told by then
            made.unlink(missing_ok=True)
