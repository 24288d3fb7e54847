"""Disks that fill up while gateways serve, and have room again: of the spool, and of the database.

Each is a small file system of its own, in memory.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.simulator import Engine
from tests.faults.invariants import metrics, nothing_is_left, rows, sizes
from tests.faults.standing import SLOTS, fleet
from tests.gateway.postgres import running as postgres_running
from tests.gateway.redis_server import redis_server
from tests.polling import until

SPOOL_BYTES = 2 * 2**20
"""A spool takes a mebibyte at once: there is room for one."""


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes. Where this user mounts none the test is skipped."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nobody may mount a file system here: only root does, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """What somebody else writes until there is no room."""
    path = folder / "others"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return path
    raise AssertionError("a disk without an end")


async def test_a_full_spool_refuses_or_serves_as_configured_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Of two gateways one refuses what it cannot record, and the other serves it with its row in memory."""
    with (
        disk(tmp_path / "0/spool", SPOOL_BYTES) as refusing,
        disk(tmp_path / "1/spool", SPOOL_BYTES) as serving,
        postgres_running() as postgres,
        redis_server(tmp_path) as redis,
    ):
        tags = {f"t{number}": f"x-tag-{number}" for number in range(16)}
        heavy = dict.fromkeys(tags.values(), "x" * 128)
        async with (
            Engine("faq") as engine,
            fleet(tmp_path, (postgres, redis), [engine.port], 0, tags=tags) as (made, stack),
        ):
            for number, when_full in enumerate(("refuse", "serve")):
                ledger = {"spool": "spool", "when_full": when_full}
                made.gateways.append(await made.start(stack, number, ledger=ledger))
            keys = [made.key(team) for team in ("free", "search", "pilot")]
            for key in keys:
                await made.everywhere(key, 200)
            await made.asks(made.gateways, keys, 4 * SLOTS)
            before = await sizes(made)
            filled = [fill(refusing), fill(serving)]
            told = []
            while not told or told[-1].code != "ledger_full":
                told.append(await made.ask(made.gateways[0], keys[0], headers=heavy))
                assert len(told) < 2000
            assert {(each.status, each.code) for each in told[:-1]} == {(200, "")}
            assert told[-1].answer is not None
            assert told[-1].answer.header("retry-after") == "5"
            while not await metrics(made.gateways[1], "tollgate_unspooled_total"):
                assert {(await made.ask(made.gateways[1], keys[0], headers=heavy)).status for _ in range(50)} == {200}
            for gateway in made.gateways:
                await gateway.logged("the spool cannot be written")
            for path in filled:
                path.unlink()
            for key in keys:
                await made.everywhere(key, 200)
            await nothing_is_left(made, before, keys[1])


async def test_a_full_disk_of_the_database_file_keeps_rows_waiting(tmp_path: Path) -> None:
    """SQLite: requests go on, rows wait in the spool, and are stored once there is room."""
    with (
        disk(tmp_path / "database", 4 * 2**20) as small,
        postgres_running() as postgres,
        redis_server(tmp_path) as redis,
    ):
        async with Engine("faq") as engine, fleet(tmp_path, (postgres, redis), [engine.port], 0) as (made, stack):
            made.use(f"sqlite:///{small / 'tollgate.db'}", tmp_path / "unused")
            made.gateways.append(await made.start(stack, 0, ledger={"spool": "spool"}))
            (gateway,) = made.gateways
            keys = [made.key(team) for team in ("free", "search", "pilot")]
            for key in keys:
                await made.everywhere(key, 200)
            await made.asks(made.gateways, keys, 4 * SLOTS)
            before = await sizes(made)
            filled = fill(small)
            while not await metrics(gateway, "tollgate_ledger_lag_rows"):
                assert {each.status for each in await made.asks(made.gateways, keys[::2], 50)} == {200}
            await gateway.logged("nothing is lost")
            assert {each.status for each in await made.asks(made.gateways, keys[::2], 20)} == {200}
            filled.unlink()
            await until(lambda: {told.id for told in made.told if told.status == 200} <= rows(made).keys())
            await nothing_is_left(made, before, keys[1])
