"""What the commands share: errors as one clear message, options that name the configuration or the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway import config as configuration
from gateway.contracts.errors import InputError
from gateway.settings import tags as tagging
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import path_of

DATABASE = "sqlite:///tollgate.db"
SQLITE = b"SQLite format 3\0"
"""How SQLite's files begin."""
PLACES = 9
"""Decimal places of all money here: books, invoices and prices."""

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """`--config FILE`."""
    return click.option(
        "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The gateway's YAML file."
    )(command)


def database_option(command: Command) -> Command:
    """`--database URL`."""
    return click.option("--database", help=f"Where keys and ledger are kept.  [default: {DATABASE}]")(command)


def stores_of(config_path: Path | None, database: str | None, *, create: bool = False) -> Stores:
    """The stores that a command works on: `--database`, else the configuration's, else the working directory's.

    Raises InputError when there is none yet and the command does not `create` one: an empty ledger that a wrong folder
    made would read like a month without requests.
    """
    database, spool = database_of(config_path, database, create=create)
    return open_stores(database, spool)


def database_of(config_path: Path | None, database: str | None, *, create: bool = False) -> tuple[str, Path | None]:
    """(URL, folder of the spool) of `--database`, else of the configuration, else of the working directory.

    Raises InputError for a file that is not there, unless it may be created.
    """
    spool = None
    if database is None and config_path is not None:
        config = configuration.load(config_path).config
        database, spool = config.database, config.ledger.spool
    database = database or DATABASE
    file = path_of(database)
    if not create and file is not None and not file.exists():
        raise InputError(f"no database {str(file)!r}: run this where the gateway runs, or name --config or --database")
    return database, spool


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Where a file that an option names is written. Raises InputError when it cannot be, or is a database.

    A database that somebody named there is the ledger: nobody has another one of it.
    """
    try:
        if path.is_file() and _head(path) == SQLITE:
            raise InputError(f"{option}: {str(path)!r} is a database, and would be lost: name another file")
        yield
    except OSError as error:
        raise InputError(f"{option}: {str(path)!r} cannot be written: {error.strerror}; name another file") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(SQLITE))


def moment(seconds: float | None) -> str:
    """A time for people: UTC, to the second."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def check_period(since: float | None, until: float | None) -> None:
    """Raise InputError for a period that ends before it begins, or at once."""
    if since is not None and until is not None and since >= until:
        raise InputError(
            f"--since {moment(since)[:10]} is not before --until {moment(until)[:10]}: there is no day in between"
        )


YEARS = range(1971, 2200)
"""Those of which time zones and holidays can be told."""


class Day(click.ParamType[float]):
    """A date such as 2026-11-22, as seconds since the epoch at 00:00 UTC. Before the epoch nothing has happened."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the date."""
        if isinstance(value, float):
            return value
        try:
            found = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        except ValueError:
            found = -1.0
        if found < 0:
            self.fail(f"expected a date such as 2026-11-22, from 1970-01-01 on, found {value!r}", param, ctx)
        return found


class Called(click.ParamType[str]):
    """A name or an id, of the bounds that tags and the admin API have: it stands in tables, files and bills."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        text = str(value)
        if not tagging.is_value(text):
            told = f"expected 1 to {tagging.LONGEST} printable characters, found {text[: tagging.LONGEST]!r}"
            return self.fail(told, param, ctx)
        return text


class Amount(click.ParamType[Decimal]):
    """A decimal number from 0 to `most` of at most PLACES decimal places, exactly as it was written.

    Without the bounds, arithmetic with 28 digits overflows on what no invoice and no price says.
    """

    name = "amount"

    def __init__(self, most: int = 10**15) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read the amount."""
        try:
            found = Decimal(str(value))
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or found.is_signed() or found > self.most or found != round(found, PLACES):
            self.fail(
                f"expected an amount such as 2.50, from 0 to {self.most:,} and with at most {PLACES} decimal places, "
                f"found {value!r}",
                param,
                ctx,
            )
        return found
