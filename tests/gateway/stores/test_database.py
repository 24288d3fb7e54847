"""Opening a database makes what is missing, and says plainly when it cannot."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.stores.database import KEYS, LEDGER, METADATA, open_database, path_of, require_writable
from gateway.stores.keys import KeyStore
from gateway.stores.migrations.upgrading import VERSION
from tests.gateway.postgres import STANDBY, Postgres


def test_the_file_of_a_url() -> None:
    assert path_of("sqlite:////var/lib/t.db") == Path("/var/lib/t.db")
    assert path_of("sqlite:///t.db") == Path("t.db")
    assert path_of("postgresql://h/d") is None


def test_a_new_database_has_every_table(empty: str) -> None:
    engine = open_database(empty)
    assert set(sa.inspect(engine).get_table_names()) == {*METADATA.tables, VERSION.name}
    engine.dispose()


def test_opening_again_keeps_what_is_there(url: str) -> None:
    first = open_database(url)
    with first.begin() as connection:
        values = {"id": "k", "digest": b"d", "name": "n", "team": "t", "scope": "serve", "created_at": 1.0}
        connection.execute(sa.insert(KEYS).values(values))
    second = open_database(url)
    with second.connect() as connection:
        assert connection.execute(sa.select(KEYS.c.id)).scalars().all() == ["k"]
    first.dispose()
    second.dispose()


def test_reports_read_while_the_gateway_writes(url: str) -> None:
    writer, reader = open_database(url), open_database(url)
    with writer.begin() as connection:
        connection.execute(sa.text("INSERT INTO live VALUES ('m', 'm@1', 'd', 1.0)"))
        with reader.connect() as other:
            assert other.execute(sa.select(sa.func.count()).select_from(LEDGER)).scalar() == 0
    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize("url", ["mysql://h/d", "t.db", "", "sqlite://t.db", "SQLITE:///t.db"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="sqlite:///FILE"):
        open_database(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and no database\n" * 40)
    with pytest.raises(InputError, match="cannot be opened"):
        open_database(f"sqlite:///{path}")
    assert path.read_text().startswith("these are notes")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        open_database(f"sqlite:///{tmp_path / 'missing' / 't.db'}")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"'postgresql://u@127.0.0.1:1/d' cannot be opened: .*refused") as error:
        open_database("postgresql://u@127.0.0.1:1/d")
    assert "\n" not in str(error.value)


def test_several_processes_open_a_new_database_at_once(empty: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_database, [empty] * 8))
    for engine in engines:
        assert KeyStore(engine).all() == []
        engine.dispose()


def test_a_database_that_takes_writes_is_one(engine: sa.Engine, url: str) -> None:
    require_writable(engine, url)


def test_a_file_that_can_be_read_alone_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    engine = open_database(url)
    engine.dispose()

    def reads_alone(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    sa.event.listen(engine, "connect", reads_alone)
    with pytest.raises(InputError, match=r"t\.db' cannot be written: attempt to write a readonly database; let this"):
        require_writable(engine, url)
    engine.dispose()


def test_a_standby_is_refused(postgres: Postgres) -> None:
    url = postgres.url() + STANDBY
    engine = open_database(url)
    with pytest.raises(InputError, match=r"cannot be written: cannot execute UPDATE in a read-only.*not its standby"):
        require_writable(engine, url)
    engine.dispose()


def test_one_that_another_program_writes_to_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    writer, engine = open_database(url), open_database(url)

    def waits_for_nobody(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=0")

    engine.dispose()
    sa.event.listen(engine, "connect", waits_for_nobody)
    with writer.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        require_writable(engine, url)
    engine.dispose()
    writer.dispose()
