"""Files that are written whole or not at all: on a full disk, what was there stays. And not over what is another's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def may_write(path: Path, first: bytes) -> bool:
    """Whether a file may be written here: none is there, or one that is empty or begins so, in any case of letters.

    Raises OSError, for a folder too.
    """
    if not _kept(path):
        return True
    with path.open("rb") as file:
        head = file.read(len(first))
    return head.lower() in (b"", first.lower())


def _kept(path: Path) -> bool:
    """Whether what is there keeps what is written to it; a folder is told to be one when it is opened."""
    return path.is_file() or path.is_dir()


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end, unless an error does. Raises OSError.

    Of a link it is the file that it names; what is no file, such as a pipe, is written to as it is.
    """
    target = path.resolve()
    if target.exists() and not _kept(target):
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
