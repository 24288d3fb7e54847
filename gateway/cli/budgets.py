"""`gateway budgets`: what each budget has left, and when it resets."""

import asyncio
import json
import time
from pathlib import Path

import click

from gateway import config as configuration
from gateway.admin import budgets as standing
from gateway.cli.common import database_option, stores_of
from gateway.cli.tables import console, row, table
from gateway.policy.budgets import Counter, Standing
from gateway.settings.budgets import RedisConfig
from gateway.stores import spool
from gateway.stores.budget_book import BookAway
from gateway.stores.redis_budgets import RedisBook


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: amounts as text, so that none is rounded.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The gateway's YAML file.",
)
@database_option
def budgets(as_json: bool, config_path: Path, database: str | None) -> None:
    """Show what is spent of each budget in its window of now, what is left, and when it resets.

    Spent is what the ledger says. What running requests hold (`reserved`) is told where Redis counts; a gateway that
    counts alone tells it to nobody.

    \b
    Examples:
      gateway budgets --config gateway.yaml
      gateway budgets --config gateway.yaml --json
    """
    deployment = configuration.load(config_path)
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    made = standing.budgets_of(deployment, time.time())
    if made is None:
        none = "this configuration has no budgets: name some under `budgets`"
        click.echo(json.dumps({"budgets": []}, indent=2) if as_json else none)
        return
    found = standing.spent(made, stores.spend, time.time())
    held = _held(deployment.config.redis, [counter for counter, _ in found])
    values = standing.values(found, held, made.currency)
    if as_json:
        click.echo(json.dumps({"budgets": values}, indent=2))
        return
    names = ("budget", "of", "money", "amount", "spent", "reserved", "left", "resets_at")
    sheet = table(*names)
    for each in values:
        row(sheet, *("?" if each[name] is None else str(each[name]) for name in names))
    console().print(sheet)


def _held(redis: RedisConfig | None, counters: list[Counter]) -> dict[str, Standing]:
    """How the counters stand in Redis; nothing where it does not count, or is away."""
    if redis is None:
        return {}

    async def asked() -> dict[str, Standing]:
        book = RedisBook(redis, lambda name, before, after: None)
        try:
            return await standing.held(book, counters)
        finally:
            await book.close()

    try:
        return asyncio.run(asked())
    except BookAway as error:
        click.echo(f"reserved is not known: {error}", err=True)
        return {}
