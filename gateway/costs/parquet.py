"""Parquet files with amounts as decimals. Needs the extra `parquet`, and says so."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.contracts.errors import InputError
from gateway.costs.sheets import Kind

SCALE = 9
"""Decimal places of an amount."""


def write(path: Path, columns: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]], scale: int = SCALE) -> None:
    """Write rows, with these columns in this order; `scale` is how many places amounts have.

    Raises InputError when pyarrow is missing, when a value does not fit (it is not rounded), and when the file cannot
    be written.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: pip install 'tollgate[parquet]'") from error
    kinds = {
        "text": pyarrow.string(),
        "count": pyarrow.int64(),
        "amount": pyarrow.decimal128(38, scale),
        "json": pyarrow.string(),
        "moment": pyarrow.timestamp("us", tz="UTC"),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    held = list(rows)
    try:
        sheet = pyarrow.Table.from_pydict({name: [row[name] for row in held] for name in columns}, schema=schema)
    except (pyarrow.ArrowInvalid, OverflowError) as error:
        raise InputError(f"{str(path)!r} cannot hold these amounts: {error}") from error
    try:
        pyarrow.parquet.write_table(sheet, path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{str(path)!r} cannot be written: {reason}; name another file with --out") from error
