"""The database: tables, and how to open one. SQLite in WAL mode, so that reports read while the gateway writes."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.errors import InputError

METADATA = sa.MetaData()

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("started_at", sa.Float, nullable=False, index=True),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("team", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("release_digest", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("stream", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("replica", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("cost_nano", sa.BigInteger),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("price_version", sa.Text, nullable=False),
    sa.Column("first_byte_s", sa.Float),
    sa.Column("duration_s", sa.Float, nullable=False),
)

KEYS = sa.Table(
    "keys",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("team", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("models", sa.JSON),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("rpm", sa.BigInteger),
    sa.Column("tpm", sa.BigInteger),
    sa.Column("concurrency", sa.BigInteger),
    sa.Column("priority_class", sa.Text),
)

LIVE = sa.Table(
    "live",
    METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("release_digest", sa.Text, nullable=False),
    sa.Column("promoted_at", sa.Float, nullable=False),
)

PREFIX = "sqlite:///"


def path_of(url: str) -> Path:
    """The file behind a `sqlite:///` URL."""
    return Path(url.removeprefix(PREFIX))


def open_database(url: str) -> Engine:
    """Open a database, with its tables and columns made where they are missing.

    Raises InputError when it cannot be opened, or is of a version that cannot be followed.
    """
    if not url.startswith(PREFIX) or url == PREFIX:
        raise InputError(f"database: expected sqlite:///FILE, found {url!r}")
    engine = sa.create_engine(url, connect_args={"timeout": 10.0})
    sa.event.listen(engine, "connect", _configure)
    try:
        METADATA.create_all(engine)
        _complete(engine)
    except sa.exc.DatabaseError as error:
        reason = str(error.orig)
        raise InputError(f"the database {url!r} cannot be opened: {reason}") from error
    return engine


def _complete(engine: Engine) -> None:
    """Add the columns that a database of an earlier version lacks, each nullable: nothing is known of its rows.

    Raises InputError for one that may not be null.
    """
    for table in METADATA.sorted_tables:
        for column in _missing(engine, table):
            if not column.nullable:
                url = str(engine.url)
                raise InputError(
                    f"the database {url!r} is of another version: {table.name!r} has no column {column.name!r}, which "
                    "no row may lack; name another database"
                )
            try:
                _add(engine, table, column)
            except sa.exc.DatabaseError:
                # Several processes open it at once, and one of them adds first.
                if column in _missing(engine, table):
                    raise


def _missing(engine: Engine, table: sa.Table) -> list[sa.Column[Any]]:
    there = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
    return [column for column in table.columns if column.name not in there]


def _add(engine: Engine, table: sa.Table, column: sa.Column[Any]) -> None:
    prepare = engine.dialect.identifier_preparer
    definition = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {prepare.format_table(table)} ADD COLUMN {definition}")
        for index in table.indexes:
            if column in index.columns.values():
                index.create(connection, checkfirst=True)


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
