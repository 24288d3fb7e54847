"""`gateway costs break-even`: how busy a pool has to be before its GPUs cost less than the list price of its work."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import click

from gateway import config as configuration
from gateway.admin.costs import Asked
from gateway.cli import cost_files
from gateway.cli.common import Day, database_option, stores_of
from gateway.cli.tables import console, row, table
from gateway.config import Deployment
from gateway.costs import fleet, page
from gateway.costs.break_even import BreakEven, Mix, Observed, of_pool
from gateway.settings.gpu_price import GpuPrice
from gateway.stores import spool
from gateway.stores.cost_lines import HOUR_S

HEADINGS = ("pool", "model", "USD per GPU hour", "GPUs", "list, per million", "by its profile", "by its busiest hour",
            "busy", "what is not known")  # fmt: skip
SAID = (
    "The part of its peak that a pool has to be busy before its own GPUs cost less than the list price of the same "
    "tokens. The peak is worked out from the engine's profile, or taken from the busiest hour of a replica, which can "
    "only be lower. Busy is the part of the time paid for in which a request was there."
)


class Row(NamedTuple):
    """A pool and one of its models. `busy` is None without a closed hour."""

    pool: str
    model: str
    price: GpuPrice
    usd_per_gpu_hour: Decimal
    profile: BreakEven
    observed: BreakEven
    busy: Decimal | None

    @property
    def reasons(self) -> str:
        """Why there is no answer, or what has to be said of one."""
        return "; ".join(dict.fromkeys(each.reason for each in (self.profile, self.observed) if each.reason))


def rows(ask: Asked, deployment: Deployment) -> Iterator[Row]:
    """A row for each model of each pool that has a price, by what was asked of it in the period."""
    mixes, given, busy = _mixes(ask), _given(ask), _busy(ask)
    engines: dict[str, fleet.Engine] = {}
    for engine in fleet.engines(deployment.config).values():
        if engine.price is not None:
            engines.setdefault(engine.pool, engine)
    for pool, engine in engines.items():
        price = engine.price
        if price is None:
            continue
        now = price.pieces(ask.now)[0].usd_per_gpu_hour
        for model in sorted({each.model for each in deployment.releases.values() if each.pool == pool}):
            by_profile, by_hour = of_pool(
                per_gpu_hour=now,
                gpus=price.gpus,
                price=deployment.prices.price(model, ask.now),
                mix=mixes.get((pool, model), Mix(0, 0, 0, 0)),
                profile=price.step_model(),
                hours=given[pool],
            )
            yield Row(pool, model, price, now, by_profile, by_hour, busy.get(pool))


def sheet(found: list[Row]) -> page.Sheet:
    """The same as a table of the page."""
    return page.Sheet("Break-even", HEADINGS, [_cells(each) for each in found], SAID)


@click.command("break-even")
@click.option("--since", type=Day(), help="By what was asked from this day on (UTC), such as 2026-11-01.")
@click.option("--until", type=Day(), help="Up to the start of this day (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The gateway's configuration, which has the prices.",
)
@database_option
def break_even_command(
    since: float | None, until: float | None, as_json: bool, config_path: Path, database: str | None
) -> None:
    """Show how busy each pool has to be before its GPUs cost less than the list price of what it does.

    By the mix of prompts and answers that was asked of it. What is not known is said, and never zero.

    \b
    Example:
      gateway costs break-even --config gateway.yaml --since 2026-11-01
    """
    deployment, stores = configuration.load(config_path), stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    ask = cost_files.asked(stores, config_path, (), {}, since, until, time.time())
    found = list(rows(ask, deployment))
    if as_json:
        click.echo(json.dumps({"pools": [_values(each) for each in found]}, indent=2))
    elif not found:
        click.echo(
            'no pool has a `gpu` price: give one to a pool of your engines, such as gpu: {usd_per_gpu_hour: "2.50"}'
        )
    else:
        shown = table(*HEADINGS)
        for each in found:
            row(shown, *_cells(each))
        console().print(shown)
        click.echo(SAID)


def _mixes(ask: Asked) -> dict[tuple[str, str], Mix]:
    return {
        (line.group["pool"], line.group["model"]): Mix(
            line.requests, line.input_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens
        )
        for line in ask.lines(("pool", "model"))
        if line.requests
    }


def _given(ask: Asked) -> dict[str, list[Observed]]:
    """What each replica gave in each hour, by pool."""
    found: dict[str, list[Observed]] = defaultdict(list)
    for line in ask.lines(("pool", "replica", "hour")):
        found[line.group["pool"]].append(Observed(HOUR_S * 1_000_000, line.input_tokens + line.output_tokens))
    return found


def _busy(ask: Asked) -> dict[str, Decimal]:
    paid, busy = defaultdict[str, int](int), defaultdict[str, int](int)
    first, last = (None if day is None else int(day // HOUR_S) for day in (ask.since, ask.until))
    for hour in ask.stores.costs.hours(first, last):
        paid[hour.pool] += hour.paid_us
        busy[hour.pool] += hour.busy_us
    return {pool: Decimal(busy[pool]) / Decimal(us) for pool, us in paid.items() if us}


def _cells(each: Row) -> list[str]:
    listed = each.profile.list_per_million
    return [
        each.pool,
        each.model,
        f"{each.usd_per_gpu_hour:f}",
        str(each.price.gpus),
        "unknown" if listed is None else f"{listed:.4f}",
        _percent(each.profile.utilisation),
        _percent(each.observed.utilisation),
        _percent(each.busy),
        each.reasons,
    ]


def _values(each: Row) -> dict[str, Any]:
    return {
        "pool": each.pool,
        "model": each.model,
        "usd_per_gpu_hour": f"{each.usd_per_gpu_hour:f}",
        "gpus": each.price.gpus,
        "busy": _text(each.busy),
        **{
            found.basis: {
                "utilisation": _text(found.utilisation),
                "peak_tokens_per_hour": _text(found.peak),
                "list_per_million": _text(found.list_per_million),
                "reason": found.reason,
            }
            for found in (each.profile, each.observed)
        },
    }


def _percent(part: Decimal | None) -> str:
    return "unknown" if part is None else f"{part * 100:.1f} %"


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
