"""`gateway costs`: what was used, and what it cost."""

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from gateway.cli.common import Day, config_option, console, database_option, row, stores_of, table
from gateway.stores import spool
from gateway.stores.ledger import DIMENSIONS, CostLine

COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens")
COLUMNS = (*COUNTS, "cost", "unpriced", "unmetered")
FIELDS = (*COUNTS, "cost", "currency", "unpriced", "unmetered", "cached_unknown")


class Dimensions(click.ParamType[tuple[str, ...]]):
    """Names out of DIMENSIONS, separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the list."""
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(","))
        for name in names:
            if name not in DIMENSIONS:
                self.fail(f"{name!r} is none of {', '.join(DIMENSIONS)}", param, ctx)
        return tuple(dict.fromkeys(names))


@click.command()
@click.option(
    "--by", type=Dimensions(), default="team,model", show_default=True, help=f"Group by: {', '.join(DIMENSIONS)}."
)
@click.option("--since", type=Day(), help="From this day on (UTC), such as 2026-11-01.")
@click.option("--until", type=Day(), help="Up to the start of this day (UTC).")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
@database_option
def costs(
    by: tuple[str, ...],
    since: float | None,
    until: float | None,
    style: str,
    as_json: bool,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Show tokens and list cost, from the ledger.

    A request without a price counts as `unpriced`, one whose tokens no engine reported as `unmetered`: neither is zero.

    \b
    Examples:
      gateway costs --by team,day --since 2026-11-01
      gateway costs --json
    """
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    lines = stores.ledger.costs(by, since, until)
    (total,) = stores.ledger.costs((), since, until)
    if as_json or style == "json":
        click.echo(json.dumps({"totals": _values(total), "rows": [_values(line) for line in lines]}, indent=2))
    elif style == "csv":
        writer = csv.DictWriter(sys.stdout, [*by, *FIELDS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_values(line) for line in lines)
    else:
        console().print(_table(by, lines, total))


def _values(line: CostLine) -> dict[str, Any]:
    """One line; the cost as text, so that no reader rounds it, and None when no request of the line has a price."""
    cost = Decimal(0) if line.requests == 0 else line.cost
    return {
        **line.group,
        **{name: getattr(line, name) for name in COUNTS},
        "cost": None if cost is None else format(cost, "f"),
        "currency": line.currency,
        "unpriced": line.unpriced,
        "unmetered": line.unmetered,
        "cached_unknown": line.cached_unknown,
    }


def _table(by: tuple[str, ...], lines: list[CostLine], total: CostLine) -> Table:
    sheet = table(*by, show_footer=True)
    for name in COLUMNS:
        sheet.add_column(name.replace("_", " "), justify="right")
    for line in lines:
        row(sheet, *line.group.values(), *_cells(line))
    for column, cell in zip(sheet.columns, ["total", *[""] * (len(by) - 1), *_cells(total)], strict=True):
        column.footer = cell
    return sheet


def _cells(line: CostLine) -> list[str]:
    values = _values(line)
    if 0 < line.requests == line.cached_unknown:
        values["cached_tokens"] = "unknown"
    if values["cost"] is None:
        values["cost"] = "unpriced" if line.currency or line.unpriced == line.requests else "several currencies"
    return [str(values[name]) for name in COLUMNS]
