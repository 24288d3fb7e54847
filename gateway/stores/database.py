"""The database: its tables, and how to open one. SQLite in WAL mode, so that reports read while the gateway writes.

A change of a table here comes with a revision in `migrations/versions`: a test holds the two against each other.
"""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.errors import InputError
from gateway.contracts.troubles import LOCKED, told
from gateway.settings.ledger import SQLITE
from gateway.stores.dialects import connect
from gateway.stores.migrations.upgrading import VERSION, upgrade

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
    sa.Column("region", sa.Text),
    sa.Column("tags", sa.Text),
    sa.Column("dispatched_s", sa.Float),
    sa.Column("tries", sa.Text),
    sa.Column("engine_queue_s", sa.Float),
    sa.Column("engine_prefill_s", sa.Float),
    sa.Column("reasoning_tokens", sa.BigInteger),
    sa.Column("gpu_estimate_nano", sa.BigInteger),
    sa.Column("choices", sa.BigInteger),
    # What the row itself does not say: the last hour (since the epoch) that it reaches into, where that is not the hour
    # of its start; and what its part of the GPUs' time came to once its hours were closed.
    sa.Column("last_hour", sa.Integer),
    sa.Column("gpu_nano", sa.BigInteger),
    sa.Column("gpu_method", sa.Text),
    sa.Column("allocated_at", sa.Float),
    sa.Index(
        "ledger_straddling",
        "last_hour",
        sqlite_where=sa.text("last_hour IS NOT NULL"),
    ),
    sa.Index(
        "ledger_unallocated",
        "started_at",
        sqlite_where=sa.text("allocated_at IS NULL"),
    ),
)

RENTALS = sa.Table(
    "rentals",
    METADATA,
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("since", sa.Float, primary_key=True),
    sa.Column("until", sa.Float),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("usd_per_gpu_hour", sa.Text, nullable=False),
    sa.Column("gateway", sa.Text, nullable=False),
)
"""Which replica was paid for, when, and at what price: what leaves the account, whether it is used or not."""

REPLICA_HOURS = sa.Table(
    "replica_hours",
    METADATA,
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("paid_us", sa.BigInteger, nullable=False),
    sa.Column("busy_us", sa.BigInteger, nullable=False),
    sa.Column("cost_nano", sa.BigInteger, nullable=False),
    sa.Column("allocated_nano", sa.BigInteger, nullable=False),
    sa.Column("overhead_nano", sa.BigInteger, nullable=False),
    sa.Column("idle_nano", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("step_model", sa.Text, nullable=False),
    sa.Column("closed_at", sa.Float, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
)
"""The books of a replica and an hour (since the epoch): cost = allocated + overhead + idle."""

COST_LINES = sa.Table(
    "cost_lines",
    METADATA,
    sa.Column("grain", sa.Text, primary_key=True),
    sa.Column("start", sa.Integer, primary_key=True),
    *(
        sa.Column(name, sa.Text, primary_key=True)
        for name in (
            "replica", "pool", "key_id", "team", "model", "release", "purpose", "outcome", "region", "tags", "currency",
            "gpu_method",
        )
    ),
    *(
        sa.Column(name, sa.BigInteger, nullable=False)
        for name in (
            "requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "unpriced", "unmetered",
            "cached_unknown", "list_nano", "gpu_nano", "loaded_nano", "by_requests_nano", "by_tokens_nano",
            "by_weight_nano",
        )
    ),
    sqlite_with_rowid=False,  # in the order of their key: a report reads one stretch of them
)  # fmt: skip
"""Sums of closed hours (`grain` is hour, `start` an hour since the epoch) and, once those are old, of months (`start`
is the first hour of the month, UTC). What nobody asked for stands under the teams `__idle__` and `__overhead__`, so
that every column adds up to what was paid. Empty text stands for what is not known."""

ENGINE_COUNTERS = sa.Table(
    "engine_counters",
    METADATA,
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("started_at", sa.Float),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("generation_tokens", sa.BigInteger),
)
"""What engines counted themselves, at some moments."""

PRICE_BOOKS = sa.Table(
    "price_books",
    METADATA,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("first_used_at", sa.Float, nullable=False),
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
    sa.Column("tags", sa.Text),
    # Of the changes to all keys, the number of the last one to this key: whoever has read up to a number asks for the
    # later ones alone. Null since before there were numbers.
    sa.Column("change", sa.BigInteger, index=True),
)

LIVE = sa.Table(
    "live",
    METADATA,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("release_digest", sa.Text, nullable=False),
    sa.Column("promoted_at", sa.Float, nullable=False),
)


def path_of(url: str) -> Path | None:
    """The file behind a URL; None where no file of this machine is."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def open_database(url: str) -> Engine:
    """Open a database of SQLite or PostgreSQL. A new one gets its tables; an older one's are brought up to date.

    Raises InputError when it cannot be opened, or is of a version that cannot be followed.
    """
    engine = connect(url)
    try:
        upgrade(engine, METADATA)
    except InputError:
        engine.dispose()
        raise
    except sa.exc.DatabaseError as error:
        engine.dispose()
        raise InputError(f"the database {url!r} cannot be opened: {told(error)}") from error
    return engine


def require_writable(engine: Engine, url: str) -> None:
    """Raise InputError for a database that can be read alone: each row of a gateway would wait for it in vain.

    One that another program writes to for long is none: rows wait for that.
    """
    nothing = sa.update(VERSION).values(version_num=VERSION.c.version_num).where(sa.false())
    try:
        with engine.begin() as connection:
            connection.execute(nothing)
    except sa.exc.DatabaseError as error:
        if LOCKED not in str(error.orig):
            engine.dispose()
            raise InputError(f"the database {url!r} cannot be written: {told(error)}") from error
