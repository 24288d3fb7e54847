"""`gateway keys`: make, list and end virtual keys."""

import json
import os
import time
from pathlib import Path
from typing import Literal

import click

from gateway.cli.common import config_option, console, database_option, moment, row, stores_of, table
from gateway.policy.auth import KeyRecord

DAY_S = 86_400.0


@click.group()
def keys() -> None:
    """Make, list and end virtual keys.

    \b
    Example:
      gateway keys create --team search --days 90
    """


@keys.command()
@click.option("--name", default="default", show_default=True, help="What the key is for.")
@click.option("--team", default="default", show_default=True, help="Who pays.")
@click.option(
    "--scope",
    type=click.Choice(["serve", "evaluate"]),
    default="serve",
    show_default=True,
    help="`evaluate` reaches releases by name before they have a verdict: for the harness alone.",
)
@click.option("--model", "models", multiple=True, help="A model that the key may use; repeatable.  [default: all]")
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="Expires after so many days.  [default: never]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def create(
    name: str,
    team: str,
    scope: Literal["serve", "evaluate"],
    models: tuple[str, ...],
    days: float | None,
    as_json: bool,
    config_path: Path | None,
    database: str | None,
) -> None:
    """Make a key and print it. It is shown this once and stored nowhere.

    \b
    Example:
      gateway keys create --team search --model support --days 90
    """
    text, record = stores_of(config_path, database, create=True).keys.create(
        name=name,
        team=team,
        scope=scope,
        models=models or None,
        now=time.time(),
        ttl_s=None if days is None else days * DAY_S,
        random_bytes=os.urandom,
    )
    if as_json:
        click.echo(json.dumps({"key": text, "id": record.id, "team": team, "scope": scope}))
    else:
        click.echo(text)
        click.echo(f"id {record.id}, team {team!r}, scope {scope}: keep the key now, it is not shown again", err=True)


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def list_(as_json: bool, config_path: Path | None, database: str | None) -> None:
    """Show every key: ids, never secrets.

    \b
    Example:
      gateway keys list
    """
    records = stores_of(config_path, database, create=True).keys.all()
    rows = [_row(record, time.time()) for record in records]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    lines = table("id", "name", "team", "scope", "models", "created", "state")
    for values in rows:
        row(lines, *values.values())
    console().print(lines if rows else "no keys yet: `gateway keys create` makes one")


def _row(record: KeyRecord, now: float) -> dict[str, str]:
    return {
        "id": record.id,
        "name": record.name,
        "team": record.team,
        "scope": record.scope,
        "models": "all" if record.models is None else ", ".join(sorted(record.models)),
        "created": moment(record.created_at),
        "state": record.refusal(now) or "good",
    }


@keys.command()
@click.argument("key_id", metavar="ID")
@config_option
@database_option
def revoke(key_id: str, config_path: Path | None, database: str | None) -> None:
    """End the key with the public ID. Running gateways refuse it within a second.

    \b
    Example:
      gateway keys revoke 3f2a9c01b7de
    """
    stores_of(config_path, database, create=True).keys.revoke(key_id, time.time())
    click.echo(f"{key_id} is revoked")
