"""The spool: a file between the hot path and the database.

Each admission and each settlement is one line in a mapped file, so both survive the death of the process, and neither
costs a system call. A drain moves settled rows to the database and is idempotent by request id. What a dead gateway
left is read again by the next one: an admission without a settlement becomes a row with the outcome `gateway_lost`.

A file lock says whose segment it is: a segment that can be locked has no living owner. The space of a file is reserved
before it is mapped: a disk without room is an error at that point, not a fault in the middle of a line.
"""

import errno
import fcntl
import logging
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from gateway.contracts.errors import InputError, LedgerFull
from gateway.contracts.ledger import LedgerRow

Sink = Callable[[Sequence[LedgerRow]], None]

SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment with as much in it is left behind as soon as the database has its rows."""
STEP_BYTES = 1024 * 1024
"""By how much a file grows."""
POPULATE_WRITE = 23
"""Linux's MADV_POPULATE_WRITE (5.14), which the standard library has no name for."""
MOST_HELD = 100_000
"""With so many rows in memory a full disk refuses requests in any case: about 150 MB."""

log = logging.getLogger("tollgate")

_encode_into = msgspec.json.Encoder().encode_into
decode = msgspec.json.Decoder(LedgerRow).decode
"""The row of a line."""
_NEWLINE = b"\n"
_END = _NEWLINE[0]


class Spool:
    """One process's segment. Not thread-safe: call it from the event loop, and hand what was taken to a thread."""

    def __init__(
        self,
        folder: Path,
        owner: str,
        segment_bytes: int = SEGMENT_BYTES,
        step_bytes: int = STEP_BYTES,
        when_full: Literal["refuse", "serve"] = "refuse",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.unspooled = 0
        """Requests admitted since somebody last set this to 0 that memory alone knows of."""
        self._when_full = when_full
        self._full = False
        self._folder = folder
        self._owner = owner
        self._segment_bytes = segment_bytes
        self._step_bytes = step_bytes
        self._open_rows: dict[str, LedgerRow] = {}
        self._settled: list[int | bytes] = []
        """Where the lines of settled rows begin; the line itself of one that is not in the file."""
        self._taken: list[int | bytes] = []
        # Written into anew for each line: an encoder of its own would find the room for a line in ten steps.
        self._admission, self._settlement = bytearray(), bytearray()
        self._number = 0
        self._start_segment()

    def _start_segment(self) -> None:
        path = self._folder / f"{self._owner}-{self._number:06d}.jsonl"
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink == 0:
                # A starting neighbour took the empty file for a dead gateway's before it was locked.
                os.close(file)
                self._number += 1
                self._start_segment()
                return
            _reserve(file, 0, self._step_bytes)
        except OSError:
            path.unlink()
            os.close(file)
            raise
        self._path, self._file, self._size = path, file, 0
        with path.open("r+b") as mapped:  # opened anew: a mapping would hold the lock for as long as it lives
            self._map = mmap.mmap(mapped.fileno(), self._step_bytes)
        _populate(self._map, 0)

    def _append(self, line: bytes | bytearray) -> int:
        """Where the line begins. Raises OSError when there is no room for it, and then nothing of it is there."""
        begin = self._size
        end = begin + len(line)
        if end >= len(self._map):
            self._grow(end + 1)
        self._map[begin:end] = line
        self._map[end] = _END  # last, so that a line that ends is whole
        self._size = end + 1
        return begin

    def _grow(self, wanted: int) -> None:
        size = len(self._map)
        more = max(self._step_bytes, wanted - size)
        _reserve(self._file, size, more)
        self._map.resize(size + more)
        _populate(self._map, size)
        if self._full:
            self._full = False
            log.warning("the spool has room again")

    @property
    def open_count(self) -> int:
        """Requests admitted and not yet settled."""
        return len(self._open_rows)

    @property
    def lag(self) -> int:
        """Rows settled and not yet in the database."""
        return len(self._settled)

    @property
    def size(self) -> int:
        """Bytes of the file that lines have taken."""
        return self._size

    def oldest(self) -> LedgerRow | None:
        """The first settled row that the database does not have, to tell its age by."""
        first = (self._taken or self._settled)[:1]
        return decode(_line(self._map, first[0])) if first else None

    def admit(self, row: LedgerRow) -> None:
        """Record an admission. The row says what is true should nothing more be heard of the request.

        Raises LedgerFull when there is no room for it: then the request was not admitted. Where requests are served
        all the same, only memory knows of this one until it is settled, or until the database has it.
        """
        _encode_into(row, self._admission)
        try:
            self._append(self._admission)
        except OSError as error:
            held = len(self._open_rows) + len(self._settled) + len(self._taken)
            if self._when_full == "refuse" or held >= MOST_HELD:
                self._out_of_room(error, "requests are refused")
                raise LedgerFull("the gateway has no room to record this request: ask again", retry_after=5) from error
            self._out_of_room(error, "requests are served, and memory alone knows of them until the database does")
            self.unspooled += 1
        self._open_rows[row.request_id] = row

    def settle(self, row: LedgerRow) -> None:
        """Record how an admitted request ended. A second settlement of one request is ignored.

        Its line is kept and not the row: what a busy gateway keeps of thousands of requests pushes out of the
        processor's caches what the next ones need.
        """
        if self._open_rows.pop(row.request_id, None) is None:
            return
        _encode_into(row, self._settlement)
        self._settled.append(self._kept(self._settlement))

    def _kept(self, line: bytes | bytearray) -> int | bytes:
        """Where the line begins, or itself where there is no room: then only a death before the next drain loses it."""
        try:
            return self._append(line)
        except OSError as error:
            self._out_of_room(error, "a death before the next drain would lose how requests ended")
            return bytes(line)

    def _out_of_room(self, error: OSError, what: str) -> None:
        """Said once, until there is room again."""
        if not self._full:
            log.error("the spool cannot be written (%s): %s", error, what)
        self._full = True

    def take(self) -> Iterator[bytes]:
        """The lines (`decode`) of settled rows that the database does not have yet, each read as it comes up.

        Any thread may read them. Say then what became of them: `stored` or `keep`. Whoever reads on after the file was
        left behind gets a ValueError, and never a line of the next file.
        """
        taken, self._settled = self._settled, []
        self._taken += taken
        return map(partial(_line, self._map), taken)

    def keep(self) -> None:
        """The database did not take the rows: they wait for the next drain."""
        self._taken, self._settled = [], self._taken + self._settled

    def stored(self) -> None:
        """The database has what was taken: once the file is large, go on in a new one with what is still needed."""
        self._taken = []
        if self._size < self._segment_bytes:
            self._forget()
            return
        old_path, old_file, old_map = self._path, self._file, self._map
        needed = [_line(old_map, at) for at in self._settled]
        self._number += 1
        self._start_segment()
        for row in self._open_rows.values():
            _encode_into(row, self._admission)
            self._kept(self._admission)
        self._settled = [self._kept(line) for line in needed]
        old_map.close()
        os.close(old_file)
        old_path.unlink()

    def _forget(self) -> None:
        """Have the lines before the first that is needed out of memory; they are in the file as before."""
        first = next((at for at in self._settled if isinstance(at, int)), self._size)
        if whole := first // mmap.PAGESIZE * mmap.PAGESIZE:
            self._map.madvise(mmap.MADV_DONTNEED, 0, whole)

    def close(self) -> None:
        """Let the segment go. It is removed when everything in it is stored, and left for recovery otherwise."""
        self._map.close()
        if self._settled or self._taken or self._open_rows:
            os.ftruncate(self._file, self._size)
        else:
            self._path.unlink()
        os.close(self._file)


def _line(mapped: mmap.mmap, at: int | bytes) -> bytes:
    return at if isinstance(at, bytes) else mapped[at : mapped.find(_NEWLINE, at)]


def _reserve(file: int, size: int, more: int) -> None:
    """Make a file of `size` bytes larger, with blocks that are its own. Raises OSError, and leaves it as it was."""
    written = 0
    try:
        written = os.pwrite(file, bytes(more), size)
    finally:
        if written != more:
            os.ftruncate(file, size)
    if written != more:
        raise OSError(errno.ENOSPC, "the spool's disk is full")


def _populate(mapped: mmap.mmap, begin: int) -> None:
    """Have what comes after `begin` ready to be written into: else each of its pages may stop a request for 30 us.

    Where the kernel cannot do it ahead it does so page by page, as ever.
    """
    begin -= begin % mmap.PAGESIZE
    with suppress(OSError):
        mapped.madvise(POPULATE_WRITE, begin, len(mapped) - begin)


def recover(folder: Path, sink: Sink) -> int:
    """Store what dead gateways left in a folder, and remove their segments. Returns the number of rows.

    A segment that is damaged (InputError) or that the sink does not take stays where it is.
    """
    count = 0
    for path in sorted(folder.glob("*.jsonl")):
        with (
            suppress(BlockingIOError, FileNotFoundError),
            path.open("rb") as file,
        ):  # else its owner lives, or is recovered
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                rows = _read(path)
                sink(rows)
                path.unlink()
                count += len(rows)
    return count


def _read(path: Path) -> list[LedgerRow]:
    """The last line of each request. A torn last line was never acknowledged and is left out."""
    rows: dict[str, LedgerRow] = {}
    lines = path.read_bytes().rstrip(b"\0").split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = decode(line.decode())  # as text: a decision is kept as its bytes are, whatever they are
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: line {number} is damaged ({error}): repair the line or move the file away, then start again"
            ) from error
        rows[row.request_id] = row
    return list(rows.values())
