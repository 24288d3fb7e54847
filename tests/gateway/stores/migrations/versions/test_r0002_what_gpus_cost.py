"""The second revision adds where a request's time went, and the books of the GPUs."""

import sqlalchemy as sa

from gateway.stores.database import open_database
from tests.gateway.stores.earlier import columns, leave


def test_rows_of_before_are_not_allocated_and_are_found_as_such(empty: str) -> None:
    leave(empty)
    engine = open_database(empty)
    with engine.connect() as connection:
        query = sa.text("SELECT request_id, gpu_nano, last_hour FROM ledger WHERE allocated_at IS NULL")
        assert connection.execute(query).all() == [("r", None, None)]
    indexes = {index["name"] for index in sa.inspect(engine).get_indexes("ledger")}
    assert indexes == {"ix_ledger_started_at", "ledger_straddling", "ledger_unallocated"}
    engine.dispose()


def test_the_books_are_there(empty: str) -> None:
    leave(empty)
    engine = open_database(empty)
    found = columns(engine)
    assert {"rentals", "replica_hours", "cost_lines", "engine_counters", "price_books"} <= set(found)
    assert "tags" in found["keys"]
    engine.dispose()
