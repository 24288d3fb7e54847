"""The run log: an append-only JSON Lines file that a crashed run resumes from and a gate reads as evidence.

    {"kind":"manifest","prev":"",...}
    {"kind":"sample","prev":"<sha256 of the line before>",...}      one for each finished sample, epoch and arm
    {"kind":"end","prev":"...","records":1800}                      the seal

Each line carries the sha256 of the line before it, so that an edited, added or removed line shows. The last line may be
torn after a crash: a resumed run cuts it off (it was never complete) and goes on; a gate refuses the log.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from evals import whole
from evals.lines import End, Line, Manifest, Record
from gateway.contracts.errors import InputError

SYNC_EVERY = 500
"""Lines between two fsyncs. A killed process loses nothing; a lost power supply at most these."""

_RESUME_FIELDS = (
    "suite",
    "dataset_sha256",
    "model",
    "params",
    "system",
    "scorers",
    "epochs",
    "limit",
    "samples",
    "baseline",
    "judges",
)
_FIRST_BYTES = b'{"kind":"manifest"'
_line = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


class LogDamaged(InputError):
    """A run log whose lines do not follow from each other."""


@dataclass(frozen=True, slots=True)
class Log:
    """A whole log, read. `sealed`: its last line is the end. `digest` is sha256 of the file's bytes."""

    path: Path
    manifest: Manifest
    records: tuple[Record, ...]
    sealed: bool
    digest: str
    last_hash: str
    good_bytes: int


def read(path: Path, *, torn_tail: bool = False) -> Log:
    """Read and check a log. `torn_tail` forgives an incomplete last line. Raises LogDamaged, naming the line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r}: no readable run log ({error.strerror}): `evals run` writes one") from error
    whole, newline, tail = data.rpartition(b"\n")
    if tail and not torn_tail:
        raise LogDamaged(f"{str(path)!r}: the last line is torn, the run crashed: run it again with the same --out")
    lines = whole.split(b"\n") if newline else []
    manifest: Manifest | None = None
    records: list[Record] = []
    previous, sealed = "", False
    for number, text in enumerate(lines, start=1):
        line = _decode(path, number, text, previous)
        previous, sealed = hashlib.sha256(text).hexdigest(), False
        match line:
            case Manifest() if number == 1:
                manifest = line
            case Record() if manifest is not None:
                records.append(line)
            case End() if line.records == len(records):
                sealed = True
            case _:
                raise LogDamaged(f"{str(path)!r}, line {number}: this line does not belong here; {_ADVICE}")
    if manifest is None:
        raise LogDamaged(f"{str(path)!r} is no run log: it has no first line. `evals run` writes one")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return Log(path, manifest, tuple(records), sealed, digest, previous, len(whole) + len(newline))


_ADVICE = "the file was altered after the run: it is no evidence, run the suite again into another file"


def _decode(path: Path, number: int, text: bytes, previous: str) -> Line:
    try:
        line: Line = _line.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if number == 1:
            raise LogDamaged(
                f"{str(path)!r} is no run log: its first line is no manifest ({error}). `evals run` writes one"
            ) from error
        raise LogDamaged(f"{str(path)!r}, line {number}: not a line of a run log ({error}); {_ADVICE}") from error
    if line.prev != previous:
        raise LogDamaged(f"{str(path)!r}, line {number}: it does not follow from line {number - 1}; {_ADVICE}")
    return line


def check_same(found: Manifest, wanted: Manifest, path: Path) -> None:
    """Raise InputError when a log belongs to another run than the one to resume, naming every field that differs."""
    names = _RESUME_FIELDS + (("scorer_digests",) if found.scorer_digests else ())
    differ = [name for name in names if getattr(found, name) != getattr(wanted, name)]
    if differ:
        details = "; ".join(f"{name}: log {getattr(found, name)!r}, now {getattr(wanted, name)!r}" for name in differ)
        raise InputError(f"{str(path)!r} is the log of another run ({details}): take --fresh, or another --out")
    if found.suite_digest != wanted.suite_digest:  # it covers what has no field of its own: documents, their retrieval
        raise InputError(
            f"{str(path)!r} is the log of another run (suite {found.suite_digest}, now {wanted.suite_digest}: the "
            "documents, `retrieval` or `embeddings` were changed): take --fresh, or another --out"
        )


class Writer:
    """Appends records to a log; one writer at a time (the file is locked). Use as a context manager."""

    def __init__(self, path: Path, manifest: Manifest, *, told_as: Path | None = None) -> None:
        """Start a log, or resume the one that is there; `told_as` is what an error calls it.

        Raises InputError when it belongs to another run, and when it cannot be written.
        """
        self.path = path
        self._told_as = told_as
        self.existing: tuple[Record, ...] = ()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():  # a device may have no end
                raise InputError(f"{str(told_as or path)!r} is not a file: name another with --out")
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(told_as or path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise InputError(
                f"{str(path)!r} is being written by another run: wait for it, or name another --out"
            ) from error
        self._previous, self._count, self._unsynced, self._sealed = "", 0, 0, False
        try:
            self._start(manifest)
        except OSError as error:
            self._file.close()
            raise _unwritable(told_as or path, error) from error
        except InputError:
            self._file.close()
            raise

    def _start(self, manifest: Manifest) -> None:
        head, newline, _ = self.path.read_bytes().partition(b"\n")
        if newline:
            log = read(self.path, torn_tail=True)
            check_same(log.manifest, manifest, self.path)
            self._file.truncate(log.good_bytes)
            self.existing, self._count = log.records, len(log.records)
            self._previous, self._sealed = log.last_hash, log.sealed
            return
        if head and not head.startswith(_FIRST_BYTES):
            raise LogDamaged(f"{str(self.path)!r} is no run log: name another file with --out")
        self._file.truncate(0)
        self._append(manifest)

    def write(self, record: Record) -> None:
        """Append one record; it is with the operating system when this returns. Raises InputError when it cannot be."""
        self._append(record)
        self._count += 1

    def seal(self) -> None:
        """Write the end line (unless the log already ends with one) and wait for the disk. Raises InputError."""
        if not self._sealed:
            self._append(End(records=self._count))
            self._sealed = True
        self._sync()

    def _append(self, line: Line) -> None:
        body = _encoder.encode(msgspec.structs.replace(line, prev=self._previous))
        self._put(body + b"\n")
        self._previous = hashlib.sha256(body).hexdigest()
        self._sealed = False
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self._sync()
            self._unsynced = 0

    def _put(self, line: bytes) -> None:
        """The whole line, or nothing of it: a disk that fills takes a part without a word, and refuses the next one."""
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):  # else the torn line stays, which a resumed run cuts off
                self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
            raise self._full(error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> InputError:
        if self._told_as is not None:  # of results that are all there, nothing is kept
            return _unwritable(self._told_as, error)
        return InputError(
            f"the log {str(self.path)!r} takes no more: {error.strerror}; what it has is kept: once it can be written, "
            "the same command goes on from there"
        )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def check_free(path: Path, *, force: bool) -> None:
    """Raise InputError unless a whole log may be written here: over nothing, or with `force` over another log."""
    if not path.exists():
        return
    if not force:
        raise InputError(f"--out: {str(path)!r} is there already: name another file, or add --force to write over it")
    try:
        free = whole.may_write(path, _FIRST_BYTES)
    except OSError as error:
        raise _unwritable(path, error) from error
    if not free:
        raise InputError(f"--out: {str(path)!r} is no run log, and --force writes over nothing else: name another file")


def write_whole(path: Path, manifest: Manifest, records: Iterable[Record]) -> None:
    """Write a sealed log of results that are all there, whole or not at all. Raises InputError."""
    try:
        with whole.beside(path) as made, Writer(made, manifest, told_as=path) as writer:
            for record in records:
                writer.write(record)
            writer.seal()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "what its path names as a folder is a file" if is_file else error.strerror
    return InputError(f"the log {str(path)!r} cannot be written: {reason}; name another file with --out")
