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
    """Open a database, with its tables made where they are missing. Raises InputError when it cannot be opened."""
    if not url.startswith(PREFIX) or url == PREFIX:
        raise InputError(f"database: expected sqlite:///FILE, found {url!r}")
    engine = sa.create_engine(url, connect_args={"timeout": 10.0})
    sa.event.listen(engine, "connect", _configure)
    try:
        METADATA.create_all(engine)
    except sa.exc.DatabaseError as error:
        reason = str(error.orig)
        raise InputError(f"the database {url!r} cannot be opened: {reason}") from error
    return engine


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
