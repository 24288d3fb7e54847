"""The first revision takes up what programs before it made."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gateway.stores.dialects import connect, exclusively
from gateway.stores.migrations import upgrading
from tests.gateway.stores.earlier import columns, leave

FOLDER = Path(upgrading.__file__).parent


def test_an_old_ledger_gets_its_later_columns_and_nothing_of_the_second_revision(empty: str) -> None:
    leave(empty)
    engine = connect(empty)
    with engine.begin() as connection:
        exclusively(connection)
        settings = Config(attributes={"connection": connection})
        settings.set_main_option("script_location", str(FOLDER))
        command.upgrade(settings, "0001")
    found = columns(engine)
    assert set(found) == {"ledger", "keys", "live", "alembic_version"}
    assert {"cached_tokens", "decision"} <= found["ledger"]
    assert "gpu_nano" not in found["ledger"]
    assert {"rpm", "tpm", "concurrency", "priority_class"} <= found["keys"]
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT request_id, cached_tokens FROM ledger")).all() == [("r", None)]
    engine.dispose()
