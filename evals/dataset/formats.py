"""The files a data set may be: JSON Lines, CSV, Parquet, told apart by their suffix.

    .jsonl .ndjson     one JSON object a line, with the fields of `schema.Sample`
    .csv               a header with the names of fields, then one row for each sample (see `cells`)
    .parquet           columns with the names of fields: texts, lists and structs, or the text of a CSV cell

The same samples have the same digest in all of them.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals import whole
from evals.dataset import cells, parquet
from evals.dataset.samples import Dataset, is_set, parse, sample_digest, whole_digest
from evals.schema import Sample
from gateway.contracts import documents
from gateway.contracts.errors import DocumentError, InputError, Mistake

_LONGEST_CELL = 1 << 30
_FIELDS = Sample.__struct_fields__


class RowMistake(Mistake):
    """A mistake in a file that has rows instead of lines."""

    def __str__(self) -> str:
        where = f"row {self.line}" + (f", {self.key}" if self.key else "") if self.line else "columns"
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Raw:
    """What stands in one line: a JSON value, or the problem that kept it from being one."""

    line: int
    value: Any = None
    problem: str = ""


def load(path: Path) -> Dataset:
    """Read and check a data set. Raises DocumentError with every mistake and its line (of Parquet: its row)."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise InputError(f"{str(path)!r}: expected a data set in a file {_SUFFIXES}, found the suffix {suffix!r}")
    mistake: type[Mistake] = RowMistake if suffix == ".parquet" else Mistake
    mistakes: list[Mistake] = []
    lines: dict[str, int] = {}
    samples: list[Sample] = []
    digests: dict[str, str] = {}
    for raw in _READERS[suffix](path):
        try:
            if raw.problem:
                raise ValueError(raw.problem)
            sample = parse(raw.value)
            digest = sample_digest(sample)
        except (ValueError, InputError) as error:
            mistakes.append(mistake(raw.line, "", str(error)))
            continue
        if sample.id in lines:
            unit = "row" if mistake is RowMistake else "line"
            first = f"{unit} {lines[sample.id]}"
            same = f"duplicate id {sample.id!r}: {first} has it too; give each sample an id of its own"
            mistakes.append(mistake(raw.line, "id", same))
            continue
        lines[sample.id] = raw.line
        samples.append(sample)
        digests[sample.id] = digest
    if not samples and not mistakes:
        mistakes.append(mistake(1, "", f"no samples: expected {_EXPECTED[suffix]}"))
    if mistakes:
        raise documents.refused(path, mistakes)
    return Dataset(path, tuple(samples), digests, whole_digest(digests))


def _jsonl(path: Path) -> Iterator[Raw]:
    for number, text in enumerate(_decoded(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            yield Raw(number, msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError) as error:
            yield Raw(number, problem=f"not valid JSON: {error}")


def _csv(path: Path) -> Iterator[Raw]:
    rows = csv_rows(path)
    header = rows[0][1] if rows else []
    problem = _header_problem(header)
    if problem:
        raise DocumentError(str(path), [Mistake(1, "", problem)])
    for number, row in rows[1:]:
        if len(row) != len(header):
            expected = f"{len(header)} cells, as in the header"
            yield Raw(number, problem=f"expected {expected}, found {len(row)}: quote a cell that holds a comma")
            continue
        try:
            yield Raw(number, cells.values(dict(zip(header, row, strict=True))))
        except ValueError as error:
            yield Raw(number, problem=str(error))


def csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, each with the number of its first line. Raises DocumentError."""
    # The bytes as they are: reading as text would turn a cell's \r\n into \n, and the digest into another one.
    text = io.StringIO(_decoded(path), newline="")
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader, start, rows = csv.reader(text, strict=True), 1, []
        for row in reader:
            if row:
                rows.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DocumentError(str(path), [Mistake(reader.line_num, "", f"not valid CSV: {error}")]) from error
    finally:
        csv.field_size_limit(before)
    return rows


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DocumentError(str(path), [Mistake(1, "", "no such file")]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(str(path), [Mistake(1, "", f"cannot be read: {error}")]) from error


def _header_problem(header: list[str]) -> str:
    """What is wrong with the names of columns; nothing when they do."""
    unknown = [name for name in header if name not in _FIELDS]
    missing = [name for name in ("id", "input") if name not in header]
    if unknown:
        return f"unknown column {unknown[0]!r}: the columns are {', '.join(_FIELDS)}"
    if missing:
        return f"missing column {missing[0]!r}: every sample needs it"
    twice = [name for position, name in enumerate(header) if name in header[:position]]
    return f"two columns are called {twice[0]!r}: keep one" if twice else ""


def _parquet(path: Path) -> Iterator[Raw]:
    try:
        columns, rows = parquet.read(path)
    except FileNotFoundError as error:
        raise DocumentError(str(path), [RowMistake(0, "", "no such file")]) from error
    problem = _header_problem(columns)
    if problem:
        raise DocumentError(str(path), [RowMistake(0, "", problem)])
    for number, row in enumerate(rows, start=1):
        try:
            held = {name: cells.value(name, v) if isinstance(v, str) else _native(v) for name, v in row.items()}
            yield Raw(number, {name: v for name, v in held.items() if v is not None})
        except ValueError as error:
            yield Raw(number, problem=str(error))


def _native(held: Any) -> Any:
    """A native value as JSON. In a struct, which has all fields in every row, null says absent (of content: null)."""
    if isinstance(held, dict):
        return {key: _native(v) for key, v in held.items() if v is not None or key == "content"}
    if isinstance(held, list):
        return [_native(one) for one in held]
    return held


_READERS: dict[str, Callable[[Path], Iterator[Raw]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
_SUFFIXES = ", ".join(_READERS)
_EXPECTED = {
    ".jsonl": 'one JSON object a line, such as {"id": ..., "input": ...}',
    ".ndjson": 'one JSON object a line, such as {"id": ..., "input": ...}',
    ".csv": "a header such as `id,input,reference` and a row for each sample",
    ".parquet": "a row for each sample",
}


def save(path: Path, samples: Iterable[Sample]) -> None:
    """Write samples in the format that the suffix names. Raises InputError; an existing file is
    overwritten, whole or not at all."""
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise InputError(f"{str(path)!r}: expected one of the suffixes {_SUFFIXES}, found {suffix!r}")
    held = list(samples)
    try:
        with whole.beside(path) as made:
            if suffix == ".parquet":
                parquet.write(made, held)
            else:
                made.write_bytes(_csv_bytes(held) if suffix == ".csv" else b"".join(map(_json_line, held)))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def _json_line(sample: Sample) -> bytes:
    fields: dict[str, Any] = msgspec.to_builtins(sample)
    return msgspec.json.encode({key: value for key, value in fields.items() if is_set(key, value)}) + b"\n"


def _csv_bytes(samples: list[Sample]) -> bytes:
    """All samples, in the columns that any of them uses."""
    rows = [cells.cells(sample) for sample in samples]
    used = [name for name in _FIELDS if name in ("id", "input", "reference") or any(row[name] for row in rows)]
    text = io.StringIO(newline="")
    # The writer quotes what is in its line terminator: with a bare \n, a cell's \r would end the row.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(used)
    writer.writerows([row[name] for name in used] for row in rows)
    return text.getvalue().encode()
