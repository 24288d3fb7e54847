"""`gateway prices`: price files, looked at, checked, and made out of LiteLLM's price map."""

import json
import shutil
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from gateway import config as configuration
from gateway.cli.common import Day, config_option
from gateway.cli.tables import console, row, table
from gateway.contracts import documents, price_import
from gateway.contracts import prices as books
from gateway.contracts.errors import InputError
from gateway.contracts.prices import Price, PriceBook

AMOUNTS = ("input", "cached_input", "output", "reasoning")
LITELLM = "litellm"

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def prices() -> None:
    """Show and check price files, and make them out of LiteLLM's price map.

    \b
    Example:
      gateway prices import --from litellm gpt-4o --as support --out prices.yaml
    """


@prices.command()
@click.argument("path", metavar="[FILE]", type=_FILE, required=False)
@click.option("--at", type=Day(), help="The prices of this day (UTC), such as 2026-12-01.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def show(path: Path | None, at: float | None, as_json: bool, config_path: Path | None) -> None:
    """Show the prices of FILE, or of the configuration's price file, as they count at one moment.

    Amounts are per million tokens. Cached input without an amount costs as input, reasoning as output. A model whose
    periods do not cover the moment is shown without a price.

    \b
    Examples:
      gateway prices show prices.yaml
      gateway prices show --config gateway.yaml --at 2026-12-01 --json
    """
    book = _book(path, config_path)
    moment = time.time() if at is None else at
    rows = [_shown(book, model, moment) for model in book.models]
    if as_json:
        told = {"version": book.version, "currency": book.currency, "digest": book.digest(), "at": _iso(moment)}
        click.echo(json.dumps({**told, "models": rows}, indent=2))
        return
    lines = table("model", *(name.replace("_", " ") for name in AMOUNTS), "from", "until")
    for each in rows:
        first = each["price"] if each["input"] is None else each["input"]
        row(lines, each["model"], first, *(each[name] or "" for name in (*AMOUNTS[1:], "from", "until")))
    console().print(lines)
    click.echo(f"version {book.version!r}, {book.currency} per million tokens, on {_iso(moment)}", err=True)


@prices.command()
@click.argument("path", metavar="FILE", type=_FILE)
def check(path: Path) -> None:
    """Say whether FILE is a price file by which a gateway can start now: every mistake, with its line.

    Refused are days without a price between a model's periods, days with two prices, and prices that have ended. Exit
    code 0 when it is valid, 1 when it is not.

    \b
    Example:
      gateway prices check prices.yaml
    """
    book = books.load(path)
    book.cover(time.time())
    for model, entry in book.models.items():
        if isinstance(entry, tuple) and (until := entry[-1].until) is not None:
            click.echo(f"# warning: the prices of {model!r} end: there is none from {until} on", err=True)
    click.echo(f"{path} is valid: version {book.version!r}, models: {len(book.models)}, {book.digest()}")


@prices.command(name="import")
@click.argument("models", metavar="MODEL…", nargs=-1, required=True)
@click.option(
    "--from", "source", default=LITELLM, show_default=True, metavar="litellm|FILE",
    help="LiteLLM's own price map, or a JSON file of that format.",
)  # fmt: skip
@click.option("--as", "name", metavar="NAME", help="The model's name in this gateway; for one MODEL.")
@click.option("--out", "path", type=_FILE, required=True, help="The price file to write, or to add to.")
@click.option("--version", help="The version that the file gets.  [default: today, with a number if that is taken]")
def import_(models: tuple[str, ...], source: str, name: str | None, path: Path, version: str | None) -> None:
    """Write the list prices of MODELs into a price file, from LiteLLM's price map. No network is used.

    A file that is there keeps its models, periods and comments: the new models are added behind its last one, and the
    file gets a new version. A model that it has already is refused, and so is a file whose `models` are not written
    one below another: name a new file then.

    What the map charges beside plain tokens (longer contexts, images, caches that are written) cannot stand in a price
    file: each such amount is told, here and in a comment. A model that is not paid for by the token is refused.

    \b
    Examples:
      gateway prices import --from litellm gpt-4o --as support --out prices.yaml
      gateway prices import --from map.json gpt-4o o3-mini --version 2026-12 --out prices.yaml
    """
    if name is not None and len(models) != 1:
        raise click.UsageError(f"--as names one model, and there are {len(models)}")
    if name is not None and not name.strip():
        raise click.UsageError("--as is empty: give the name that requests ask for, or leave it out")
    origin = price_import.bundled() if source == LITELLM else Path(source)
    known = price_import.read_map(origin)
    found = {name or model: price_import.entry(known, model) for model in models}
    today = datetime.fromtimestamp(time.time(), UTC).date().isoformat()
    if path.exists():
        text = documents.read_text(path)
        version = _next(books.load(path).version, version, today)
        text = price_import.merged(text, str(path), found, version)
    else:
        version = version or today
        told = f"LiteLLM's price map on {today}" if source == LITELLM else f"{origin.name} on {today}"
        text = price_import.written(found, version, told)
        documents.validate(*documents.parse(text, str(path)), PriceBook, str(path))
    _replace(path, text)
    for model, each in found.items():
        for note in each.notes:
            click.echo(f"# {model}: {note}", err=True)
    click.echo(f"{path}: version {version!r} with {', '.join(found)}")


def _next(before: str, asked: str | None, today: str) -> str:
    """A version that is another than the file's: what it says changes."""
    if asked is not None:
        if asked == before:
            raise InputError(f"the file has the version {asked!r} already, and what it says changes: name another")
        return asked
    if before != today and not before.startswith(f"{today}."):
        return today
    number = before.removeprefix(today).removeprefix(".")
    return f"{today}.{int(number) + 1 if number.isdigit() else 2}"


def _replace(path: Path, text: str) -> None:
    """The whole file or nothing: a gateway may be looking at it, by a link too. Who may read it may go on."""
    file = path.resolve()
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        if file.exists():
            shutil.copymode(file, beside)
        beside.replace(file)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _book(path: Path | None, config_path: Path | None) -> PriceBook:
    if (path is None) == (config_path is None):
        raise click.UsageError("name one of FILE and --config FILE")
    if path is not None:
        return books.load(path)
    assert config_path is not None
    return configuration.load(config_path).prices


def _shown(book: PriceBook, model: str, at: float) -> dict[str, Any]:
    """One model; `price` is `amounts`, `unpriced`, or `none` where its periods do not cover the moment."""
    price, entry = book.price(model, at), book.models[model]
    kind = "amounts" if isinstance(price, Price) else "unpriced" if entry == "unpriced" else "none"
    told = {} if price is None else price.model_dump(by_alias=True)
    return {"model": model, "price": kind, **{name: _text(told.get(name)) for name in (*AMOUNTS, "from", "until")}}


def _text(value: Decimal | date | None) -> str | None:
    """As a price file has it: no amount with an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else None if value is None else value.isoformat()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
