"""What is missing is made, what is there stays."""

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.stores.dialects import connect
from gateway.stores.migrations.completion import complete


@pytest.fixture
def notes() -> sa.MetaData:
    made = sa.MetaData()
    sa.Table("notes", made, sa.Column("id", sa.Text), sa.Column("at", sa.Float, index=True))
    return made


def test_a_column_comes_with_its_index_and_rows_stay(empty: str, notes: sa.MetaData) -> None:
    engine = connect(empty)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (id TEXT)")
        connection.exec_driver_sql("INSERT INTO notes VALUES ('a')")
    for _ in range(2):
        with engine.begin() as connection:
            complete(connection, notes)
    assert [index["column_names"] for index in sa.inspect(engine).get_indexes("notes")] == [["at"]]
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id, at FROM notes")).all() == [("a", None)]
    engine.dispose()


def test_a_table_that_is_missing_is_made(empty: str, notes: sa.MetaData) -> None:
    engine = connect(empty)
    with engine.begin() as connection:
        complete(connection, notes)
    assert sa.inspect(engine).has_table("notes")
    engine.dispose()


def test_a_column_that_may_not_be_null_cannot_be_made_up(empty: str) -> None:
    later, engine = sa.MetaData(), connect(empty)
    sa.Table("notes", later, sa.Column("id", sa.Text), sa.Column("at", sa.Float, nullable=False))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (id TEXT)")
    with engine.begin() as connection, pytest.raises(InputError, match=r"'notes' has no column 'at'"):
        complete(connection, later)
    engine.dispose()
