"""Brings a database to the last revision when it is opened: one process does, the others wait for it.

A database at the last revision costs one look, and a new one gets its tables as they are now: Alembic is loaded only
where there is something to migrate.
"""

from importlib.resources import files

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from gateway.contracts.errors import InputError
from gateway.stores.dialects import exclusively

REVISIONS = ("0001", "0002", "0003")
"""All there are, the oldest first. A test holds them against the files."""
HEAD = REVISIONS[-1]

VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, as Alembic makes it."""


def revision(connection: sa.Connection) -> str | None:
    """The revision of a database; None where it does not say."""
    if not sa.inspect(connection).has_table(VERSION.name):
        return None
    return connection.execute(sa.select(VERSION.c.version_num)).scalar()


def upgrade(engine: Engine, metadata: sa.MetaData) -> str | None:
    """Bring a database to the last revision, whose tables are `metadata`. Returns the revision that it had.

    All of it or nothing. Tables that an earlier program made without a revision are taken up as they are. Raises
    InputError for a database of a newer program, and for one that lacks what no row may lack.
    """
    with engine.connect() as connection:
        found = revision(connection)
    if found == HEAD:
        return found
    with engine.begin() as connection:
        exclusively(connection)
        found = revision(connection)  # whoever waited may find all of it done
        if found is None and not set(sa.inspect(connection).get_table_names()) & set(metadata.tables):
            metadata.create_all(connection)
            VERSION.create(connection, checkfirst=True)
            connection.execute(sa.insert(VERSION).values(version_num=HEAD))
        elif found is not None and found not in REVISIONS:
            raise InputError(
                f"the database {str(engine.url)!r} is of a newer version: expected a revision up to {HEAD}, found "
                f"{found!r}; install the program that goes with it, or name another database"
            )
        elif found != HEAD:
            _migrate(connection)
    return found


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    settings = Config(attributes={"connection": connection})
    settings.set_main_option("script_location", str(files("gateway.stores.migrations")).replace("%", "%%"))
    command.upgrade(settings, HEAD)
