"""Where a request's time went and on whose behalf, and tables for what GPUs cost."""

import sqlalchemy as sa
from alembic import op

from gateway.stores.migrations.completion import complete

revision = "0002"
down_revision = "0001"

TABLES = sa.MetaData()

# Of tables that are there already: the new columns, and those that a new index is over.
sa.Table(
    "ledger",
    TABLES,
    sa.Column("started_at", sa.Float, nullable=False),
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

sa.Table("keys", TABLES, sa.Column("tags", sa.Text))

sa.Table(
    "rentals",
    TABLES,
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("since", sa.Float, primary_key=True),
    sa.Column("until", sa.Float),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("usd_per_gpu_hour", sa.Text, nullable=False),
    sa.Column("gateway", sa.Text, nullable=False),
)

sa.Table(
    "replica_hours",
    TABLES,
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

sa.Table(
    "cost_lines",
    TABLES,
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
    sqlite_with_rowid=False,
)  # fmt: skip

sa.Table(
    "engine_counters",
    TABLES,
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("started_at", sa.Float),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("generation_tokens", sa.BigInteger),
)

sa.Table(
    "price_books",
    TABLES,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("first_used_at", sa.Float, nullable=False),
)


def upgrade() -> None:
    """Make what is missing."""
    complete(op.get_bind(), TABLES)
