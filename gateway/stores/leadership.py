"""Who of all gateways over one database does what one alone has to do.

PostgreSQL: whoever holds an advisory lock of the database, for as long as the connection lives that took it. A process
that dies, by whatever signal, loses the connection with it, and the next one that asks leads. There is no lease to
renew, and no clock takes part. A pooler between the two has to keep sessions (PgBouncer: `pool_mode = session`).

SQLite is a file of one machine: there the process that was chosen at its start leads.
"""

import threading

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError

LOCK = 7_206_117
"""Any number that no other lock of the database has."""


class Leadership:
    """One process' side. `chosen` says who leads where there is nobody else to ask."""

    def __init__(self, database: Engine, *, chosen: bool) -> None:
        self._database, self._chosen = database, chosen
        self._held: Connection | None = None
        self._driver: DBAPIConnection | None = None
        self._asking, self._ended = threading.Lock(), False

    def leads(self) -> bool:
        """Whether it is this process; while the database is away it is nobody. Waits for the database."""
        if self._database.dialect.name != "postgresql":
            return self._chosen
        with self._asking:
            try:
                if self._ended:
                    return False
                if self._held is None:
                    self._held = self._locked()
                else:
                    self._held.exec_driver_sql("SELECT 1")
            except SQLAlchemyError:
                self._let_go()
            return self._held is not None

    def _locked(self) -> Connection | None:
        """The connection that holds the lock, which no other use gets; None: another process has it."""
        connection = self._database.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar():
                self._driver = connection.connection.dbapi_connection
                connection.detach()
                return connection
        except SQLAlchemyError:
            connection.close()
            raise
        connection.close()
        return None

    def close(self) -> None:
        """Let another one lead, for good: a thread that still asks gets no answer but that."""
        with self._asking:
            self._ended = True
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            if self._driver is not None:
                self._driver.close()  # one that broke is forgotten by SQLAlchemy, and left open
            self._held = self._driver = None
