"""The books of past hours are closed by a process beside the one that serves, which goes when that one does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError
from gateway.control_plane.closer import MODULE, NICE, close_hours
from gateway.costs.closing import close
from gateway.costs.fleet import Engine
from gateway.settings.gpu_price import GpuPrice
from gateway.settings.profile import A10G
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.cost_lines import HOUR_S
from gateway.stores.database import COST_LINES, REPLICA_HOURS
from tests.engine import simulator
from tests.gateway.builders import settled
from tests.gateway.postgres import Postgres
from tests.gateway.process import Gateway, serving, stores_in
from tests.polling import tick, until

FIRST = 490_000
T = float(FIRST * HOUR_S)
PRICE = GpuPrice(usd_per_gpu_hour=Decimal(2))
LONG = 3000
"""Hours that nobody used: so many take a process longer than a test looks at it."""


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    url = f"sqlite:///{tmp_path / 't.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url()
    made = open_stores(url, tmp_path / "spool")
    yield made
    made.database.dispose()


def _closers(parent: int) -> list[int]:
    """The process ids of those that close hours for a process."""
    found = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in path.read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_text()
            except OSError:
                continue
            found += [int(child)] if MODULE in command.split("\0") else []
    return found


def _consistent(stores: Stores) -> int:
    """How many hours are closed; what their lines come to is what they cost."""
    asked = (
        sa.select(sa.func.coalesce(sa.func.sum(REPLICA_HOURS.c.cost_nano), 0)),
        sa.select(sa.func.coalesce(sa.func.sum(COST_LINES.c.loaded_nano), 0)),
        sa.select(sa.func.count()).select_from(REPLICA_HOURS),
    )
    with stores.database.connect() as connection:  # one statement: it sees one moment
        booked, split, count = connection.execute(sa.select(*(each.scalar_subquery() for each in asked))).one()
    assert booked == split
    return int(count)


def _lives(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


async def _until_closing(parent: int) -> int:
    found: list[int] = await until(lambda: _closers(parent))
    return found[0]


async def _until_gone(process: int) -> None:
    await until(lambda: not _lives(process))


async def test_hours_are_closed_as_a_thread_would_close_them(stores: Stores, tmp_path: Path) -> None:
    engines = {"r": Engine("main", PRICE, A10G)}
    others = open_stores(f"sqlite:///{tmp_path / 'other.db'}")
    for each in (stores, others):
        each.rentals.declare("g", T, {"r": ("main", PRICE)})
        each.ledger.insert([settled("a", started_at=T + 9, duration_s=9.0, replica="r")])
    await close_hours(stores, T + 2 * HOUR_S, engines, 0.0)
    assert stores.costs.hours() == close(others, T + 2 * HOUR_S, engines, 0.0)
    assert [(book.requests, book.step_model) for book in stores.costs.hours()] == [(1, A10G.name), (0, A10G.name)]
    others.database.dispose()


async def test_nothing_is_started_where_nothing_is_due(stores: Stores) -> None:
    missing = {"r": Engine("main")}
    assert stores.costs.hours() == []
    closing = asyncio.create_task(close_hours(stores, T, missing))
    while not closing.done():
        assert _closers(os.getpid()) == []
        await tick()
    await closing


async def test_a_failure_says_what_went_wrong_and_the_next_round_mends_it(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 't.db'}")
    stores.rentals.declare("g", T, {"r": ("main", PRICE)})
    lines = "CREATE TRIGGER away BEFORE INSERT ON replica_hours BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    with stores.database.begin() as connection:
        connection.exec_driver_sql(lines)
    with pytest.raises(InputError, match=r"(?s)ended with exit code 1: .*the disk is full") as failed:
        await close_hours(stores, T + 2 * HOUR_S, {})
    assert "Traceback" not in str(failed.value)
    with stores.database.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER away")
    await close_hours(stores, T + 2 * HOUR_S, {})
    assert _consistent(stores) == 1
    stores.database.dispose()


async def test_who_stops_in_between_ends_the_process_and_loses_nothing(stores: Stores) -> None:
    stores.rentals.declare("g", T, {"r": ("main", PRICE)})
    closing = asyncio.create_task(close_hours(stores, T + LONG * HOUR_S, {}))
    process = await _until_closing(os.getpid())
    await until(lambda: _consistent(stores) >= 3)
    assert os.getpriority(os.PRIO_PROCESS, process) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not _lives(process)
    done = _consistent(stores)
    assert 3 <= done < LONG
    await close_hours(stores, T + (done + 2) * HOUR_S, {}, 0.0)
    assert _consistent(stores) == done + 2


@asynccontextmanager
async def _with_past(folder: Path, hours: int, *options: str) -> AsyncIterator[tuple[Gateway, Stores]]:
    """A gateway over a database in which so many hours of another one's replica are to be closed."""
    stores = stores_in(folder)
    stores.rentals.declare("elsewhere", T, {"gone": ("main", PRICE)})
    stores.rentals.declare("elsewhere", T + hours * HOUR_S, {})
    stores.ledger.insert([settled("a", started_at=T + 9, duration_s=9.0, replica="gone")])
    async with simulator.Engine() as engine, serving(folder, engine, *options) as gateway:
        yield gateway, stores
    stores.database.dispose()


async def test_a_running_gateway_closes_past_hours(tmp_path: Path) -> None:
    async with _with_past(tmp_path, 2) as (gateway, stores):

        async def closed() -> bool:
            return len(stores.costs.hours()) == 2

        await gateway.until(closed)
        assert (await gateway.ask()).status == 200
        assert await gateway.ended(signal.SIGTERM) == 0
        assert "closing" not in gateway.errors
        assert [book.revision for book in stores.costs.hours()] == [1, 1]


async def test_of_several_workers_one_closes(tmp_path: Path) -> None:
    async with _with_past(tmp_path, LONG, "--workers", "3") as (gateway, stores):
        closers = set[int]()

        def busy() -> bool:
            closers.update(each for worker in gateway.children() for each in _closers(worker))
            return _consistent(stores) >= 3

        await until(busy)
        assert len(closers) == 1
        assert (await gateway.ask()).status == 200
        assert await gateway.ended(signal.SIGTERM) == 0
        assert "closing" not in gateway.errors
        await _until_gone(closers.pop())
        assert 3 <= _consistent(stores) < LONG
        assert {book.revision for book in stores.costs.hours()} == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_gateway_that_ends_takes_the_process_with_it(tmp_path: Path, number: signal.Signals) -> None:
    async with _with_past(tmp_path, LONG) as (gateway, stores):
        process = await _until_closing(gateway.process.pid)
        await until(lambda: _consistent(stores) >= 3)
        assert await gateway.ended(number) == (-number if number == signal.SIGKILL else 0)
        await _until_gone(process)
        assert 3 <= _consistent(stores) < LONG
        assert "Traceback" not in gateway.errors
        assert "closing" not in gateway.errors
