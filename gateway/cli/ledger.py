"""`gateway ledger`: the latest requests, one row each."""

import json
from decimal import Decimal
from pathlib import Path

import click

from gateway.cli.common import config_option, database_option, moment, stores_of
from gateway.cli.tables import console, row, table
from gateway.stores import spool


@click.command()
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many requests.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def ledger(last: int, as_json: bool, config_path: Path | None, database: str | None) -> None:
    """Show the latest requests, one row each, the newest first.

    \b
    Example:
      gateway ledger --last 5
    """
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    rows = stores.ledger.recent(last)
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=_text))
        return
    lines = table(
        "started", "request", "team", "release", "replica", "outcome", "in", "cached", "out", "cost", "seconds"
    )
    for each in rows:
        row(
            lines,
            moment(each["started_at"]),
            each["request_id"],
            each["team"],
            each["release"],
            each["replica"] or "",
            each["outcome"],
            *(_text(each[name]) or "unknown" for name in ("input_tokens", "cached_tokens", "output_tokens")),
            _text(each["cost"]) or "unpriced",
            f"{each['duration_s']:.3f}",
        )
    console().print(lines)


def _text(value: Decimal | int | None) -> str | None:
    return None if value is None else format(value, "f" if isinstance(value, Decimal) else "d")
