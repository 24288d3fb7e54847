"""Parquet files of samples: the only file of the harness that imports pyarrow, on first use."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.dataset import cells
from evals.schema import Sample
from gateway.contracts.errors import InputError

_NATIVE = ("tags", "follow_ups", "contexts")
"""Fields that are lists of texts; everything else is written as the text of a CSV cell."""


def read(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The names of the columns, and the rows as plain values. Raises FileNotFoundError, InputError."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"{str(path)!r}: expected a Parquet file: {error}") from error
    return list(file.schema_arrow.names), _rows(path, file, pyarrow.ArrowException)


def _rows(path: Path, file: Any, broken: type[Exception]) -> Iterator[dict[str, Any]]:
    try:
        for batch in file.iter_batches():
            yield from batch.to_pylist(maps_as_pydicts="strict")
    except (broken, OSError, KeyError) as error:
        raise InputError(f"{str(path)!r}: the file is damaged: {error}") from error
    finally:
        file.close()


def write(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples: tags, follow-ups and contexts as lists, the rest as text. Raises InputError."""
    import pyarrow
    import pyarrow.parquet

    flat = [cells.cells(sample) for sample in samples]
    columns: dict[str, Any] = {}
    for name in Sample.__struct_fields__:
        if name in _NATIVE:
            columns[name] = pyarrow.array([getattr(s, name) for s in samples], type=pyarrow.list_(pyarrow.string()))
        else:
            columns[name] = pyarrow.array([row[name] or None for row in flat], type=pyarrow.string())
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    except pyarrow.ArrowException as error:
        raise InputError(f"{str(path)!r} cannot be written: {error}") from error


def texts(path: Path) -> Iterable[dict[str, Any]]:
    """The rows of any Parquet file, as plain values. Raises InputError."""
    try:
        return read(path)[1]
    except FileNotFoundError as error:
        raise InputError(f"{str(path)!r}: no such file") from error
