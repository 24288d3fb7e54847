"""Changes of keys have numbers, so that gateways read what changed and not all."""

import sqlalchemy as sa
from alembic import op

from gateway.stores.migrations.completion import complete

revision = "0003"
down_revision = "0002"

TABLES = sa.MetaData()

sa.Table("keys", TABLES, sa.Column("change", sa.BigInteger, index=True))


def upgrade() -> None:
    """Make what is missing."""
    complete(op.get_bind(), TABLES)
