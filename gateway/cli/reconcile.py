"""`gateway costs reconcile`: the ledger's tokens against the engines' counters, what was booked against an invoice."""

import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gateway import config as configuration
from gateway.cli.common import Amount, Day, check_period, config_option, database_option, moment, stores_of
from gateway.cli.tables import console, row, table
from gateway.config import Timeouts
from gateway.contracts.errors import InputError
from gateway.costs.counted import reconcile_tokens
from gateway.costs.reconcile import (
    MONEY_TOLERANCE,
    TOKENS_TOLERANCE,
    UNRECONCILED,
    MoneyFinding,
    TokenFinding,
    against_invoice,
)
from gateway.stores import spool
from gateway.stores.bundle import Stores
from gateway.stores.cost_lines import HOUR_S
from gateway.stores.retention import folded_until

BEYOND, UNKNOWN = 1, 3


@click.command()
@click.option("--invoice", type=Amount(), metavar="USD", help="What was invoiced for the GPUs of the period.")
@click.option("--since", type=Day(), help="From this day on (UTC), such as 2026-11-01.")
@click.option("--until", type=Day(), help="Up to the start of this day (UTC).")
@click.option("--pool", help="Of this pool's replicas alone.")
@click.option(
    "--money-tolerance", type=Amount(), default=f"{MONEY_TOLERANCE}", show_default=True, help="A part of the invoice."
)
@click.option(
    "--tokens-tolerance",
    type=Amount(),
    default=f"{TOKENS_TOLERANCE}",
    show_default=True,
    help="A part of what the engines counted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def reconcile(
    invoice: Decimal | None,
    since: float | None,
    until: float | None,
    pool: str | None,
    money_tolerance: Decimal,
    tokens_tolerance: Decimal,
    as_json: bool,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Hold the ledger against what others count: engines their tokens, a provider its invoice.

    What an invoice says beyond what was booked is a line of its own, with its sign: nobody pays for it by name. Exit
    code 0 within the tolerances, 1 beyond one of them, 3 when tokens could not be compared and nothing is beyond.

    \b
    Examples:
      gateway costs reconcile --since 2026-11-01 --until 2026-12-01 --invoice 1234.56
      gateway costs reconcile --since 2026-11-24 --json
    """
    check_period(since, until)
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    timeouts = Timeouts() if config_path is None else configuration.load(config_path).config.timeouts
    money, replicas, booked_until = _booked(stores, since, until, pool, invoice, money_tolerance)
    with stores.database.connect() as connection:
        kept = (
            folded_until(connection) * HOUR_S
        )  # rows of folded months are gone: engines have counted more than is left
    tokens = reconcile_tokens(
        stores.counters,
        max(kept, since or 0.0),
        until,
        settled_by=time.time() - timeouts.total,
        longest_s=timeouts.total,
        tolerance=tokens_tolerance,
    )
    if pool is not None:
        tokens = [finding for finding in tokens if finding.replica in replicas]
    if as_json:
        found = {"booked_until": moment(booked_until) or None, "money": _money(money)}
        click.echo(json.dumps({**found, "tokens": [_tokens(each) for each in tokens]}, indent=2))
    else:
        if money is not None:
            _print_money(money, booked_until, until)
        _print_tokens(tokens)
    nothing = money is not None and booked_until is None  # nothing was there to be compared, but for the invoice
    raise SystemExit(_code(money, tokens, compared=bool(tokens) or nothing))


def _booked(
    stores: Stores,
    since: float | None,
    until: float | None,
    pool: str | None,
    invoice: Decimal | None,
    tolerance: Decimal,
) -> tuple[MoneyFinding | None, set[str], float | None]:
    """The finding, None without an invoice; the replicas of the period; and when its last closed hour ends.

    Raises InputError for a pool that has no books.
    """
    first, last = (None if day is None else int(day // HOUR_S) for day in (since, until))
    hours = stores.costs.hours(first, last)
    pools = sorted({hour.pool for hour in hours if hour.pool})  # those without one are of replicas without a price
    if pool is not None and pool not in pools:
        known = ", ".join(pools) or "none"
        raise InputError(f"nothing is booked in this period for a pool {pool!r}: those with books are {known}")
    hours = [hour for hour in hours if pool in (None, hour.pool)]
    replicas, ends = {hour.replica for hour in hours}, [float((hour.hour + 1) * HOUR_S) for hour in hours]
    amounts = ((hour.pool, hour.cost) for hour in hours if hour.pool)
    found = None if invoice is None else against_invoice(amounts, invoice, tolerance)
    return found, replicas, max(ends, default=None)


def _code(money: MoneyFinding | None, tokens: Sequence[TokenFinding], *, compared: bool) -> int:
    if (money is not None and not money.within) or any(each.verdict in ("around", "twice") for each in tokens):
        return BEYOND
    return UNKNOWN if not compared or any(each.verdict == "unknown" for each in tokens) else 0


def _money(found: MoneyFinding | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "currency": "USD",
        "invoice": format(found.invoice, "f"),
        "booked": format(found.booked, "f"),
        "rows": {**{name: format(each, "f") for name, each in found.pools.items()}, **_residual(found)},
        "share": None if found.share is None else format(found.share, "f"),
        "within": found.within,
    }


def _residual(found: MoneyFinding) -> dict[str, str]:
    return {UNRECONCILED: format(found.residual, "f")}


def _tokens(found: TokenFinding) -> dict[str, Any]:
    return {
        "replica": found.replica,
        "kind": found.kind,
        "verdict": found.verdict,
        "reason": found.reason,
        "engine": found.engine,
        "ledger_least": found.least,
        "ledger_most": found.most,
        "gap": found.gap,
        "share": None if found.share is None else format(found.share, "f"),
        "seconds": found.seconds,
        "left_out": list(found.left_out),
    }


def _print_money(money: MoneyFinding, booked_until: float | None, until: float | None) -> None:
    lines = table("pool", "USD")
    for name, amount in {**money.pools, UNRECONCILED: money.residual}.items():
        row(lines, name, format(amount, "f"))
    row(lines, "invoice", format(money.invoice, "f"))
    console().print(lines)
    share = "" if money.share is None else f" ({money.share:+.2%} of the invoice)"
    click.echo(f"{UNRECONCILED} is {'within' if money.within else 'beyond'} the tolerance{share}")
    if booked_until is None:
        click.echo("no hour of this period is closed yet, or no replica has a price: nothing was booked")
    elif until is not None and booked_until >= until:
        click.echo(f"booked until {moment(booked_until)}, the end of the period")
    else:
        click.echo(f"booked until {moment(booked_until)}: hours after that are not closed yet")


def _print_tokens(tokens: Sequence[TokenFinding]) -> None:
    if not tokens:
        click.echo("no engine's counters were written down in this period: tokens are not compared")
        return
    lines = table("replica", "tokens", "engine", "ledger", "gap", "verdict", "what it means", "left out")
    for each in tokens:
        ledger = str(each.least) if each.least == each.most else f"{each.least} to {each.most}"
        gap = f"{each.gap:+d}" + ("" if each.share is None else f" ({each.share:+.2%})")
        facts = (each.replica, each.kind, str(each.engine), ledger, gap, each.verdict, each.reason)
        row(lines, *facts, "; ".join(each.left_out))
    console().print(lines)
