"""Tables on the terminal. They stand apart, since what draws them takes 2 MB that a gateway has no use for."""

import sys
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPE_WIDTH = 1000
"""Where there is no terminal nothing is cut off."""


def table(*columns: str, show_footer: bool = False) -> Table:
    """A table without a frame."""
    return Table(*columns, box=box.SIMPLE, show_footer=show_footer)


def row(table: Table, *cells: str) -> None:
    """Add a row of plain text: a team may be called `[red]`."""
    table.add_row(*(escape(cell) for cell in cells))


def console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough for every column where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def fitting(
    screen: Console, build: Callable[[Sequence[str]], Table], columns: Sequence[str], spare: Sequence[str]
) -> tuple[Table, list[str]]:
    """(a table that the screen has room for, the columns it had to leave out): of the `spare` ones the last are kept.

    A figure that is cut off is a wrong figure.
    """
    left_out = [name for name in spare if name in columns]
    unbounded = screen.options.update(width=PIPE_WIDTH)

    def without(names: Sequence[str]) -> Table:
        return build([each for each in columns if each not in names])

    for name in reversed(left_out):
        fewer = [each for each in left_out if each != name]
        if screen.measure(without(fewer), options=unbounded).maximum <= screen.width:
            left_out = fewer
    return without(left_out), left_out
