"""`gateway releases`: what each model serves, and putting a release live."""

import json
import time
from pathlib import Path

import click

from gateway import config as configuration
from gateway.admin.releases import listed, state_of
from gateway.cli.tables import console, row, table
from gateway.config import Deployment
from gateway.control_plane.state import State
from gateway.stores.bundle import open_stores


@click.group()
def releases() -> None:
    """Show releases and their verdicts, and put one live.

    \b
    Example:
      gateway releases list --config gateway.yaml
    """


def _config_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--config", "config_path", required=True, type=click.Path(path_type=Path, dir_okay=False),
        help="The gateway's YAML file.",
    )(command)  # fmt: skip


@releases.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_config_option
def list_(config_path: Path, as_json: bool) -> None:
    """Show every release, its verdict, and which one is live.

    \b
    Example:
      gateway releases list --config gateway.yaml
    """
    deployment, state = _state(config_path)
    rows = listed(deployment, state, time.time())
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    lines = table("release", "live", "verdict", "digest", "may serve")
    for each in rows:
        live = "live" if each["live"] else ""
        row(lines, each["release"], live, each["verdict"], each["digest"][:19], each["refusal"] or "yes")
    console().print(lines)


@releases.command()
@click.argument("name", metavar="RELEASE")
@_config_option
def promote(name: str, config_path: Path) -> None:
    """Make RELEASE the live one of its model. Running gateways follow within a second.

    Refused, with the reason and exit code 1, when enforcement asks for a verdict that the release does not have.

    \b
    Example:
      gateway releases promote support@3 --config gateway.yaml
    """
    _, state = _state(config_path)
    release = state.promote(name)
    click.echo(f"{release.model} now serves {release.name} ({release.digest})")


def _state(config_path: Path) -> tuple[Deployment, State]:
    deployment = configuration.load(config_path, trust=True)
    stores = open_stores(deployment.config.database, deployment.config.ledger.spool)
    return deployment, state_of(deployment, stores)
