"""What goes wrong with a Qdrant, server or folder, as one clear error."""

import sqlite3
from _pickle import UnpicklingError  # the class alone: Qdrant unpickles, nothing here does
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.contracts.errors import InputError

LOCAL = (ValueError, OSError, sqlite3.Error)
"""How local mode says what a server says with a status."""
_DAMAGED = (
    *(*LOCAL, UnpicklingError, LookupError, TypeError, AttributeError),
    *(ImportError, ArithmeticError, EOFError, MemoryError),
)
"""What opening a folder raises whose files are not whole: local mode keeps each point as a pickle in SQLite."""


@contextmanager
def opening(location: str) -> Iterator[None]:
    """Around the opening of a folder. Raises InputError for one that is in use, damaged, or no store."""
    try:
        yield
    except RuntimeError as error:
        raise InputError(
            f"the store {location!r} is open in another process, and a folder takes one at a time: wait for it, or use "
            "a Qdrant server (http://HOST:6333)"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"the store {location!r} cannot be opened: it, or what its path names as a folder, is a file: name a folder"
        ) from error
    except _DAMAGED as error:
        raise InputError(
            f"the store {location!r} cannot be opened: {type(error).__name__}: {error}: it is damaged, or no store; "
            "delete it and index the documents again, or name another"
        ) from error


def reason(error: Exception) -> str:
    """Why a server gave no answer: its status, or what hides in the `source` of an error of the transport."""
    status = getattr(error, "status_code", None)
    source = getattr(error, "source", error)
    if status is not None:
        return f"status {status}: {bytes(getattr(error, 'content', b''))[:300].decode(errors='replace')}"
    return f"{type(source).__name__}: {str(source)[:300]}: is a server running there?"
