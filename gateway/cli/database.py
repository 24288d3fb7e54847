"""`gateway database`: what the database holds, bringing it up to date, and letting old rows go."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from gateway.cli.common import Day, config_option, database_of, database_option, moment, stores_of
from gateway.cli.tables import console, row, table
from gateway.contracts.errors import InputError
from gateway.contracts.troubles import told
from gateway.stores import retention
from gateway.stores.database import METADATA
from gateway.stores.dialects import connect, size
from gateway.stores.migrations.upgrading import HEAD, revision, upgrade


@click.group()
def database() -> None:
    """Look at the database, bring it up to date, let old rows go.

    \b
    Examples:
      gateway database show --config gateway.yaml
      gateway database upgrade --config gateway.yaml
      gateway database prune --before 2026-08-01
    """


@database.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def show(as_json: bool, config_path: Path | None, database: str | None) -> None:
    """Show the database's revision, its size and how many rows it holds. Nothing is changed.

    \b
    Example:
      gateway database show --config gateway.yaml
    """
    found = _facts(database_of(config_path, database)[0])
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"database: {found['database']}")
    click.echo(f"revision: {found['revision'] or 'none'} (this program's: {HEAD})")
    click.echo(f"size: {found['bytes'] / 1e6:.1f} MB")
    lines = table("table", "rows")
    for name, count in found["rows"].items():
        row(lines, name, str(count))
    console().print(lines)


@database.command(name="upgrade")
@config_option
@database_option
def upgrade_(config_path: Path | None, database: str | None) -> None:
    """Bring the database to this program's revision, as a gateway does when it starts.

    \b
    Example:
      gateway database upgrade --database postgresql://tollgate@db/tollgate
    """
    url, _ = database_of(config_path, database)
    engine = connect(url)
    try:
        before = upgrade(engine, METADATA)
    except sa.exc.DatabaseError as error:
        raise _closed(url, error) from error
    finally:
        engine.dispose()
    click.echo(f"{url} is at revision {HEAD}" + (" already" if before == HEAD else f", it was at {before or 'none'}"))


@database.command()
@click.option("--before", type=Day(), required=True, metavar="DATE", help="Whole months that end by then (UTC).")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def prune(before: float, dry_run: bool, as_json: bool, config_path: Path | None, database: str | None) -> None:
    """Make sums of months out of the sums of old hours, and delete old rows. No total changes.

    A row whose part of the GPUs' cost is not worked out yet is kept, and everything after it; so is what came after an
    hour that was paid for and is not closed. A gateway does this by itself once a day where its configuration says
    `ledger: {retention_days: N}`.

    \b
    Examples:
      gateway database prune --before 2026-08-01 --dry-run
      gateway database prune --before 2026-08-01
    """
    if before > time.time():
        raise click.UsageError("--before lies in the future")
    engine = stores_of(config_path, database).database
    work = retention.foreseen if dry_run else retention.fold
    found = work(engine, int(before // retention.HOUR_S))
    if as_json:
        click.echo(json.dumps({**asdict(found), "dry_run": dry_run}, indent=2))
        return
    would = "would be" if dry_run else "were"
    click.echo(f"before {moment(found.until * retention.HOUR_S)}:")
    click.echo(f"  {found.hours} sums of hours {would} folded into {found.months} sums of months")
    click.echo(f"  {found.rows} rows {would} deleted")
    if found.held_by is not None:
        told = f"a row of {moment(found.held_by)} is not allocated yet"
        if found.unbooked:
            hour = moment(found.held_by)
            told = f"the hour of {hour} was paid for, and is not closed yet: a gateway that runs closes it"
        click.echo(f"  what came later is kept: {told}")


def _facts(url: str) -> dict[str, Any]:
    engine = connect(url)
    try:
        with engine.connect() as connection:
            there = set(sa.inspect(connection).get_table_names())
            tables = [each for each in METADATA.sorted_tables if each.name in there]
            counts = {each.name: connection.execute(_count(each)).scalar() for each in tables}
            return {"database": url, "revision": revision(connection), "bytes": size(connection), "rows": counts}
    except sa.exc.DatabaseError as error:
        raise _closed(url, error) from error
    finally:
        engine.dispose()


def _count(of: sa.Table) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(of)


def _closed(url: str, error: sa.exc.DatabaseError) -> InputError:
    return InputError(f"the database {url!r} cannot be opened: {told(error)}")
