"""Who of all gateways over one database does what one alone has to do.

PostgreSQL: whoever holds an advisory lock of the database, for as long as the connection lives that took it. A process
that dies, by whatever signal, loses the connection with it, and the next one that asks leads. From one whose network is
cut, or that stands still, the server hears nothing: it ends that connection after `SILENT_S`, by its own clock, so that
there is no lease to renew. A pooler between the two has to keep sessions (PgBouncer: `pool_mode = session`).

SQLite is a file of one machine: there the process that was chosen at its start leads.
"""

import threading

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError

LOCK = 7_206_117
"""Any number that no other lock of the database has."""
SILENT_S = 10
"""The lead of a process that asks nothing for so long ends. It asks every few seconds whether it leads."""
_LEND = "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = 'idle_session_timeout'"
"""PostgreSQL before version 14 does not have it, and learns from the keep-alives of the connection."""


class Leadership:
    """One process' side. `chosen` says who leads where there is nobody else to ask; `silent_s` as `SILENT_S`."""

    def __init__(self, database: Engine, *, chosen: bool, silent_s: float = SILENT_S) -> None:
        self._database, self._chosen, self._silent_s = database, chosen, silent_s
        self._held: Connection | None = None
        self._driver: DBAPIConnection | None = None
        self._asking, self._ended = threading.Lock(), False

    def leads(self) -> bool:
        """Whether it is this process; while the database is away it is nobody. Waits for the database."""
        if self._database.dialect.name != "postgresql":
            return self._chosen
        with self._asking:
            try:
                if self._held is None and not self._ended:
                    self._held = self._locked()
                elif self._held is not None:
                    self._held.exec_driver_sql("SELECT 1")
            except SQLAlchemyError:
                self._let_go()
        if self._ended:
            self.close()
        return self._held is not None

    def _locked(self) -> Connection | None:
        """The connection that holds the lock, which no other use gets; None: another process has it."""
        connection = self._database.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar():
                connection.exec_driver_sql(_LEND, (f"{int(self._silent_s * 1000)}ms",))
                self._driver = connection.connection.dbapi_connection
                connection.detach()
                return connection
        except SQLAlchemyError:
            connection.close()
            raise
        connection.close()
        return None

    def close(self) -> None:
        """Let another one lead, for good. A thread that still asks, perhaps of a network that is cut, does it then."""
        self._ended = True
        if self._asking.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._asking.release()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            if self._driver is not None:
                self._driver.close()  # one that broke is forgotten by SQLAlchemy, and left open
            self._held = self._driver = None
