"""`gateway check`: validate a configuration and show what it resolves to."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from gateway import config as configuration
from gateway.config import Deployment
from gateway.policy.gating import judge
from gateway.stores.verdicts import read_verdicts


@click.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config_path: Path, as_json: bool) -> None:
    """Validate CONFIG and everything it names, and print what it resolves to.

    Exit code 0 when it is valid, 1 with every mistake and its line when it is not.

    \b
    Example:
      gateway check gateway.yaml
    """
    deployment = configuration.load(config_path, trust=True)
    resolved = {
        "config_digest": deployment.config.digest(),
        "config": deployment.config.model_dump(mode="json"),
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
