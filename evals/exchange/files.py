"""Files of other tools: JSON with NaN in it, JSON Lines, zip archives whose entries Python cannot always unpack."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.contracts.errors import InputError

_ZSTD = 93
_HEADER_BYTES = 30
_LARGEST = 1 << 30
"""An entry that says it is larger is refused before it is unpacked."""


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file. Raises InputError."""
    return _object(_bytes(path), f"{str(path)!r}", what)


def objects(path: Path, what: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in the lines of a file, without the empty lines. Raises InputError, naming the line."""
    for number, line in enumerate(_bytes(path).split(b"\n"), start=1):
        if line.strip():
            yield _object(line, f"{str(path)!r}, line {number}", what)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}: name a file that is there") from error


def _object(data: bytes, where: str, what: str) -> dict[str, Any]:
    """Read with the standard library, which knows NaN: what an importer must see in order to refuse it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: expected {what}, found no JSON ({error}): is the file whole?") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected {what}, which is a JSON object, found a {type(value).__name__}")
    return value


def archived(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and JSON objects of a zip archive's `.json` entries. Raises InputError."""
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}: name {what}")
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for entry in archive.infolist():
                if entry.filename.endswith(".json"):
                    data = _zstd(file.read, file.seek, entry) if entry.compress_type == _ZSTD else archive.read(entry)
                    value = json.loads(data)
                    yield entry.filename, value if isinstance(value, dict) else {"": value}
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{str(path)!r}: expected {what}, found a damaged archive ({error})") from error


def _zstd(read: Any, seek: Any, entry: zipfile.ZipInfo) -> bytes:
    """An entry that is packed with Zstandard, which `zipfile` unpacks from Python 3.14 on. Raises ValueError."""
    import pyarrow

    if entry.file_size > _LARGEST:
        raise ValueError(f"{entry.filename!r} says that it holds {entry.file_size} bytes, at most {_LARGEST}")
    seek(entry.header_offset)
    head = read(_HEADER_BYTES)
    seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
    data: bytes = pyarrow.Codec("zstd").decompress(read(entry.compress_size), entry.file_size, asbytes=True)
    if zlib.crc32(data) != entry.CRC:
        raise ValueError(f"{entry.filename!r} does not have its checksum")
    return data
