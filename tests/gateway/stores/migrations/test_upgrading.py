"""A database of any age comes to the last revision, with nothing lost, by one of those who open it at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.contracts.errors import InputError
from gateway.stores.database import METADATA, open_database
from gateway.stores.dialects import connect
from gateway.stores.keys import KeyStore
from gateway.stores.ledger import Ledger
from gateway.stores.migrations import upgrading
from gateway.stores.migrations.upgrading import HEAD, REVISIONS, VERSION, revision, upgrade
from tests.gateway.stores.earlier import OLD, columns, leave

ROOT = Path(__file__).parents[4]
FOLDER = Path(upgrading.__file__).parent
OPENS = """
import sys
from gateway.stores.database import open_database
open_database(sys.argv[1]).dispose()
print("alembic" in sys.modules)
"""


def _differences(engine: sa.Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, METADATA))


def _conditions(engine: sa.Engine) -> dict[str, str]:
    """The conditions of partial indexes, which Alembic does not compare."""
    source = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        found = [(name, text.partition(" WHERE ")[2].strip("()")) for name, text in connection.exec_driver_sql(source)]
    return {name: condition for name, condition in found if condition}


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return revision(connection)


@pytest.mark.parametrize("script", ["", OLD], ids=["new", "old"])
def test_migrations_and_tables_agree(empty: str, script: str) -> None:
    """A revision that was forgotten, or that makes something else than the tables say, is found here."""
    leave(empty, script)
    engine = open_database(empty)
    assert _differences(engine) == []
    assert _revision(engine) == HEAD
    assert _conditions(engine) == {
        "ledger_straddling": "last_hour IS NOT NULL",
        "ledger_unallocated": "allocated_at IS NULL",
    }
    engine.dispose()


def test_every_revision_from_the_first_on_makes_the_same_tables(empty: str) -> None:
    """A new database gets its tables at once: the way through the revisions leads to the same place."""
    engine = connect(empty)
    with engine.begin() as connection:  # a database whose only table says that there is none
        VERSION.create(connection)
        connection.exec_driver_sql("CREATE TABLE live (model TEXT NOT NULL PRIMARY KEY, release TEXT NOT NULL, "
                                   "release_digest TEXT NOT NULL, promoted_at FLOAT NOT NULL)")  # fmt: skip
    assert upgrade(engine, METADATA) is None
    assert _differences(engine) == []
    engine.dispose()


def test_the_files_are_the_revisions_that_are_known() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER))
    found = [script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_what_an_earlier_program_left_is_taken_up_without_loss(empty: str) -> None:
    leave(empty)
    for _ in range(2):
        engine = open_database(empty)
        assert columns(engine) == {
            **{name: {column.name for column in table.columns} for name, table in METADATA.tables.items()},
            VERSION.name: {"version_num"},
        }
        (record,) = KeyStore(engine).all()
        assert (record.id, record.models, record.rpm, record.priority_class) == ("k", frozenset({"faq"}), None, None)
        (row,) = Ledger(engine).recent(5)
        assert (row["request_id"], row["output_tokens"], row["cached_tokens"]) == ("r", 6, None)
        engine.dispose()


def test_a_database_at_the_first_revision_comes_to_the_last(empty: str) -> None:
    versioned = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    leave(empty, f"{OLD}; {versioned}; INSERT INTO alembic_version VALUES ('0001')")
    engine = connect(empty)
    assert upgrade(engine, METADATA) == "0001"
    assert upgrade(engine, METADATA) == HEAD
    assert "gpu_nano" in columns(engine)["ledger"]
    engine.dispose()


def test_a_database_that_lacks_what_no_row_may_lack_is_refused_and_left_as_it_is(empty: str) -> None:
    leave(empty, OLD.replace("scope TEXT NOT NULL,\n", "").replace("'serve', '[", "'["))
    engine = connect(empty)
    before = columns(engine)
    with pytest.raises(InputError, match=r"'keys' has no column 'scope'"):
        open_database(empty)
    assert columns(engine) == before
    engine.dispose()


def test_a_database_of_a_newer_program_is_refused_and_left_as_it_is(url: str) -> None:
    open_database(url).dispose()
    leave(url, "UPDATE alembic_version SET version_num = '9999'")
    engine = connect(url)
    with pytest.raises(InputError, match=r"newer version.*'9999'"):
        open_database(url)
    assert _revision(engine) == "9999"
    engine.dispose()


@pytest.mark.parametrize("script", [OLD, ""], ids=["old", "new"])
def test_several_processes_open_a_database_at_once(empty: str, script: str) -> None:
    leave(empty, script)
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(open_database, [empty] * 8))
    for engine in engines:
        assert len(KeyStore(engine).all()) == bool(script)
        engine.dispose()


@pytest.mark.parametrize(("script", "loaded"), [("", "False"), (OLD, "True")], ids=["new", "old"])
def test_alembic_is_loaded_only_where_there_is_something_to_migrate(tmp_path: Path, script: str, loaded: str) -> None:
    """It takes a third of a second, which every start and every command would pay."""
    url = f"sqlite:///{tmp_path / 't.db'}"
    leave(url, script)
    for expected in (loaded, "False"):
        done = subprocess.run(
            [sys.executable, "-c", OPENS, url], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == expected
