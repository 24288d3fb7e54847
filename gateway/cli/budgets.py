"""`gateway budgets`: what each budget has left, and when it resets."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import click

from gateway import config as configuration
from gateway.cli.common import console, database_option, row, stores_of, table
from gateway.config import GatewayConfig
from gateway.costs import fleet
from gateway.policy.budgets import Budgets, Counter, Standing, compiled, moment, money
from gateway.settings.budgets import RedisConfig
from gateway.stores import spool
from gateway.stores.budget_book import BookAway
from gateway.stores.redis_budgets import RedisBook
from gateway.stores.spend import Spend


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
    made = compiled(deployment, fleet.rates(deployment.config, time.time()))
    if made is None:
        click.echo("this configuration has no budgets: name some under `budgets`")
        return
    found = _spent(made, stores.spend, deployment.config, time.time())
    held = _held(deployment.config.redis, [counter for counter, _ in found])
    values = [_values(counter, spent, held.get(counter.id), made.currency) for counter, spent in found]
    if as_json:
        click.echo(json.dumps({"budgets": values}, indent=2))
        return
    names = ("budget", "of", "money", "amount", "spent", "reserved", "left", "resets_at")
    sheet = table(*names)
    for each in values:
        row(sheet, *("?" if each[name] is None else str(each[name]) for name in names))
    console().print(sheet)


def _spent(made: Budgets, spend: Spend, config: GatewayConfig, now: float) -> list[tuple[Counter, int]]:
    """Every counter with what the ledger says; with `each`, those of whom there is something."""
    found = []
    for name, budget in config.budgets.items():
        if budget.each is None:
            counter = made.of(name, "", now)
            found.append((counter, spend.spent(counter, made.currency)))
            continue
        for subject, spent in sorted(spend.subjects(made.all_of(name, now), budget.each, made.currency).items()):
            found.append((made.of(name, subject, now), spent))
    return found


def _held(redis: RedisConfig | None, counters: list[Counter]) -> dict[str, Standing]:
    """How the counters stand in Redis; nothing where it does not count, or is away."""
    if redis is None:
        return {}

    async def asked() -> list[tuple[Standing, float] | None]:
        book = RedisBook(redis, lambda name, before, after: None)
        try:
            return await book.standings([counter.id for counter in counters])
        finally:
            await book.close()

    try:
        standings = asyncio.run(asked())
    except BookAway as error:
        click.echo(f"reserved is not known: {error}", err=True)
        return {}
    return {each.id: found[0] for each, found in zip(counters, standings, strict=True) if found is not None}


def _values(counter: Counter, spent: int, standing: Standing | None, currency: str) -> dict[str, Any]:
    total = spent if standing is None else standing.total
    reserved = None if standing is None else standing.reserved
    parts = (("key", counter.key), ("team", counter.team), ("model", counter.model))
    return {
        "budget": counter.budget,
        "of": " ".join(f"{name}={value}" for name, value in parts if value is not None),
        "money": f"{counter.money} {currency}" if counter.money == "list" else "gpu",
        "amount": money(counter.limit),
        "spent": money(total),
        "reserved": None if reserved is None else money(reserved),
        "left": money(counter.limit - total - (reserved or 0)),
        "resets_at": moment(counter.until),
    }
