"""The database: tables, and how to open one. SQLite in WAL mode, so that reports read while the gateway writes."""

import sqlite3
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
    sa.Column("decision", sa.Text),
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
        complete(engine, METADATA)
    except sa.exc.DatabaseError as error:
        reason = str(error.orig)
        raise InputError(f"the database {url!r} cannot be opened: {reason}") from error
    return engine


def complete(engine: Engine, metadata: sa.MetaData) -> None:
    """Make the tables that a database lacks, and add the columns: those of earlier versions' rows hold null.

    All of it or nothing, and one process at a time. Raises InputError for a column that may not be null.
    """
    with engine.connect() as connection:
        if not any(_missing(connection, table) for table in metadata.sorted_tables):
            return
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # whoever comes second finds all of it done
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            for column in _missing(connection, table):
                _add(connection, table, column)


def _missing(connection: sa.Connection, table: sa.Table) -> list[sa.Column[Any]]:
    inspector = sa.inspect(connection)
    there = inspector.get_columns(table.name) if inspector.has_table(table.name) else ()
    names = {column["name"] for column in there}
    return [column for column in table.columns if column.name not in names]


def _add(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    if not column.nullable:
        raise InputError(
            f"the database {str(connection.engine.url)!r} is of another version: {table.name!r} has no column "
            f"{column.name!r}, which no row may lack; name another database"
        )
    name = connection.dialect.identifier_preparer.format_table(table)
    definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")
    for index in table.indexes:
        if column in index.columns.values():
            index.create(connection, checkfirst=True)


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        # SQLite waits for no lock to switch. Whoever holds it is most likely switching too: wait for that one.
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("COMMIT")
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
