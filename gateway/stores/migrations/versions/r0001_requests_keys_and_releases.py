"""The first revision: ledger, keys, and what is live.

Programs before it made these tables without a revision, some of them without the later columns: what is
missing is made.
"""

import sqlalchemy as sa
from alembic import op

from gateway.stores.migrations.completion import complete

revision = "0001"
down_revision = None

TABLES = sa.MetaData()

sa.Table(
    "ledger",
    TABLES,
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

sa.Table(
    "keys",
    TABLES,
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

sa.Table(
    "live",
    TABLES,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("release_digest", sa.Text, nullable=False),
    sa.Column("promoted_at", sa.Float, nullable=False),
)


def upgrade() -> None:
    """Make what is missing."""
    complete(op.get_bind(), TABLES)
