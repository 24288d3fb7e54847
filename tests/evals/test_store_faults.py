"""What goes wrong with a store: a folder in use, a file, damage."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from evals.index import full_name
from evals.retrieval import Store, open_store
from evals.store_faults import reason
from gateway.contracts.errors import InputError
from tests.evals.rag_tools import Counting, made, no_wait


@asynccontextmanager
async def opened(location: str) -> AsyncIterator[Store]:
    async with open_store(location, api_key=None, say=print, sleep=no_wait) as store:
        yield store


async def build(store: Store) -> str:
    """An index of two documents; returns its name."""
    chunks, manifest = made("red cat", "green dog")
    name = full_name("d", manifest)
    await store.build(name, manifest, chunks, Counting(), lambda done: None)
    return name


async def test_a_folder_in_use_is_told(tmp_path: Path) -> None:
    location = str(tmp_path / "store")
    async with opened(location):
        code = (
            "import asyncio\nfrom evals.retrieval import open_store\n"
            "async def main():\n"
            f"    async with open_store({location!r}, api_key=None, say=print, sleep=asyncio.sleep): pass\n"
            "asyncio.run(main())"
        )
        done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    assert "is open in another process, and a folder takes one at a time" in done.stderr


async def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="or what its path names as a folder, is a file: name a folder"):
        async with opened(str(tmp_path / "file")):
            pass


def _file(store: Path, name: str) -> Path:
    """The only file of a store that is called so."""
    (found,) = store.rglob(name)
    return found


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _change_point(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE points SET point = ?", (b"no pickle",))


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("storage.sqlite", lambda file: file.write_bytes(b"garbage" * 999), "DatabaseError: file is not a database"),
        ("storage.sqlite", _cut, "DatabaseError: database disk image is malformed"),
        ("storage.sqlite", _change_point, "UnpicklingError"),
        ("meta.json", lambda file: file.write_text("[]"), "TypeError"),
        ("meta.json", _cut, "JSONDecodeError"),
    ],
)
async def test_a_damaged_store_is_told_and_what_to_do(
    tmp_path: Path, name: str, damage: Callable[[Path], object], told: str
) -> None:
    async with opened(str(tmp_path)) as store:
        await build(store)
    damage(_file(tmp_path, name))
    with pytest.raises(InputError, match=rf"cannot be opened: {told}.*; delete it and index the documents again"):
        async with opened(str(tmp_path)):
            pass


async def test_a_store_that_can_no_longer_be_written_is_told(tmp_path: Path) -> None:
    async with opened(str(tmp_path)) as store:
        name = await build(store)
        with closing(sqlite3.connect(_file(tmp_path, "storage.sqlite"))) as database:
            database.execute("DROP TABLE points")
        with pytest.raises(InputError, match=r"Qdrant at '.*': no such table: points"):
            await store.build(name, made("red cat", "green dog")[1], [], Counting(), lambda done: None)


def test_a_server_that_is_not_there_is_asked_after() -> None:
    assert reason(ConnectionError("refused")) == "ConnectionError: refused: is a server running there?"
