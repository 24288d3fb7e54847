"""Parquet: decimals stay decimals, and what does not fit is refused."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.contracts.errors import InputError
from gateway.costs import parquet
from gateway.costs.sheets import Kind

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
COLUMNS: dict[str, Kind] = {"team": "text", "requests": "count", "cost": "amount", "day": "moment", "tags": "json"}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    full = {"team": "=a", "requests": 2**62, "cost": Decimal("123456789.000000001"), "day": day, "tags": "{}"}
    rows = [full, dict.fromkeys(COLUMNS)]
    parquet.write(tmp_path / "x.parquet", COLUMNS, rows)
    found = pq.read_table(tmp_path / "x.parquet")
    assert found.schema.field("cost").type == pyarrow.decimal128(38, 9)
    assert found.schema.field("requests").type == pyarrow.int64()
    assert found.to_pylist() == rows


def test_no_rows_are_a_file_with_columns(tmp_path: Path) -> None:
    parquet.write(tmp_path / "x.parquet", COLUMNS, [])
    assert pq.read_table(tmp_path / "x.parquet").column_names == list(COLUMNS)


@pytest.mark.parametrize("row", [{"requests": 2**64}, {"cost": Decimal("1E-12")}, {"cost": Decimal("1E+40")}])
def test_what_does_not_fit_is_refused_and_not_rounded(tmp_path: Path, row: dict[str, object]) -> None:
    with pytest.raises(InputError, match="cannot hold these amounts"):
        parquet.write(tmp_path / "x.parquet", COLUMNS, [{**dict.fromkeys(COLUMNS), **row}])


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/x\.parquet' cannot be written: .*--out"):
        parquet.write(tmp_path / "no" / "x.parquet", COLUMNS, [])


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'tollgate\[parquet\]'"):
        parquet.write(tmp_path / "x.parquet", COLUMNS, [])
