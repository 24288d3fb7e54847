"""`gateway costs forecast`: what the month will have cost at its end."""

import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gateway.admin.costs import Asked
from gateway.cli.common import config_option, database_option, stores_of
from gateway.cli.cost_files import asked, history, hourly, observed
from gateway.cli.tables import console, row, table
from gateway.contracts.errors import InputError
from gateway.costs import sheets
from gateway.costs.forecast import LEVEL, Forecast, month_end, month_of
from gateway.stores import spool
from gateway.stores.cost_lines import MOMENTS

MONEY = {"loaded": "fully loaded", "allocated": "allocated", "list": "by the price list"}
COLUMNS = ("spent", "expected", "low", "high", "method", "reason")


def forecasts(ask: Asked, money: str) -> list[dict[str, Any]]:
    """A row for each group, the dearest first, and one of them all, whose groups are empty.

    Raises InputError for parts of time, and for list costs in several currencies.
    """
    if found := [name for name in (*ask.by, *ask.where) if name in MOMENTS]:
        raise InputError(f"a forecast is of a whole month: leave out {', '.join(map(repr, found))}")
    if money == "list":
        _one_currency(ask)
    every = hourly(ask, (), money).get((), {})
    seen, month = observed(every, ask.now), month_of(ask.now)
    rows = [
        {**dict(zip(ask.by, group, strict=True)), **_values(month_end(amounts, seen, month))}
        for group, amounts in hourly(ask, ask.by, money).items()
        if ask.by
    ]
    rows.sort(key=lambda found: (-(found["expected"] or found["spent"] or 0), *(found[name] for name in ask.by)))
    return [*rows, {**dict.fromkeys(ask.by, ""), **_values(month_end(every, seen, month))}]


def _one_currency(ask: Asked) -> None:
    lines = ask.stores.costs.lines(("currency",), history(ask), ask.now, ask.where)
    found = {line.currency for line in lines if line.list_cost is not None}
    if len(found) > 1:
        raise InputError(
            f"list costs of the hours that a forecast looks at are in {', '.join(sorted(map(str, found)))}, which do "
            "not add up: --where currency=…"
        )


def _values(found: Any) -> dict[str, Any]:
    if not isinstance(found, Forecast):
        return {
            "spent": found.spent,
            "expected": None,
            "low": None,
            "high": None,
            "method": "none",
            "reason": found.reason,
        }
    return {**{name: getattr(found, name) for name in COLUMNS[:5]}, "reason": ""}


@click.command("forecast")
@click.option("--by", "names", default="team", show_default=True, help="Group by names, as `gateway costs` does.")
@click.option("--where", "pairs", multiple=True, help="Only what has this value, such as team=search. Repeatable.")
@click.option("--money", type=click.Choice(list(MONEY)), default="loaded", show_default=True, help="Which column.")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@config_option
@database_option
def forecast_command(
    names: str,
    pairs: tuple[str, ...],
    money: str,
    style: str,
    as_json: bool,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Show what the month (UTC) will have cost at its end.

    From two weeks of hours on, each hour left is expected to cost what the same hour of the week did; before, the mean
    of all hours. The interval follows from how much days vary; no trend is followed. Less than two days are too little.

    \b
    Examples:
      gateway costs forecast
      gateway costs forecast --by model --money list --json
    """
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    by = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    rows = forecasts(asked(stores, config_path, by, where_of(pairs), None, None, time.time()), money)
    plain = [{name: sheets.plain(value) for name, value in found.items()} for found in rows]
    if as_json or style == "json":
        click.echo(json.dumps({"money": money, "level": LEVEL, "rows": plain[:-1], "total": plain[-1]}, indent=2))
    elif style == "csv":
        sheets.write_csv(sys.stdout, [*by, *COLUMNS], rows)
    else:
        sheet = table(*by)
        for name in COLUMNS:
            sheet.add_column(name, justify="left" if name in ("method", "reason") else "right")
        for found in rows:
            groups = [found[name] for name in by]
            label = groups if found is not rows[-1] else ["all", *[""] * (len(by) - 1)][: len(by)]
            row(sheet, *label, *(_cell(found[name]) for name in COLUMNS))
        console().print(sheet)
        click.echo(f"{MONEY[money]}, to the end of the month (UTC); between low and high in {LEVEL} of such months")


def _cell(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return "unknown" if value is None else str(value)


def where_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` of each. Raises a usage error, also for a name that is given twice: only one of them could count.

    And for a time that never is: it would choose nothing, without a word.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not (name := name.strip()):
            raise click.UsageError(f"--where: expected NAME=VALUE such as team=search, found {pair!r}")
        if not value.isprintable():
            raise click.UsageError(f"--where: expected printable characters after `{name}=`, found {value!r}")
        if name in MOMENTS and not _is_moment(value, MOMENTS[name]):
            like = datetime(2026, 11, 22, 9, tzinfo=UTC).strftime(MOMENTS[name])
            raise click.UsageError(f"--where: expected a time (UTC) such as {name}={like}, found {value!r}")
        if found.setdefault(name, value) != value:
            raise click.UsageError(
                f"--where: {name!r} is {found[name]!r} and {value!r}, and no request is both: ask for one of them, or "
                f"group --by {name}"
            )
    return found


def _is_moment(text: str, form: str) -> bool:
    """Whether a text is what a time looks like that is written in this form."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).strftime(form) == text
    except ValueError:
        return False
