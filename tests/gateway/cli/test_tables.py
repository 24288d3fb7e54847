"""Tables: no figure is cut off, and a gateway does without them."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.table import Table

from gateway.cli.tables import fitting, row, table


def _build(columns: Sequence[str]) -> Table:
    sheet = table(*columns)
    row(sheet, *("123456789.50" for _ in columns))
    return sheet


@pytest.mark.parametrize(
    ("width", "left_out"), [(80, []), (60, ["c"]), (45, ["c", "d"]), (30, ["c", "d", "a"]), (10, ["c", "d", "a"])]
)
def test_a_narrow_screen_goes_without_spare_columns(width: int, left_out: list[str]) -> None:
    screen = Console(width=width)
    sheet, missing = fitting(screen, _build, ["a", "b", "c", "d"], ["c", "x", "d", "a"])
    assert missing == left_out
    assert [column.header for column in sheet.columns] == [name for name in "abcd" if name not in left_out]
    assert screen.measure(sheet, options=screen.options.update(width=1000)).maximum <= max(width, 17)


def test_a_gateway_that_serves_does_not_load_what_draws_tables() -> None:
    code = "import sys, gateway.cli.serve; print('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
