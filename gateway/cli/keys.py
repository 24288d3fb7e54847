"""`gateway keys`: make, list, change and end virtual keys."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from gateway import config as configuration
from gateway.cli.common import Called, config_option, database_option, moment, stores_of
from gateway.cli.tables import console, row, table
from gateway.contracts.commands import Number
from gateway.contracts.errors import InputError
from gateway.policy.auth import KeyRecord
from gateway.settings import tags as tagging
from gateway.settings.limits import MOST, Quota

DAY_S = 86_400.0
MOST_DAYS = 36_500
"""As over the admin API."""
LIFT = "none"
COLUMNS = "id", "name", "team", "scope", "models", "tags", "rpm", "tpm", "concurrency", "class", "created", "state"

Command = TypeVar("Command", bound=Callable[..., Any])


class LimitType(click.ParamType[int | str]):
    """A number from 1, or the word `none`."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or LIFT."""
        text = str(value)
        if text == LIFT:
            return LIFT
        if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST:
            return int(text)
        return self.fail(f"expected a whole number from 1, or {LIFT!r}, found {text!r}", param, ctx)


class TagType(click.ParamType[tuple[str, str]]):
    """A tag and its value."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """(name, value)."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals:
            return self.fail(f"expected NAME=VALUE such as project=alpha, found {value!r}", param, ctx)
        return name, text


def tag_option(command: Command) -> Command:
    """`--tag NAME=VALUE`."""
    text = "On whose behalf: stands in each of its rows, and costs divide by it; repeatable."
    return click.option("--tag", "tags", type=TagType(), multiple=True, help=text)(command)


def limit_options(command: Command) -> Command:
    """`--rpm`, `--tpm`, `--concurrency` and `--class`."""
    for decorate in (
        click.option("--class", "priority_class", type=Called(), help="Its priority class, or `none` for its team's."),
        click.option("--concurrency", type=LimitType(), help="Requests in flight at once, or `none`."),
        click.option("--tpm", type=LimitType(), help="Tokens per minute, of prompts and answers, or `none`."),
        click.option("--rpm", type=LimitType(), help="Requests per minute, or `none`."),
    ):
        command = decorate(command)
    return command


@click.group()
def keys() -> None:
    """Make, list, change and end virtual keys.

    \b
    Example:
      gateway keys create --team search --days 90
    """


@keys.command()
@click.option("--name", type=Called(), default="default", show_default=True, help="What the key is for.")
@click.option("--team", type=Called(), default="default", show_default=True, help="Who pays.")
@click.option(
    "--scope",
    type=click.Choice(["serve", "evaluate", "admin"]),
    default="serve",
    show_default=True,
    help="`evaluate` reaches releases by name before they have a verdict: for the harness alone. "
    "`admin` is told with each answer how it was routed.",
)
@click.option(
    "--model", "models", type=Called(), multiple=True, help="A model that the key may use; repeatable.  [default: all]"
)
@click.option("--days", type=Number(0, MOST_DAYS, min_open=True), help="Expires after so many days.  [default: never]")
@tag_option
@limit_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@database_option
def create(
    name: str,
    team: str,
    scope: Literal["serve", "evaluate", "admin"],
    models: tuple[str, ...],
    days: float | None,
    tags: tuple[tuple[str, str], ...],
    as_json: bool,
    config_path: Path | None,
    database: str | None,
    **limits: int | str | None,
) -> None:
    """Make a key and print it. It is shown this once and stored nowhere.

    \b
    Example:
      gateway keys create --team search --model support --days 90 --rpm 600 --tag project=alpha
    """
    asked, warnings = _limits(limits, config_path), _unknown(models, config_path)
    priority_class = asked.pop("priority_class", None)
    text, record = stores_of(config_path, database, create=True).keys.create(
        name=name,
        team=team,
        scope=scope,
        models=models or None,
        now=time.time(),
        ttl_s=None if days is None else days * DAY_S,
        random_bytes=os.urandom,
        quota=Quota.model_validate(asked),
        priority_class=None if priority_class is None else str(priority_class),
        tags=_tags(tags),
    )
    if as_json:
        click.echo(json.dumps({"key": text, "id": record.id, "team": team, "scope": scope}))
    else:
        click.echo(text)
        click.echo(f"id {record.id}, team {team!r}, scope {scope}: keep the key now, it is not shown again", err=True)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _unknown(models: tuple[str, ...], config_path: Path | None) -> list[str]:
    """Which of a key's models the configuration, where one is named, has not: they may be added later."""
    known = () if config_path is None or not models else sorted(configuration.load(config_path).config.models)
    return [
        f"no model {model!r} in {str(config_path)!r}: it has {', '.join(known)}; the key opens nothing by that name "
        "until there is one"
        for model in models
        if known and model not in known
    ]


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
    lines = table(*COLUMNS)
    for values in rows:
        row(lines, *("-" if value is None else str(value) for value in values.values()))
    console().print(lines if rows else "no keys yet: `gateway keys create` makes one")


def _row(record: KeyRecord, now: float) -> dict[str, str | int | None]:
    """What is shown of a key, in the order of COLUMNS. None: no limit, or the team's class."""
    return {
        "id": record.id,
        "name": record.name,
        "team": record.team,
        "scope": record.scope,
        "models": "all" if record.models is None else ", ".join(sorted(record.models)),
        "tags": ", ".join(f"{name}={value}" for name, value in tagging.decode(record.tags).items()) or None,
        "rpm": record.rpm,
        "tpm": record.tpm,
        "concurrency": record.concurrency,
        "class": record.priority_class,
        "created": moment(record.created_at),
        "state": record.refusal(now) or "good",
    }


@keys.command()
@click.argument("key_id", metavar="ID", type=Called())
@tag_option
@click.option("--no-tags", is_flag=True, help="Take its tags away.")
@limit_options
@config_option
@database_option
def update(
    key_id: str,
    tags: tuple[tuple[str, str], ...],
    no_tags: bool,
    config_path: Path | None,
    database: str | None,
    **limits: int | str | None,
) -> None:
    """Set limits of the key with the public ID, or lift one with `none`. What is not named stays as it is.

    Tags are set all together: name each that the key shall have. Running gateways follow within a second; what is used
    of a limit stays used, and rows keep the tags that they have.

    \b
    Example:
      gateway keys update 3f2a9c01b7de --rpm 1200 --tpm none --class batch --tag project=beta
    """
    if tags and no_tags:
        raise click.UsageError("name --tag or --no-tags, not both")
    changes = _limits(limits, config_path)
    if tags or no_tags:
        changes["tags"] = _tags(tags)
    if not changes:
        raise click.UsageError(
            "nothing to change: name one of --rpm, --tpm, --concurrency, --class, --tag and --no-tags"
        )
    record = stores_of(config_path, database).keys.update(key_id, changes)
    shown = _row(record, time.time())
    now = {name: shown[name] for name in ("rpm", "tpm", "concurrency", "class", "tags")}
    click.echo(f"{key_id}: {', '.join(f'{name} {LIFT if value is None else value}' for name, value in now.items())}")


def _tags(given: tuple[tuple[str, str], ...]) -> str | None:
    """The JSON of `--tag` options. Raises UsageError."""
    found = dict(given)
    if len(found) < len(given):
        raise click.UsageError("--tag: each name once")
    if wrong := tagging.mistake(found):
        raise click.UsageError(f"--tag: {wrong}")
    return tagging.encode(found)


def _limits(asked: Mapping[str, int | str | None], config_path: Path | None) -> dict[str, int | str | None]:
    """What the options say of limits: those that were given, with None for `none`.

    Raises InputError for a class that the configuration, where one is named, has not.
    """
    given = {name: None if value == LIFT else value for name, value in asked.items() if value is not None}
    wanted = given.get("priority_class")
    if wanted is not None and config_path is not None:
        classes = configuration.load(config_path).config.classes
        if wanted not in classes:
            raise InputError(f"no class {wanted!r} in {str(config_path)!r}: it has {', '.join(sorted(classes))}")
    return given


@keys.command()
@click.argument("key_id", metavar="ID", type=Called())
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
