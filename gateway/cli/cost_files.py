"""What `gateway costs` writes besides its table: CSV, JSON, Parquet, FOCUS and a page."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gateway import config as configuration
from gateway.admin.costs import Asked
from gateway.cli.common import check_period, writing
from gateway.contracts import prices
from gateway.contracts.errors import InputError
from gateway.costs import closing, fleet, focus, focus_prices, focus_rules, forecast, page, parquet, sheets
from gateway.costs.report import Report
from gateway.costs.sheets import Kind
from gateway.stores.bundle import Stores
from gateway.stores.cost_lines import HOUR_S, MOMENTS, TAG, CostLine

HISTORY_WEEKS = 8
"""How far a forecast looks back."""
DAY_S = 86_400


def asked(
    stores: Stores,
    config_path: Path | None,
    by: tuple[str, ...],
    where: Mapping[str, str],
    since: float | None,
    until: float | None,
    now: float,
) -> Asked:
    """Close the hours that are due, where a configuration says by which model engines share their time, and ask.

    Without one nothing is written, and what is not closed is worked out by the default model: it is provisional.
    Raises InputError for a period without a day.
    """
    check_period(since, until)
    engines = None
    if config_path is not None:
        engines = fleet.engines(configuration.load(config_path).config)
        closing.close(stores, now, engines)
    return Asked(stores, by, where, since, until, now, closing.provisional(stores, now, engines))


def write_csv(ask: Asked, out: Path | None) -> None:
    """The report's rows."""
    found = _told(ask)
    _text(_csv(found.columns, [row.values() for row in found.rows]), out)


def _told(ask: Asked) -> Report:
    """The report for a form that has rows alone: what has to be said of it first is said beside it."""
    found = ask.report()
    for said in ask.first(found):
        click.echo(said, err=True)
    return found


def write_json(ask: Asked, out: Path | None) -> None:
    """The report's rows, its total, and what has to be said of them. Amounts are text: no reader rounds them."""
    _text(json.dumps(ask.document(), indent=2) + "\n", out)


def write_parquet(ask: Asked, out: Path | None) -> None:
    """The report's rows, with decimals."""
    found = _told(ask)
    file = _file(out)
    with writing(file):
        parquet.write(file, found.columns, [row.values() for row in found.rows])


def write_focus(ask: Asked, out: Path | None, names: focus.Names) -> None:
    """Split charges of closed hours, in FOCUS 1.3."""
    if ask.where:
        raise InputError("FOCUS needs all parts of each charge, so that they add up: leave out --where")
    _require_days(ask)
    tags = [name.removeprefix(TAG) for name in ask.by if name.startswith(TAG)]
    first = None if ask.since is None else int(ask.since // HOUR_S)
    last = None if ask.until is None else int(ask.until // HOUR_S)
    charges = focus.origins(ask.stores.costs.hours(first, last))
    lines = ask.closed((*focus.BY, *(f"{TAG}{tag}" for tag in tags)))
    rows = focus.split(lines, charges, names, tags)
    focus_rules.require(focus.COLUMNS, rows, focus.totals(charges))
    _text(_csv(focus.COLUMNS, rows), out)
    if not rows:
        click.echo(
            "no row: no hour of this period is closed that a replica was paid for; with --config those that are over "
            "are closed first",
            err=True,
        )


def write_focus_list(ask: Asked, out: Path | None, names: focus.Names, book: prices.PriceBook) -> None:
    """List prices of tokens, in FOCUS 1.3."""
    _require_days(ask)
    lines = [line for line in ask.closed(focus_prices.LIST_BY) if line.requests]
    rows, left_out = focus_prices.list_prices(lines, _rates(book), names)
    focus_rules.require(focus_prices.LIST_COLUMNS, rows, {})
    _text(_csv(focus_prices.LIST_COLUMNS, rows), out)
    if left_out:
        why = f"they have no list price in {book.currency}, or no token counts"
        click.echo(f"{left_out:,} requests are left out: {why}", err=True)


def _require_days(ask: Asked) -> None:
    """Raise InputError for a period whose hours have been put together into months: FOCUS tells days."""
    whole = ask.stores.costs.summed_until() * HOUR_S
    if (ask.since or 0.0) < whole:
        day = _day(whole).isoformat()
        raise InputError(
            f"FOCUS tells days, and the hours before {day} (UTC) have been put together into months: --since {day}"
        )


def write_page(ask: Asked, out: Path | None, extra: Sequence[page.Sheet] = ()) -> None:
    """The page. Without a period it is about the month so far."""
    if ask.since is None and ask.until is None:
        ask = ask._replace(since=float(forecast.month_of(ask.now)[0] * HOUR_S))
    found = ask._replace(by=("team",)).report()
    lines = ask.lines(page.BY)
    days = sorted({line.group["day"] for line in lines})
    first = _day(ask.since) if ask.since is not None else date.fromisoformat(days[0]) if days else _day(ask.now)
    last = min(_day(ask.now), _day(ask.until - 1) if ask.until is not None else _day(ask.now))
    month = forecast.month_of(ask.now)
    spent = hourly(ask, (), "allocated").get((), {})
    month_days = [_day(at * HOUR_S) for at in range(*month, 24)]
    until = int(ask.now // HOUR_S)
    content = page.Content(
        lines=lines,
        first=min(first, last),
        last=last,
        made_at=ask.now,
        forecast=forecast.month_end(spent, observed(spent, ask.now), month) if spent and not ask.where else None,
        month_days=month_days if spent and not ask.where else (),
        spent_by_day=[
            sum((spent.get(hour, Decimal(0)) for hour in range(at, min(at + 24, until))), Decimal(0))
            for at in range(*month, 24)
            if at < until
        ],
        last_day=Decimal(until % 24 or 24) / 24,
        notes=ask.notes(found),
        open_hours=_open_hours(found),
        sheets=extra,
    )
    _text(page.render(content), out)


def _open_hours(found: Report) -> str | None:
    if not found.total.provisional:
        return None
    return f"{page.money(found.total.provisional)} USD of this is provisional: its hours are not closed yet."


def history(ask: Asked) -> float:
    """From when on a forecast looks at hours, in seconds since the epoch.

    Months whose hours have been put together are left out: nobody knows any more when in them something was spent.
    """
    first = forecast.month_of(ask.now)[0] - HISTORY_WEEKS * forecast.WEEK
    return float(max(first, ask.stores.costs.summed_until()) * HOUR_S)


def hourly(ask: Asked, by: Sequence[str], column: str) -> dict[tuple[str, ...], dict[int, Decimal]]:
    """Amounts of a column by group and by hour, of the last weeks up to the hour that is not over.

    A group is there without an hour where all of its amounts are unknown: requests without a price, or GPUs.
    """
    until = ask.now // HOUR_S * HOUR_S
    found: dict[tuple[str, ...], dict[int, Decimal]] = {}
    for line in ask.stores.costs.lines((*by, "hour"), history(ask), until, ask.where, ask.books):
        *group, label = line.group.values()
        hour = int(datetime.strptime(label, MOMENTS["hour"]).replace(tzinfo=UTC).timestamp()) // HOUR_S
        amount = _known(line, column)
        if amount is not None:
            found.setdefault(tuple(group), {})[hour] = amount
        elif line.requests:
            found.setdefault(tuple(group), {})
    return found


def _known(line: CostLine, column: str) -> Decimal | None:
    """An amount of a line, None where it is unknown."""
    if column == "list":
        return line.list_cost
    amount: Decimal = getattr(line, column)
    return None if line.unallocated and not amount else amount


def observed(amounts: Mapping[int, Decimal], now: float) -> tuple[int, int]:
    """The hours that are on the books: from the first amount on, and before the hour that is not over."""
    until = int(now // HOUR_S)
    return min(amounts, default=until), until


def _rates(book: prices.PriceBook) -> Callable[[str, date], focus_prices.Rates | None]:
    def rates(model: str, day: date) -> focus_prices.Rates | None:
        price = book.price(model, datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        if price is None:
            return None
        cached = price.input if price.cached_input is None else price.cached_input
        reasoning = price.output if price.reasoning is None else price.reasoning
        return focus_prices.Rates(price.input, cached, price.output, reasoning, f"model/{model}", book.currency)

    return rates


def _day(seconds: float) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).date()


def _csv(columns: Mapping[str, Kind], rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    sheets.write_csv(stream, columns, rows)
    return stream.getvalue()


def _text(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
        return
    with writing(out):
        out.write_text(text, encoding="utf-8", newline="")


def _file(out: Path | None) -> Path:
    if out is None:
        raise InputError("a Parquet file is not text: name it with --out FILE")
    return out
