"""The spool: an append-only file between the hot path and the database.

Each admission and each settlement is one `write` of one line, so both survive the death of the process. A drain moves
settled rows to the database and is idempotent by request id. What a dead gateway left behind is read again by the
next one: an admission without a settlement becomes a row with the outcome `gateway_lost`.

A file lock says whose segment it is: a segment that can be locked has no living owner.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gateway.contracts.errors import InputError
from gateway.contracts.ledger import LedgerRow

Sink = Callable[[Sequence[LedgerRow]], None]

SEGMENT_BYTES = 16 * 1024 * 1024

log = logging.getLogger("tollgate")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LedgerRow).decode


class Spool:
    """One process's segment. Not thread-safe: call it from the event loop, and hand the sink to a thread."""

    def __init__(self, folder: Path, owner: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._owner = owner
        self._segment_bytes = segment_bytes
        self._open_rows: dict[str, LedgerRow] = {}
        self._settled: list[LedgerRow] = []
        self._taken: list[LedgerRow] = []
        self._number = 0
        self._start_segment()

    def _start_segment(self) -> None:
        self._path = self._folder / f"{self._owner}-{self._number:06d}.jsonl"
        self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._size = 0
        if os.fstat(self._file).st_nlink == 0:
            # A starting neighbour took the empty file for a dead gateway's before it was locked.
            os.close(self._file)
            self._number += 1
            self._start_segment()
            return
        for row in (*self._open_rows.values(), *self._settled):
            self._append(row)

    def _append(self, row: LedgerRow) -> None:
        """One line, whole or not at all: half a line would spoil the one after it. Raises OSError."""
        line = _encode(row) + b"\n"
        written = 0
        try:
            written = os.write(self._file, line)
        finally:
            if written != len(line):
                os.ftruncate(self._file, self._size)
        if written != len(line):
            raise OSError(errno.ENOSPC, "the spool's disk is full", str(self._path))
        self._size += len(line)

    @property
    def open_count(self) -> int:
        """Requests admitted and not yet settled."""
        return len(self._open_rows)

    @property
    def lag(self) -> int:
        """Rows settled and not yet in the database."""
        return len(self._settled)

    def admit(self, row: LedgerRow) -> None:
        """Record an admission. The row says what is true should nothing more be heard of the request.

        Raises OSError when it cannot be written: then the request was not admitted.
        """
        self._append(row)
        self._open_rows[row.request_id] = row

    def settle(self, row: LedgerRow) -> None:
        """Record how an admitted request ended. A second settlement of one request is ignored."""
        if self._open_rows.pop(row.request_id, None) is None:
            return
        self._settled.append(row)
        try:
            self._append(row)
        except OSError as error:
            # The row goes to the database all the same; only a death before the next drain would lose how it ended.
            log.error("a settlement could not be spooled: %s", error)

    def take(self) -> list[LedgerRow]:
        """The settled rows that the database does not have yet. Say next what became of them: `stored` or `keep`."""
        rows, self._settled = self._settled, []
        self._taken += rows
        return rows

    def keep(self) -> None:
        """The database did not take the rows: they wait for the next drain."""
        self._taken, self._settled = [], self._taken + self._settled

    def stored(self) -> None:
        """The database has what was taken: once the file is large, go on in a new one with what is still needed."""
        self._taken = []
        if self._size < self._segment_bytes:
            return
        old_path, old_file = self._path, self._file
        self._number += 1
        self._start_segment()
        os.close(old_file)
        old_path.unlink()

    def close(self) -> None:
        """Let the segment go. It is removed when everything in it is stored, and left for recovery otherwise."""
        if not (self._settled or self._taken or self._open_rows):
            self._path.unlink()
        os.close(self._file)


def recover(folder: Path, sink: Sink) -> int:
    """Store what dead gateways left in a folder, and remove their segments. Returns the number of rows.

    A segment that is damaged (InputError) or that the sink does not take stays where it is.
    """
    count = 0
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_nlink == 0:
                    continue
                rows = _read(path)
                sink(rows)
                path.unlink()
                count += len(rows)
        except (BlockingIOError, FileNotFoundError):
            continue  # its owner lives, or a neighbour has recovered it
    return count


def _read(path: Path) -> list[LedgerRow]:
    """The last line of each request. A torn last line was never acknowledged and is left out."""
    rows: dict[str, LedgerRow] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = _decode(line)
        except msgspec.DecodeError as error:
            raise InputError(
                f"{path}: line {number} is damaged ({error}): repair the line or move the file away, then start again"
            ) from error
        rows[row.request_id] = row
    return list(rows.values())
