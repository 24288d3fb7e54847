"""Rows as CSV and as JSON: the same amounts in both, exact, and as text wherever a reader would make floats of them."""

import csv
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TextIO

Kind = Literal["text", "count", "amount", "moment", "json"]
"""What a column holds: text, a whole number, a Decimal, a time that knows its zone, JSON as text; or None: unknown."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def write_csv(stream: TextIO, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows with a heading. Unknown is empty. Names that a spreadsheet would run as a formula begin with an apostrophe.

    Text alone is touched: an amount may be negative.
    """
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: harmless(value) for name, value in row.items()} for row in rows)


def harmless(value: Any) -> Any:
    """A value for CSV."""
    if isinstance(value, str):
        text = value.replace("\r", "\\r")  # in the middle of a line, readers take it for the line's end
        return f"'{text}" if value.startswith(FORMULA) else text
    return plain(value)


def plain(value: Any) -> Any:
    """A value for JSON: amounts as text without an exponent, times in UTC."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value
