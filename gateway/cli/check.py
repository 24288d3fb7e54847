"""`gateway check`: validate a configuration and show what it resolves to."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from gateway import changes
from gateway import config as configuration
from gateway.config import Deployment
from gateway.policy.gating import judge
from gateway.stores.verdicts import read_verdicts

CHANGES = 3
"""Not 1, a mistake in the file, nor 2, a mistake in the command."""


@click.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--against", "against_path", metavar="OTHER", type=click.Path(path_type=Path, dir_okay=False),
    help="Print what would change in a gateway that runs with OTHER.",
)  # fmt: skip
@click.option("--exit-code", is_flag=True, help=f"With --against: exit with {CHANGES} when something would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config_path: Path, against_path: Path | None, exit_code: bool, as_json: bool) -> None:
    """Validate CONFIG and everything it names, and print what it resolves to.

    Exit code 0 when it is valid, 1 with every mistake and its line when it is not.

    \b
    Examples:
      gateway check gateway.yaml
      gateway check gateway.yaml --against deployed.yaml
    """
    if exit_code and against_path is None:
        raise click.UsageError("--exit-code says whether something changes: name --against OTHER too")
    deployment = configuration.load(config_path, trust=True)
    if against_path is None:
        _show(deployment, config_path, as_json)
        return
    # The keys of what runs may be gone by now: what it resolves to can be told without them.
    other = configuration.load(against_path)
    found = changes.compare(other, deployment)
    if as_json:
        digests = {"against_digest": changes.digest(other), "config_digest": changes.digest(deployment)}
        click.echo(json.dumps({**digests, "changes": [change.as_json() for change in found]}, indent=2))
    else:
        click.echo("".join(f"{change}\n" for change in found), nl=False)
        click.echo(f"# {config_path} is valid; changes against {against_path}: {len(found)}", err=True)
    if found and exit_code:
        sys.exit(CHANGES)


def _show(deployment: Deployment, config_path: Path, as_json: bool) -> None:
    resolved = {
        "config_digest": changes.digest(deployment),
        "config": deployment.config.model_dump(mode="json", by_alias=True),
        "releases": _releases(deployment),
        "prices": {"version": deployment.prices.version, "currency": deployment.prices.currency},
    }
    if as_json:
        click.echo(json.dumps(resolved, indent=2))
    else:
        click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)
        click.echo(f"# {config_path} is valid", err=True)


def _releases(deployment: Deployment) -> dict[str, dict[str, Any]]:
    enforcement = deployment.config.enforcement
    verdicts, problems = ([], []) if enforcement.mode == "off" else read_verdicts(
        enforcement.verdicts, enforcement.trusted_keys
    )  # fmt: skip
    now = datetime.fromtimestamp(time.time(), UTC)
    out = {}
    for release in deployment.releases.values():
        gate = judge(release.name, release.digest, verdicts, problems, now)
        out[release.name] = {"digest": release.digest, "pool": release.pool, "verdict": gate.answer or "none"}
    return out
