"""`gateway costs`: what was used, and what it cost."""

import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from gateway import config as configuration
from gateway.admin.costs import Asked
from gateway.cli import break_evens, cost_files
from gateway.cli.calibrate import calibrate
from gateway.cli.common import Day, config_option, database_option, stores_of, writing
from gateway.cli.forecasts import forecast_command, where_of
from gateway.cli.reconcile import reconcile
from gateway.cli.tables import PIPE_WIDTH, console, fitting, row, table
from gateway.contracts import prices
from gateway.contracts.errors import InputError
from gateway.costs import page
from gateway.costs.focus import Names
from gateway.costs.report import METHODS, SERVE, Report, Row
from gateway.costs.sums import UNKNOWN, several_currencies
from gateway.stores import spool
from gateway.stores.cost_lines import DIMENSIONS, TAG, dimension

FORMATS = ("table", "csv", "json", "parquet", "focus", "focus-list", "html")
COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens")
MONEY = ("list_cost", "allocated", "fully_loaded")
SUBCOMMANDS: Sequence[click.Command] = (forecast_command, break_evens.break_even_command, reconcile, calibrate)


class Dimensions(click.ParamType[tuple[str, ...]]):
    """Names out of DIMENSIONS or `tag:NAME`, separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the list."""
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(","))
        for name in names:
            try:
                dimension(name)
            except InputError:
                self.fail(f"{name!r} is none of {', '.join(DIMENSIONS)}, and no {TAG}NAME", param, ctx)
        return tuple(dict.fromkeys(names))


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    type=Dimensions(),
    default="team,model",
    show_default=True,
    help=f"Group by: {', '.join(DIMENSIONS)}, {TAG}NAME.",
)
@click.option("--where", "pairs", multiple=True, help="Only what has this value, such as team=search. Repeatable.")
@click.option("--since", type=Day(), help="From this day on (UTC), such as 2026-11-01.")
@click.option("--until", type=Day(), help="Up to the start of this day (UTC).")
@click.option("--methods", is_flag=True, help="Show what each row would have by other methods of sharing GPU time.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option("--account", default=Names().account, show_default=True, help="FOCUS: the billing account.")
@click.option("--provider", default=Names().provider, show_default=True, help="FOCUS: who provides the GPUs.")
@click.option(
    "--prices",
    "price_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="FOCUS: list prices.  [default: --config's]",
)
@config_option
@database_option
@click.pass_context
def costs(
    context: click.Context,
    /,
    *,
    by: tuple[str, ...],
    pairs: tuple[str, ...],
    since: float | None,
    until: float | None,
    methods: bool,
    style: str,
    as_json: bool,
    out: Path | None,
    account: str,
    provider: str,
    price_path: Path | None,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Show what was used, and what it cost, in three columns that are never one.

    `list` is by the price list, `allocated` the GPU time that a request had, shared with those that were there at the
    same time, `fully loaded` the same with its part of idle time and overhead, which have lines of their own. With
    --config, hours that are over are closed first; what is still open is shown, and marked as provisional. What is not
    known is counted, and never zero.

    `focus` is a CSV of FOCUS 1.3 with each replica's day split over who used it (add tags with --by tag:NAME),
    `focus-list` one with list prices of tokens. In CSV, names that a spreadsheet would run as a formula begin with an
    apostrophe.

    \b
    Examples:
      gateway costs --by team,day --since 2026-11-01
      gateway costs --format html --out costs.html
      gateway costs --format focus --since 2026-11-01 --until 2026-12-01 --out focus.csv
      gateway costs forecast
      gateway costs reconcile --invoice 1234.56 --since 2026-11-01 --until 2026-12-01
      gateway costs calibrate http://10.0.0.7:8000 --gpu H100-SXM-80GB --out h100.yaml
    """
    if context.invoked_subcommand is not None:
        return
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    ask = cost_files.asked(stores, config_path, by, where_of(pairs), since, until, time.time())
    style = "json" if as_json else style
    names = Names(account, provider)
    if style == "table":
        _show(ask, methods, out)
    elif style == "focus":
        cost_files.write_focus(ask, out, names)
    elif style == "focus-list":
        cost_files.write_focus_list(ask, out, names, _prices(price_path, config_path))
    elif style == "html":
        cost_files.write_page(ask, out, _further(ask, config_path))
    else:
        writers = {
            "csv": cost_files.write_csv,
            "json": cost_files.write_json,
            "parquet": cost_files.write_parquet,
        }
        writers[style](ask, out)


def _further(ask: Asked, config_path: Path | None) -> list[page.Sheet]:
    """Tables of the page that need the prices of a configuration."""
    if config_path is None:
        return []
    found = list(break_evens.rows(ask, configuration.load(config_path)))
    return [break_evens.sheet(found)] if found else []


def _prices(price_path: Path | None, config_path: Path | None) -> prices.PriceBook:
    if price_path is not None:
        return prices.load(price_path)
    if config_path is None:
        raise InputError("focus-list needs list prices: name --prices FILE, or --config with `prices`")
    return configuration.load(config_path).prices


def _show(ask: Asked, methods: bool, out: Path | None) -> None:
    found = ask.report()
    columns = ["requests", *METHODS, "share", "other_methods"] if methods else _money(found)
    foot = "\n".join(ask.notes(found)) + "\n"
    if out is None:
        screen = console()
        sheet, left_out = fitting(screen, lambda names: _sheet(found, names), columns, SPARE)
        screen.print(sheet)
        if left_out:
            names = ", ".join(_heading(name) for name in left_out)
            click.echo(f"Left out, for the terminal is narrow: {names}. They are in --out FILE and in --format csv.")
        click.echo(foot, nl=False)
        return
    sheet = _sheet(found, columns)
    with writing(out), out.open("w", encoding="utf-8") as stream:
        Console(file=stream, width=PIPE_WIDTH).print(sheet)
        stream.write(foot)


def _money(found: Report) -> list[str]:
    """Three columns of money, a row's share, and how far other methods would move it; what is unknown where it is."""
    unknown = [name for name in UNKNOWN if getattr(found.total.line, name)]
    open_hours = ["provisional"] if found.total.provisional else []
    return [*COUNTS, "list_cost", "allocated", *open_hours, "fully_loaded", "share", "other_methods", *unknown]


SPARE = ("cached_tokens", "other_methods", *UNKNOWN, "share", "input_tokens", "output_tokens", "provisional")
"""What a narrow terminal does without, in this order; the notes have the totals of what is unknown."""
HEADINGS = {
    "list_cost": "list",
    **{name: f"by {text}" for name, text in METHODS.items() if name != "allocated"},
}


def _heading(name: str) -> str:
    return HEADINGS.get(name, name.replace("_", " "))


def _sheet(found: Report, columns: Sequence[str]) -> Table:
    groups = [*found.by, "cost centre"]
    sheet = table(*groups, show_footer=True)
    for name in columns:
        sheet.add_column(_heading(name), justify="right")
    for each in found.rows:
        row(sheet, *each.line.group.values(), each.centre, *_cells(each, columns))
    footer = ["total", *[""] * (len(groups) - 1), *_cells(found.total, columns)]
    for column, cell in zip(sheet.columns, footer, strict=True):
        column.footer = cell
    return sheet


def _cells(each: Row, columns: Sequence[str]) -> list[str]:
    values = each.values()
    if 0 < each.line.requests == each.line.cached_unknown:
        values["cached_tokens"] = None
    values["share"] = _share(values["share"], each)
    values["other_methods"] = _spread(each)
    if several_currencies(each.line):
        values["list_cost"] = "several currencies"
    return [_cell(name, values[name]) for name in columns]


def _cell(name: str, value: Any) -> str:
    """An amount in full, and without the zeros that say nothing."""
    if value is None:
        return {"list_cost": "unpriced", "allocated": "unallocated"}.get(name, "unknown")
    if isinstance(value, Decimal):
        whole, _, places = f"{value:f}".partition(".")
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return str(value)


def _share(value: Decimal | None, each: Row) -> str:
    if value is None:
        return "unknown" if each.centre == SERVE else ""
    return _percent(value)


def _percent(part: Decimal) -> str:
    return "< 0.1 %" if 0 < part < Decimal("0.0005") else f"{part * 100:.1f} %"


def _spread(each: Row) -> str:
    return "" if each.spread is None else f"{_percent(each.spread[0]).removesuffix(' %')} to {_percent(each.spread[1])}"


for _command in SUBCOMMANDS:
    costs.add_command(_command)
