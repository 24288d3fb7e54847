"""Opening a database makes what is missing, and says plainly when it cannot."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.stores.database import KEYS, LEDGER, METADATA, complete, open_database, path_of
from gateway.stores.keys import KeyStore
from gateway.stores.ledger import Ledger


def _pragma(engine: sa.Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.execute(sa.text(f"PRAGMA {name}")).scalar()


def test_the_file_of_a_url() -> None:
    assert path_of("sqlite:////var/lib/t.db") == Path("/var/lib/t.db")
    assert path_of("sqlite:///t.db") == Path("t.db")


def test_a_new_file_has_every_table(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'new.db'}")
    assert set(sa.inspect(engine).get_table_names()) == set(METADATA.tables)
    engine.dispose()


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    first = open_database(url)
    with first.begin() as connection:
        values = {"id": "k", "digest": b"d", "name": "n", "team": "t", "scope": "serve", "created_at": 1.0}
        connection.execute(sa.insert(KEYS).values(values))
    second = open_database(url)
    with second.connect() as connection:
        assert connection.execute(sa.select(KEYS.c.id)).scalars().all() == ["k"]
    first.dispose()
    second.dispose()


def test_reports_read_while_the_gateway_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    writer, reader = open_database(url), open_database(url)
    assert _pragma(writer, "journal_mode") == "wal"
    with writer.begin() as connection:
        connection.execute(sa.text("INSERT INTO live VALUES ('m', 'm@1', 'd', 1.0)"))
        with reader.connect() as other:
            assert other.execute(sa.select(sa.func.count()).select_from(LEDGER)).scalar() == 0
    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize("url", ["postgresql://h/d", "t.db", "", "sqlite://t.db", "SQLITE:///t.db"])
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


OLD = """
CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL, team TEXT NOT NULL, scope TEXT NOT NULL,
    models JSON, created_at FLOAT NOT NULL, expires_at FLOAT, revoked_at FLOAT
);
CREATE TABLE ledger (
    request_id TEXT NOT NULL PRIMARY KEY, started_at FLOAT NOT NULL, key_id TEXT NOT NULL, team TEXT NOT NULL,
    purpose TEXT NOT NULL, model TEXT NOT NULL, release TEXT NOT NULL, release_digest TEXT NOT NULL,
    endpoint TEXT NOT NULL, stream BOOLEAN NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, replica TEXT,
    attempts INTEGER NOT NULL, input_tokens BIGINT, output_tokens BIGINT, cost_nano BIGINT, currency TEXT NOT NULL,
    price_version TEXT NOT NULL, first_byte_s FLOAT, duration_s FLOAT NOT NULL
);
INSERT INTO keys VALUES ('k', x'00', 'n', 't', 'serve', '["faq"]', 1.0, NULL, NULL);
INSERT INTO ledger VALUES ('r', 1.0, 'k', 't', 'serve', 'faq', 'faq@1', 'd', '/v1/x', 0, 'completed', 200, NULL, 1,
    5, 6, 7, 'USD', 'v1', NULL, 1.0);
"""
"""What a database of an earlier version holds: keys without limits, and a ledger that does not know of caches."""


def _old(path: Path, script: str = OLD) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return f"sqlite:///{path}"


def test_a_database_of_an_earlier_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    url = _old(tmp_path / "old.db")
    for _ in range(2):
        engine = open_database(url)
        for table in METADATA.sorted_tables:
            found = {column["name"]: str(column["type"]) for column in sa.inspect(engine).get_columns(table.name)}
            assert found == {column.name: str(column.type) for column in table.columns}
        (record,) = KeyStore(engine).all()
        assert (record.id, record.models, record.rpm, record.priority_class) == ("k", frozenset({"faq"}), None, None)
        (row,) = Ledger(engine).recent(5)
        assert (row["request_id"], row["output_tokens"], row["cached_tokens"]) == ("r", 6, None)
        engine.dispose()


def test_an_index_comes_with_its_column(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 't.db'}")
    later = sa.MetaData()
    sa.Table("notes", later, sa.Column("id", sa.Text), sa.Column("at", sa.Float, index=True))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (id TEXT)"))
    complete(engine, later)
    assert [index["column_names"] for index in sa.inspect(engine).get_indexes("notes")] == [["at"]]
    engine.dispose()


def test_a_database_that_lacks_what_no_row_may_lack_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = _old(tmp_path / "old.db", OLD.replace("scope TEXT NOT NULL,\n", "").replace("'serve', '[", "'["))
    with pytest.raises(InputError, match=r"'keys' has no column 'scope'"):
        open_database(url)
    engine = sa.create_engine(url)
    found = sa.inspect(engine)
    assert "cached_tokens" not in {column["name"] for column in found.get_columns("ledger")}
    assert set(found.get_table_names()) == {"keys", "ledger"}
    engine.dispose()


@pytest.mark.parametrize("script", [OLD, ""], ids=["old", "new"])
def test_several_processes_open_a_database_at_once(tmp_path: Path, script: str) -> None:
    url = _old(tmp_path / "t.db", script)
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_database, [url] * 8))
    for engine in engines:
        assert len(KeyStore(engine).all()) == bool(script)
        engine.dispose()
