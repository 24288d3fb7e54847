"""`gateway explain`: which release answers at a moment, in a region, for a request; every rule with its reason."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gateway import changes
from gateway import config as configuration
from gateway.admin import requests
from gateway.cli import explained
from gateway.cli.common import YEARS, Called, config_option, database_option, stores_of
from gateway.cli.tables import console, row, table
from gateway.config import GatewayConfig
from gateway.contracts.errors import InputError
from gateway.policy import inputs as facts
from gateway.policy.endpoints import CHAT, ENDPOINTS
from gateway.policy.rules import SINCE, Decision, Rulebook, Step
from gateway.settings.rules import LIVE
from gateway.stores import spool


class At(click.ParamType[datetime]):
    """A moment such as 2026-12-24T18:30-03:00; without an offset it is wall time of the region."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"expected a moment such as 2026-12-24T18:30-03:00, found {value!r}", param, ctx)
        if found.year not in YEARS:
            self.fail(f"expected a year from {YEARS[0]} to {YEARS[-1]}, found {found.year}", param, ctx)
        return found


@dataclass(frozen=True)
class Explained:
    """A model with its rules, each by itself, and the one that wins; neither for a model without rules."""

    model: str
    live: str
    steps: list[Step]
    decision: Decision | None

    @property
    def release(self) -> str:
        """The one that answers."""
        named = LIVE if self.decision is None else self.decision.release
        return self.live if named == LIVE else named


@click.command()
@click.argument("request_id", type=Called(), required=False)
@config_option
@database_option
@click.option("--model", help="The model asked for.  [default: each]")
@click.option("--at", "moment", type=At(), help="When.  [default: now]")
@click.option("--region", help="Where.  [default: the configuration's default]")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of the request; repeatable.")
@click.option("--team", type=Called(), help="The key's team.")
@click.option("--key", "key_id", type=Called(), metavar="ID", help="The key's public id.")
@click.option(
    "--scope",
    type=click.Choice(["serve", "evaluate", "admin"]),
    default="serve",
    show_default=True,
    help="The key's scope.",
)
@click.option(
    "--endpoint", type=click.Choice(list(ENDPOINTS)), default=CHAT.path, show_default=True, metavar="PATH",
    help="The path that is asked.",
)  # fmt: skip
@click.option("--stream", is_flag=True, help="The request streams.")
@click.option("--max-tokens", type=click.IntRange(min=0), default=0, help="What it sets; 0 when it sets none.")
@click.option("--choices", type=click.IntRange(min=1), default=1, help="How many answers it wants.")
@click.option("--body-bytes", type=click.IntRange(min=0), default=0, help="The size of its body.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    request_id: str | None,
    config_path: Path | None,
    database: str | None,
    model: str | None,
    moment: datetime | None,
    region: str | None,
    headers: tuple[str, ...],
    as_json: bool,
    **asked: Any,
) -> None:
    """Say which release answers a request, and why: local time, and every rule with what it comes to.

    With REQUEST_ID: how that request of the ledger was decided, rules, wait and replica, decided again from what was
    recorded. Exit code 1 when it does not come out the same.

    \b
    Examples:
      gateway explain tg-019a3f5c7d1e8f00c0ffee1234567890 --config gateway.yaml
      gateway explain --config gateway.yaml --at 2026-12-24T18:30-03:00 --region BR-SP
      gateway explain --config gateway.yaml --model support --team sales --header x-tier=gold
    """
    if request_id is not None:
        _refuse_other_options(ctx)
        _request(request_id, config_path, database, as_json)
        return
    if config_path is None:
        raise click.UsageError("name a configuration (--config FILE), or a request of the ledger (REQUEST_ID)")
    config = configuration.load(config_path).config
    rulebook = Rulebook(config)
    region = config.regions.default if region is None else region
    _known(region, rulebook.calendars.regions, "region")
    for name in [] if model is None else [model]:
        _known(name, config.models, "model")
    at = _seconds(moment, region, rulebook)
    given = {f"headers.{name}": value for name, value in _headers(headers, config).items()}
    given |= {
        "key.id": asked["key_id"] or "",
        "key.team": asked["team"] or "",
        "key.scope": asked["scope"],
        **{f"req.{name}": asked[name] for name in ("endpoint", "stream", "max_tokens", "choices", "body_bytes")},
    }
    found = [
        _explained(name, config, rulebook, region, at, {**given, "req.model": name})
        for name in ([model] if model is not None else config.models)
    ]
    local = rulebook.calendars.at(region, at)
    if as_json:
        told = {"at": _utc(at), "region": region, "local": local, "models": [_as_json(each) for each in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _print(region, at, local, found)


OF_A_REQUEST = {"request_id", "config_path", "database", "as_json"}


def _refuse_other_options(ctx: click.Context) -> None:
    """A request of the ledger has its own model, moment and all else."""
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if extra := sorted(set(given) - OF_A_REQUEST):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        raise click.UsageError(f"REQUEST_ID says which request, so leave out {names}")


def _request(request_id: str, config_path: Path | None, database: str | None, as_json: bool) -> None:
    stores = stores_of(config_path, database)
    spool.recover(stores.spool_folder, stores.ledger.insert)
    values = stores.ledger.find(request_id)
    if values is None:
        raise InputError(
            f"no request {request_id!r} in this ledger: it is in the header x-tollgate-request-id of its answer, and "
            "`gateway ledger` lists the latest; a request is there once it has ended"
        )
    deployment = None if config_path is None else configuration.load(config_path)
    if deployment is None:
        found = requests.again(values, None, None)
    else:
        found = requests.again(values, Rulebook(deployment.config), changes.digest(deployment))
    if as_json:
        click.echo(json.dumps(requests.as_json(found), indent=2, ensure_ascii=False))
    else:
        explained.show(found)
    if not found.same:
        sys.exit(1)


def _known(name: str, names: Mapping[str, Any], kind: str) -> None:
    if name not in names:
        raise InputError(f"no {kind} {name!r} in this configuration; those here are {', '.join(sorted(names))}")


def _seconds(moment: datetime | None, region: str, rulebook: Rulebook) -> float:
    if moment is None:
        return time.time()
    if moment.tzinfo is not None:
        return moment.timestamp()
    calendar = rulebook.calendars.regions[region]
    if not calendar.exists(moment):
        raise InputError(
            f"in {region} clocks go forward over {moment.isoformat()}: name a later time, or one with an offset, "
            "such as 2026-12-24T18:30-03:00"
        )
    return calendar.instant(moment)


def _headers(headers: tuple[str, ...], config: GatewayConfig) -> dict[str, str]:
    """A value for every header that rules may read."""
    found = dict.fromkeys(config.headers, "")
    for each in headers:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"--header: expected NAME=VALUE, found {each!r}")
        if name.lower() not in found:
            known = ", ".join(config.headers) or "none"
            raise InputError(f"--header: no rule may read {name!r}; the configuration admits {known}")
        # What is no UTF-8 came through the shell byte by byte, as it would through a request.
        found[name.lower()] = os.fsencode(value)[: facts.HEADER_BYTES].decode("utf-8", "replace")
    return found


def _explained(
    model: str, config: GatewayConfig, rulebook: Rulebook, region: str, at: float, given: dict[str, Any]
) -> Explained:
    live = config.models[model].live
    book = rulebook.books.get(model)
    if book is None:
        return Explained(model, live, [], None)
    moment = book.seen(region, at, rulebook.calendars.at(region, at))
    inputs = {"region": region, **given, **facts.recorded(moment.values), SINCE: book.since(moment.span)}
    return Explained(model, live, rulebook.explain(model, inputs), rulebook.replay(model, inputs))


def _why(step: Step, decision: Decision | None) -> tuple[str, str]:
    """What a rule comes to, and what that means."""
    if not step.in_time:
        times = [
            f"from {step.rule.from_}" if step.rule.from_ else "",
            f"until {step.rule.until}" if step.rule.until else "",
        ]
        return "not in its time", " ".join(filter(None, times))
    if step.error is not None:
        return "error", f"counts as false: {step.error}"
    if not step.holds:
        return "false", ""
    won = decision is not None and decision.rule == step.rule.id
    return "true", "wins: the first that holds" if won else "comes after the winner"


def _as_json(found: Explained) -> dict[str, Any]:
    decision = found.decision
    return {
        "model": found.model,
        "rule": None if decision is None else decision.rule,
        "release": found.release,
        "by": LIVE if decision is None or decision.release == LIVE else "rule",
        "inputs": {} if decision is None else dict(decision.inputs),
        "rules": [
            {
                "rule": step.rule.id,
                "when": step.rule.when,
                "release": step.rule.release,
                "result": _why(step, decision)[0],
                "reason": _why(step, decision)[1],
            }
            for step in found.steps
        ],
    }


def _print(region: str, at: float, local: Mapping[str, Any], found: list[Explained]) -> None:
    out = console()
    lists = {name: ", ".join(local[name]) or "none" for name in ("holidays", "windows", "seasons")}
    day = datetime.fromisoformat(local["date"]).strftime("%A")
    click.echo(f"{region}: {day} {local['date']} {local['hour']:02d}:{local['minute']:02d} local time ({_utc(at)})")
    click.echo("".join(f"  {name}: {value}\n" for name, value in lists.items()))
    for each in found:
        live = each.decision is None or each.decision.release == LIVE
        why = "it has no rules" if each.decision is None else f"the rule {each.decision.rule!r} wins"
        promoted = " (live in this file; a promotion may have put another in its place)" if live else ""
        click.echo(f"{each.model}: {each.release}{promoted}, since {why}")
        if each.steps:
            lines = table("rule", "result", "release", "when", "")
            for step in each.steps:
                result, reason = _why(step, each.decision)
                row(lines, step.rule.id, result, step.rule.release, step.rule.when or "always", reason)
            out.print(lines)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
