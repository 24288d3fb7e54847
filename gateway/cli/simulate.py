"""`gateway simulate`: what if the traffic of a trace met other policies, other queues, or a fleet of another size."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway import config as configuration
from gateway.cli.common import Amount
from gateway.cli.fitting import fit_command
from gateway.cli.tables import console, row, table
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError
from gateway.policy.routing import POLICIES
from gateway.settings import profile
from gateway.settings.gpu_price import MOST_USD
from gateway.settings.queue import QueueConfig
from gateway.simulation import traces
from gateway.simulation.fleet import Setup, replay
from gateway.simulation.report import Line, Summary, flat, summary
from gateway.simulation.traces import Arrival
from gateway.simulation.workloads import WORKLOADS, Workload

TRACE_ENGINE, TRACE_REPLICAS = profile.H100X2.name, (8,)
FOREVER_S = 86_400.0
MOST_REQUESTS = 5_000_000
"""Of a made-up trace. One takes up to two kilobytes of memory until it is replayed."""

SPREAD = {"ttft_p50", "ttft_p90", "cached_share"}
"""Shown from the least to the most of several seeds, the rest as their mean."""
COLUMNS: dict[str, tuple[str, str, float]] = {
    "ttft_p50": ("TTFT p50 s", ".3f", 1),
    "ttft_p90": ("p90", ".3f", 1),
    "ttft_p99": ("p99", ".3f", 1),
    "itl_mean": ("ITL ms", ".1f", 1000),
    "cached_share": ("cached", ".3f", 1),
    "balance": ("balance", ".3f", 1),
    "busy": ("busy", ".2f", 1),
    "queue_mean": ("queued s", ".2f", 1),
    "output_tokens_s": ("tokens/s", ",.0f", 1),
    "service_ratio": ("ratio", ".2f", 1),
    "jain": ("Jain", ".3f", 1),
    "cost_per_million": ("per 1M tokens", ".4f", 1),
}
"""Metric to its heading, its format, and what it is multiplied with."""


@dataclass(frozen=True)
class Plan:
    """What is tried: each policy on each number of replicas, with each seed. `arrivals` of a seed."""

    arrivals: Callable[[int], Sequence[Arrival]]
    setup: Setup
    policies: Sequence[str]
    sizes: Sequence[int]
    seeds: int


@click.group(invoke_without_command=True)
@click.option("--workload", type=click.Choice(list(WORKLOADS)), help="A made-up trace.")
@click.option(
    "--trace", "trace_path", type=click.Path(path_type=Path, dir_okay=False), help="A file in Mooncake's format."
)
@click.option(
    "--policy", "policies", type=click.Choice(list(POLICIES)), multiple=True, help="Repeatable.  [default: all]"
)
@click.option("--replicas", "sizes", type=click.IntRange(1, 10_000), multiple=True, help="Repeatable.")
@click.option("--engine", help=f"A profile: {', '.join(profile.PROFILES)}, or a file of `simulate fit`.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The gateway's YAML file."
)
@click.option("--pool", "pool_name", help="Its pool, for policy, queue and replicas.  [default: the only one]")
@click.option("--rate", type=Number(min=0, min_open=True), help="Requests per second of a workload.")
@click.option("--seconds", type=Number(min=1, max=FOREVER_S), help="Length of a workload.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Made-up traces to try.")
@click.option("--max-in-flight", type=click.IntRange(1), help="Of each replica; more wait in the fair queue.")
@click.option("--max-wait", type=Number(min=0, min_open=True, max=FOREVER_S), help="Seconds in the queue.")
@click.option("--fifo", is_flag=True, help="First come first served, in place of the fair queue.")
@click.option("--gpu-price", type=Amount(MOST_USD), help="Of one GPU and hour.")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_context
def simulate(
    context: click.Context,
    /,
    *,
    workload: str | None,
    trace_path: Path | None,
    style: str,
    as_json: bool,
    gpu_price: Decimal | None,
    **options: Any,
) -> None:
    """Replay a trace against a fleet that does not exist.

    The routing policies and the fair queue are those that serve; the engines are a model of vLLM, computed or fitted to
    a real one (`gateway simulate fit`). Several policies and sizes are tried one after the other, on the same requests.

    \b
    Examples:
      gateway simulate --workload llm-d --policy score --policy round_robin --replicas 8 --replicas 16 --seeds 5
      gateway simulate --trace conversation_trace.jsonl --engine h100.yaml --gpu-price 2.50
      gateway simulate --trace ours.jsonl --config gateway.yaml --pool h100 --json
      gateway simulate --workload overload --fifo
      gateway simulate fit --url http://10.0.0.7:8000 --out h100.yaml
    """
    if context.invoked_subcommand is not None:
        return
    if (workload is None) == (trace_path is None):
        raise click.UsageError(f"name one of --workload ({', '.join(WORKLOADS)}) and --trace FILE")
    plan = _plan(workload, trace_path, **options)
    lines = _run(plan, gpu_price)
    if as_json or style == "json":
        engine = plan.setup.engine.model_dump(mode="json", exclude_none=True)
        click.echo(json.dumps({"engine": engine, "lines": [each.values() for each in lines]}, indent=2))
    elif style == "csv":
        rows = flat(lines)
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print(plan, lines)


simulate.add_command(fit_command)


def _plan(
    workload: str | None,
    trace_path: Path | None,
    *,
    policies: tuple[str, ...],
    sizes: tuple[int, ...],
    engine: str | None,
    config_path: Path | None,
    pool_name: str | None,
    rate: float | None,
    seconds: float | None,
    seeds: int,
    max_in_flight: int | None,
    max_wait: float | None,
    fifo: bool,
) -> Plan:
    made = None if workload is None else WORKLOADS[workload]
    setup = Setup(profile.find(engine or (made.engine if made else TRACE_ENGINE)), fair=not fifo)
    tried, replicas = tuple(POLICIES), (made.replicas,) if made else TRACE_REPLICAS
    if config_path is not None:
        setup = _configured(setup, config_path, pool_name)
        tried, replicas = (setup.policy,), (setup.replicas,)
    elif pool_name is not None:
        raise click.UsageError("--pool names a pool of --config FILE")
    elif made is not None and made.max_in_flight is not None:
        # What these are about is who is served: nobody gives up, and the one replica leaves nothing to choose.
        waits = QueueConfig(
            max_in_flight=made.max_in_flight, max_queued=1_000_000, max_wait=FOREVER_S, ageing=FOREVER_S
        )
        setup, tried = replace(setup, queue=waits), (Setup.policy,)
    changes = {"max_in_flight": max_in_flight, "max_wait": max_wait}
    queue = setup.queue.model_copy(update={name: value for name, value in changes.items() if value is not None})
    setup = replace(setup, queue=queue)
    if made is None:
        if rate is not None or seconds is not None:
            raise click.UsageError("--rate and --seconds are of a made-up --workload: a trace has its own times")
        read = traces.read(Path(str(trace_path)))
        return Plan(lambda _: read, setup, policies or tried, sizes or replicas, seeds)
    arrivals = _arrivals(made, rate or made.rate, seconds or made.seconds)
    return Plan(arrivals, setup, policies or tried, sizes or replicas, seeds)


def _arrivals(made: Workload, rate: float, seconds: float) -> Callable[[int], Sequence[Arrival]]:
    """The requests of a made-up trace, by its seed. Raises InputError for more than memory holds, and for none."""
    if rate * seconds > MOST_REQUESTS:
        raise InputError(
            f"{rate:g} per second in {seconds:g} s are about {rate * seconds:g} requests, and at most "
            f"{MOST_REQUESTS:,} are tried, for memory holds all of them at once: give less of --rate or --seconds"
        )

    def arrivals(seed: int) -> Sequence[Arrival]:
        found = made.make(Random(seed), rate, seconds)  # noqa: S311 (load, not secrets)
        if not found:
            raise InputError(f"no request arrives at {rate:g} per second in {seconds:g} s: give more of one of them")
        return found

    return arrivals


def _configured(setup: Setup, path: Path, pool_name: str | None) -> Setup:
    """A setup with what a pool of a configuration says."""
    config = configuration.load(path).config
    engines = {name: pool for name, pool in config.pools.items() if pool.replicas}
    known = ", ".join(sorted(engines)) or "none"
    if pool_name is None and len(engines) != 1:
        raise click.UsageError(f"name a pool with --pool: those with replicas are {known}")
    name = pool_name or next(iter(engines))
    if name not in engines:
        raise InputError(f"{path}: no pool {name!r} with replicas: those are {known}")
    pool = engines[name]
    replicas = sum(each.ranks or 1 for each in pool.replicas if not each.drain)
    if not replicas:
        raise InputError(f"{path}: every replica of the pool {name!r} drains")
    return replace(
        setup,
        policy=pool.policy,
        replicas=replicas,
        queue=pool.queue,
        scrape_s=config.health.scrape or None,
        limits={each.level: each.max_queued for each in config.classes.values()},
    )


def watched(arrivals: Sequence[Arrival], hear: Callable[[float], None]) -> Iterator[Arrival]:
    """The arrivals; each time that a hundredth of them has come, `hear` is told which part that is."""
    step = max(1, len(arrivals) // 100)
    for number, arrival in enumerate(arrivals, 1):
        yield arrival
        if number % step == 0:
            hear(step / len(arrivals))


def _run(plan: Plan, gpu_price: Decimal | None) -> list[Line]:
    found: dict[tuple[str, int], list[Summary]] = {pair: [] for pair in product(plan.policies, plan.sizes)}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("replaying", total=len(found) * plan.seeds)
        for seed in range(1, plan.seeds + 1):
            arrivals = plan.arrivals(seed)
            for (policy, replicas), seen in found.items():
                progress.update(task, description=f"{policy} on {replicas}")
                setup = replace(plan.setup, policy=policy, replicas=replicas)
                coming = watched(arrivals, partial(progress.advance, task))
                seen.append(summary(replay(coming, setup, Random(seed)), gpu_price))  # noqa: S311 (load, not secrets)
                progress.update(task, completed=sum(len(each) for each in found.values()))
    return [Line(policy, replicas, seen) for (policy, replicas), seen in found.items()]


def _print(plan: Plan, lines: Sequence[Line]) -> None:
    engine = plan.setup.engine
    click.echo(f"engine {engine.name}: {engine.source or 'of unknown source'}")
    if engine.fit is not None:
        click.echo(f"  fitted: R² {engine.fit.r2:.3f}, a step to within {engine.fit.mean_error:.1%}")
    requests = lines[0].over("requests", max)
    click.echo(
        f"{requests} requests" + (f"; {plan.seeds} seeds: the mean, and from the least to the most" * (plan.seeds > 1))
    )
    console().print(_table(lines))
    lost = [line for line in lines if line.over("completed", min) < line.over("requests", min)]
    for line in lost:
        counts = {name: line.over(name, max) for name in ("refused", "expired", "too_long")}
        told = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items() if value)
        click.echo(f"{line.policy} on {line.replicas}: not all were answered: {told}, in the worst seed")
    service = lines[0].seeds[0].service
    if len(service) > 1:
        click.echo("service while requests came in, weighted tokens for a weight of 1: " + _served(service))


def _served(service: dict[str, float]) -> str:
    return ", ".join(f"{tenant or 'nobody'} {value:,.0f}" for tenant, value in service.items())


def _table(lines: Sequence[Line]) -> Table:
    shown = [name for name in COLUMNS if any(_tells(line, name) for line in lines)]
    sheet = table("policy", "replicas")
    for name in shown:
        sheet.add_column(COLUMNS[name][0], justify="right")
    for line in lines:
        row(sheet, line.policy, str(line.replicas), *(_cell(line, name) for name in shown))
    return sheet


def _tells(line: Line, name: str) -> bool:
    """Whether a column says something: a queue that nobody waited in does not, nor do shares of hundreds of tenants."""
    most = line.over(name, max)
    if name == "queue_mean":
        return bool(most)
    if name in ("service_ratio", "jain"):
        return bool(line.seeds[0].service) and most is not None
    return most is not None


def _cell(line: Line, name: str) -> str:
    _, style, factor = COLUMNS[name]
    values = [line.over(name, combine) for combine in (lambda seen: sum(seen) / len(seen), min, max)]
    if values[0] is None:
        return ""
    mean, least, most = (format(float(value) * factor, style) for value in values)
    return mean if least == most or name not in SPREAD else f"{mean} ({least}–{most})"
