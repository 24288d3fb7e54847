"""Alembic's environment runs on the connection that it is given, and leaves the end to its owner."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.stores.dialects import connect
from gateway.stores.migrations import upgrading

FOLDER = Path(upgrading.__file__).parent


@pytest.mark.parametrize("kept", [True, False])
def test_the_revisions_stand_or_fall_with_the_transaction_around_them(empty: str, kept: bool) -> None:
    engine = connect(empty)
    with engine.connect() as connection:
        upgrading.exclusively(connection)
        settings = Config(attributes={"connection": connection})
        settings.set_main_option("script_location", str(FOLDER))
        command.upgrade(settings, "head")
        connection.commit() if kept else connection.rollback()
    assert sa.inspect(engine).has_table("ledger") is kept
    engine.dispose()
