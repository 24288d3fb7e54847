"""A PostgreSQL of the tests' own: the machine's programs, in a folder that goes away, on loopback alone."""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.stores.database import open_database

# A commit that is not waited for is lost when the server is stopped the hard way: the gateway has to ask for more.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",
}
NO_SETTINGS: Mapping[str, str] = {}
WITHIN_S = "60"
STANDBY = "?options=-c%20default_transaction_read_only%3Don"
"""What a URL ends with whose connections can read alone, as those to a standby."""
TEMPLATE = "tollgate_template"
_numbers = itertools.count()


def programs() -> Path | None:
    """The folder of PostgreSQL's programs: of the newest that is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))
    if found := shutil.which("pg_ctl"):
        folders.append(Path(found).resolve().parent)
    return next((each for each in reversed(folders) if (each / "initdb").exists()), None)


class Postgres:
    """A server. `url` makes a database, with every table, for one test."""

    def __init__(self, folder: Path, binaries: Path, settings: Mapping[str, str]) -> None:
        self._data, self._bin = folder / "data", binaries
        # PostgreSQL refuses to run as root.
        user = None if os.geteuid() else next(each for each in ("postgres", "nobody") if _exists(each))
        self._as = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid}
        if user is not None:
            shutil.chown(folder, user)
        self._run("initdb", "-D", self._data, "-U", "tollgate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(
                f"{name} = '{value}'\n" for name, value in {**SETTINGS, **settings, "port": self.port}.items()
            )
        self.start()
        self._sql(f"CREATE DATABASE {TEMPLATE}")
        open_database(self._named(TEMPLATE)).dispose()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "-D", self._data, "-l", self._data.parent / "log", "-w", "-t", WITHIN_S, "start")

    def stop(self) -> None:
        """Stop it as if its machine had lost its power."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "-t", WITHIN_S, "stop")

    @property
    def pid(self) -> int:
        """Of the process that started the others."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def url(self, *, empty: bool = False) -> str:
        """The URL of a new database: with the tables of today, or `empty`."""
        name = f"test_{next(_numbers)}"
        self._sql(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else TEMPLATE}")
        return self._named(name)

    def _named(self, name: str) -> str:
        return f"postgresql://tollgate@127.0.0.1:{self.port}/{name}"

    def _sql(self, statement: str) -> None:
        address = self._named("postgres").replace("postgresql:", "postgresql+psycopg:")
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        with tempfile.TemporaryFile() as said:  # a server keeps its pipes: a file lets whoever waits go
            done = subprocess.run(
                command, stdout=said, stderr=said, cwd="/", check=False, env={"PATH": os.environ["PATH"]}, **self._as
            )
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


def _exists(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


@contextmanager
def running(settings: Mapping[str, str] = NO_SETTINGS, within: Path | None = None) -> Iterator[Postgres]:
    """A server for as long as it is needed. Without its programs the tests are skipped, and fail in CI."""
    binaries = programs()
    if binaries is None:
        reason = "PostgreSQL is not installed: its programs are looked for in /usr/lib/postgresql and on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not in pytest's folder, which only the user of the tests may enter.
    with tempfile.TemporaryDirectory(prefix="tollgate-postgres-", dir=within, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder), binaries, settings)
        try:
            yield server
        finally:
            server.stop()
