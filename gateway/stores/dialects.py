"""Where SQLite and PostgreSQL differ: how to connect, to insert what may be there, to be the only one, to tell days."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.functions import FunctionElement

from gateway.contracts.documents import Secret
from gateway.contracts.errors import InputError
from gateway.settings.ledger import POSTGRES, database_url

CONNECT_S = 5
STATEMENT_S = 60
"""For so long a statement may run. Reports over millions of rows take seconds."""
PASSWORD_FILE = "PGPASSWORD_FILE"  # noqa: S105 (a variable's name)
"""The variable that names a file with PostgreSQL's password, as PostgreSQL's own image has it for the server.

Unlike a file of PGPASSFILE it may be readable by others: what mounts secrets into containers seldom lets one choose.
"""
LOCK = 0x746F6C6C
"""Number of the lock that whoever changes many rows or tables at once holds, in a database for this alone."""

_WAITING = {
    "connect_timeout": CONNECT_S,
    # What the spool lets go once it is committed has to be on disk by then, whatever the server's own habit is. And the
    # server notices within half a minute that this gateway is gone without a word: else the locks of its transaction,
    # its lead and its place among the connections would stay for the two hours that systems wait by themselves.
    "options": f"-c statement_timeout={STATEMENT_S * 1000} -c synchronous_commit=on -c tcp_user_timeout=10000"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    # So does this side.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "client_encoding": "utf8",
    "application_name": "tollgate",
}
"""Of a connection to PostgreSQL: what a URL says itself counts more."""


def connect(url: str) -> Engine:
    """An engine for a database's URL; it connects on first use. Raises InputError."""
    try:
        database_url(url)
    except ValueError as error:
        raise InputError(f"database: {error}") from error
    if url.startswith(POSTGRES):
        return _postgresql(url)
    engine = sa.create_engine(url, connect_args={"timeout": 10.0})
    sa.event.listen(engine, "connect", _configure)
    return engine


def _postgresql(url: str) -> Engine:
    parts = sa.make_url(url).set(drivername="postgresql+psycopg")
    settings = {name: value for name, value in _WAITING.items() if name not in parts.query}
    try:
        engine = sa.create_engine(
            parts, connect_args=settings, paramstyle="format", pool_pre_ping=True, pool_timeout=10, pool_recycle=1800
        )
    except ModuleNotFoundError as error:
        raise InputError(f"PostgreSQL takes the package psycopg ({error}): pip install 'tollgate[postgres]'") from error
    sa.event.listen(engine, "do_connect", _say_password)
    return engine


def _say_password(_dialect: object, _record: object, _arguments: object, settings: dict[str, Any]) -> None:
    """Read at each connection: a password that is changed counts from the next one on. Raises DocumentError."""
    if name := os.environ.get(PASSWORD_FILE):
        settings["password"] = Secret(file=Path(name)).read()


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        # SQLite waits for no lock to switch. Whoever holds it is most likely switching too: wait for that one.
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("COMMIT")
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def insert(engine: Engine, table: sa.Table) -> sqlite.Insert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`: of the engine's own dialect."""
    # The module of a dialect comes with its engine: to import both here would cost every start 40 ms for one of them.
    made: sqlite.Insert = getattr(sa.dialects, engine.dialect.name).insert(table)
    return made


def flag(engine: Engine) -> type[bool] | type[int]:
    """What a truth value is given as. SQLite has none, and its driver would look for an adapter with each."""
    return bool if engine.dialect.name == "postgresql" else int


def exclusively(connection: sa.Connection) -> None:
    """Until this transaction ends no other one passes here, and it may take its time.

    To be called before the transaction reads anything.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    one_by_one(connection, LOCK)


def one_by_one(connection: sa.Connection, lock: int) -> None:
    """Until this transaction ends no other one with this lock passes here: each sees all that those before it did.

    To be called before the transaction reads anything.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock:d})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Asked:
    """A query that is asked several times a second, and is a transaction by itself.

    SQLAlchemy's way to a text that it compiled before takes 2 to 4 ms of CPU in a process that does other things
    between, whose code and data are in no cache by then; the driver's takes a quarter.
    """

    def __init__(self, engine: Engine, query: sa.Select[Any]) -> None:
        self._text = str(query.compile(dialect=engine.dialect))
        # A single statement needs no word to begin a transaction, which PostgreSQL's driver would send.
        alone = engine.dialect.name == "postgresql"
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if alone else engine

    def rows(self, *values: object) -> list[tuple[Any, ...]]:
        """The rows as the driver has them; `values` in the order of the query."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(self._text, values)]


def size(connection: sa.Connection) -> int:
    """Bytes that a database takes, its indexes included."""
    if connection.dialect.name == "postgresql":
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0)
    pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    return int(connection.exec_driver_sql(pages).scalar() or 0)


class UtcDay(FunctionElement[str]):
    """Seconds since the epoch as a day, such as 2026-11-22."""

    type = sa.Text()
    inherit_cache = True
    sqlite_format, postgresql_format = "%Y-%m-%d", "YYYY-MM-DD"


class UtcHour(UtcDay):
    """Seconds since the epoch as an hour, such as 2026-11-22T09."""

    inherit_cache = True
    sqlite_format, postgresql_format = "%Y-%m-%dT%H", 'YYYY-MM-DD"T"HH24'


class UtcMonth(UtcDay):
    """Seconds since the epoch as a month, such as 2026-11."""

    inherit_cache = True
    sqlite_format, postgresql_format = "%Y-%m", "YYYY-MM"


@compiles(CreateIndex, "postgresql")
def _partial(element: CreateIndex, compiler: Any, **options: Any) -> str:
    """An index says its condition once, as SQLite's: to say PostgreSQL's too loads its dialect at every start."""
    where = element.element.dialect_options["sqlite"]["where"]
    text = compiler.visit_create_index(element, **options)
    return text if where is None else f"{text} WHERE {where}"


@compiles(UtcDay, "sqlite")
def _in_sqlite(element: UtcDay, compiler: Any, **options: Any) -> str:
    # SQLite rounds to milliseconds, which would put the end of a day into the next one.
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('{element.sqlite_format}', CAST({seconds} AS INTEGER), 'unixepoch')"


@compiles(UtcDay, "postgresql")
def _in_postgresql(element: UtcDay, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"to_char(to_timestamp(floor({seconds})) AT TIME ZONE 'UTC', '{element.postgresql_format}')"
