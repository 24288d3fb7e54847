"""`gateway engines`: what the engines say of themselves, asked now."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from gateway import config as configuration
from gateway.cli.common import config_option, stores_of
from gateway.cli.tables import console, row, table
from gateway.config import PoolConfig
from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError
from gateway.control_plane.probes import ProbeFailed, ask_asleep, ask_health
from gateway.control_plane.registration import ask_facts
from gateway.policy.facts import Facts, untold
from gateway.settings.health import Health
from gateway.settings.replicas import ReplicaConfig
from gateway.upstreams.vllm import Replica, replicas_of

CONNECT_S = 5.0
UNKNOWN = "unknown"
WORDS = {None: UNKNOWN, True: "yes", False: "no"}
LATELY_S = 7 * 86_400.0
"""What an engine's answers carry is what those of the last week did."""


@dataclass(frozen=True)
class Seen:
    """One engine. `trouble` says why it is not up; None for whether it sleeps: it does not say."""

    replica: Replica
    trouble: str | None
    asleep: bool | None
    facts: Facts


@click.command()
@config_option
@click.option("--upstream", "upstreams", multiple=True, metavar="URL", help="A running engine; repeatable.")
@click.option("--upstream-key-env", metavar="NAME", help="The variable that holds the engines' own API key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def engines(config_path: Path | None, upstreams: tuple[str, ...], upstream_key_env: str | None, as_json: bool) -> None:
    """Ask each engine whether it is up and awake, and what it serves.

    No completion is asked for, so nothing is generated and nothing is costed: whether answers carry the engine's own
    times and its cached tokens, which costs are split by, is known from the ledger of a configuration. Exit code 0 when
    every engine is up, 1 when one is not.

    \b
    Examples:
      gateway engines --config gateway.yaml
      gateway engines --upstream http://10.0.0.7:8000 --json
    """
    if (config_path is None) != bool(upstreams):
        raise click.UsageError("name one of --config FILE and --upstream URL (repeatable)")
    if config_path is not None:
        loaded = configuration.load(config_path).config
        pools, health, connect_s = loaded.pools, loaded.health, loaded.timeouts.connect
    else:
        key = None if upstream_key_env is None else Secret(env=upstream_key_env)
        pools, health, connect_s = {"upstream": _pool(upstreams, key)}, Health(), CONNECT_S
    replicas = [
        each for name, pool in pools.items() for each in replicas_of(name, pool, connect_s=connect_s, health=health)
    ]
    seen = _with_ledger(asyncio.run(_ask_all(replicas, health.timeout)), config_path)
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in seen], indent=2))
    else:
        _print(seen)
    raise SystemExit(int(any(each.trouble for each in seen)))


def _pool(urls: tuple[str, ...], key: Secret | None) -> PoolConfig:
    try:
        return PoolConfig(replicas=tuple(ReplicaConfig(url=url, api_key=key) for url in urls))
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--upstream: {reason}") from error


def _with_ledger(seen: list[Seen], config_path: Path | None) -> list[Seen]:
    """The same, with what the latest rows say of each engine's answers, where there is a ledger."""
    if config_path is None:
        return seen
    try:
        counters = stores_of(config_path, None).counters
    except InputError:
        return seen  # no gateway has run here yet
    told = counters.told([each.replica.name for each in seen], time.time() - LATELY_S)
    found = []
    for each in seen:
        carried = told[each.replica.name]
        found.append(replace(each, facts=replace(each.facts, times=carried.times, cached=carried.cached)))
    return found


async def _ask_all(replicas: list[Replica], seconds: float) -> list[Seen]:
    return await asyncio.gather(*(_ask(replica, seconds) for replica in replicas))


async def _ask(replica: Replica, seconds: float) -> Seen:
    asleep, facts = None, Facts()
    try:
        await ask_health(replica, seconds)
        asleep = await ask_asleep(replica, seconds)
        facts = await ask_facts(replica, seconds)
    except ProbeFailed as error:
        return Seen(replica, str(error), asleep, facts)
    return Seen(replica, None, asleep, facts)


def _as_json(seen: Seen) -> dict[str, Any]:
    """Everything but the fingerprint, which was not asked for."""
    facts = asdict(seen.facts)
    del facts["fingerprint"]
    return {
        "replica": seen.replica.name,
        "url": seen.replica.url,
        "up": seen.trouble is None,
        "trouble": seen.trouble,
        "asleep": seen.asleep,
        "draining": seen.replica.vitals.draining,
        **facts,
    }


def _print(seen: list[Seen]) -> None:
    names = ("version", "max_model_len", "models", "adapters", "missing metrics", "own times", "cached tokens")
    lines = table("replica", "url", "up", "asleep", *names)
    for each in seen:
        facts, asleep = each.facts, WORDS[each.asleep]
        if each.trouble is not None:
            row(lines, each.replica.name, each.replica.url, f"no: {each.trouble}", *[""] * 8)
            continue
        row(
            lines,
            each.replica.name,
            each.replica.url,
            "draining" if each.replica.vitals.draining else "yes",
            asleep,
            facts.version or UNKNOWN,
            str(facts.max_model_len or UNKNOWN),
            *(", ".join(names) or "none" for names in (facts.models, facts.adapters, facts.missing)),
            WORDS[facts.times],
            WORDS[facts.cached],
        )
    console().print(lines)
    for lacking in dict.fromkeys(text for each in seen for text in untold(each.facts.times, each.facts.cached)):
        click.echo(f"where an engine does not tell {lacking}")
