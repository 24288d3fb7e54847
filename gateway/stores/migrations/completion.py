"""Makes what is missing, and keeps what is there."""

from typing import Any

import sqlalchemy as sa

from gateway.contracts.errors import InputError


def complete(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make the tables, columns and indexes that a database lacks: rows that are there hold null in new columns.

    Raises InputError for a column that may not be null.
    """
    for table in metadata.sorted_tables:
        if not sa.inspect(connection).has_table(table.name):
            table.create(connection)
            continue
        names = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in names:
                _add(connection, table, column)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            index.create(connection, checkfirst=True)


def _add(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    if not column.nullable:
        raise InputError(
            f"the database {str(connection.engine.url)!r} is of another version: {table.name!r} has no column "
            f"{column.name!r}, which no row may lack; name another database"
        )
    name = connection.dialect.identifier_preparer.format_table(table)
    definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")
