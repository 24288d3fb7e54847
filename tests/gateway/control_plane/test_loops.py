"""The background work: nothing is lost while the database is away, and a failure is told once."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.contracts.errors import InputError, LedgerFull
from gateway.control_plane.loops import MANY_ROWS, attempt, drain, every, fold, last, look, refresh, rounds
from gateway.control_plane.state import State
from gateway.stores import retention
from gateway.stores.counters import Counters, Snapshot
from gateway.stores.database import LEDGER, open_database
from gateway.stores.keys import KeyStore
from gateway.stores.ledger import Ledger
from gateway.stores.releases import ReleaseStore
from gateway.stores.spool import Spool
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.gateway.builders import NOW, counting_bytes, deployment, row, settled
from tests.polling import until


class House:
    """A spool, and the ledger that it is drained into."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 't.db'}"
        self.engine = open_database(self.url)
        self.ledger, self.spool, self.telemetry = Ledger(self.engine), Spool(folder / "spool", "a"), Telemetry()
        self.replica = Replica("r1", "http://h", api_key=None, connect_s=1.0)

    def settles(self, *names: str) -> None:
        for name in names:
            self.spool.admit(row(name))
            self.spool.settle(settled(name))

    async def drain(self) -> None:
        await drain(self.spool, self.ledger, self.telemetry, [self.replica])

    @property
    def stored(self) -> list[str]:
        return sorted(each["request_id"] for each in self.ledger.recent(100))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.spool.close()
    made.engine.dispose()


async def test_a_drain_stores_what_was_settled(house: House) -> None:
    house.settles("a", "b")
    await house.drain()
    assert (house.stored, house.spool.lag) == (["a", "b"], 0)
    await house.drain()
    assert house.stored == ["a", "b"]


async def test_a_drain_shows_what_is_open_and_in_flight(house: House) -> None:
    house.settles("a")
    house.spool.admit(row("open"))
    with house.replica:
        await house.drain()
    page = house.telemetry.page().decode()
    assert "tollgate_open_requests 1.0" in page
    assert 'tollgate_in_flight{replica="r1"} 1.0' in page
    assert "tollgate_ledger_lag_rows 1.0" in page
    house.spool.settle(settled("open"))
    await house.drain()
    assert house.stored == ["a", "open"]


@pytest.mark.parametrize(("rows", "rests"), [(MANY_ROWS - 1, False), (MANY_ROWS, True)])
async def test_a_round_with_many_rows_is_followed_by_a_rest(house: House, rows: int, rests: bool) -> None:
    house.settles(*map(str, range(rows)))
    drained = asyncio.Event()

    async def drain() -> None:
        await house.drain()
        drained.set()

    task = asyncio.create_task(rounds(drain, house.spool))
    await drained.wait()
    await asyncio.wait([task], timeout=0.05)
    assert (task.done(), house.spool.lag) == (not rests, 0)
    task.cancel()


async def test_rows_wait_while_the_ledger_fails(house: House) -> None:
    LEDGER.drop(house.engine)
    house.settles("a")
    with pytest.raises(sa.exc.DatabaseError):
        await house.drain()
    house.settles("b")
    with pytest.raises(sa.exc.DatabaseError):
        await house.drain()
    assert house.spool.lag == 2
    LEDGER.create(house.engine)
    await house.drain()
    assert (house.stored, house.spool.lag) == (["a", "b"], 0)


async def test_a_drain_that_is_cancelled_half_way_stores_each_row_once(house: House) -> None:
    house.settles("a")
    other = open_database(house.url)
    with other.begin() as connection:
        connection.execute(sa.text("INSERT INTO live VALUES ('m', 'm@1', 'd', 1.0)"))
        draining = asyncio.create_task(house.drain())
        async with asyncio.timeout(30.0):
            while house.spool.lag:
                await asyncio.to_thread(bool)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert house.spool.lag == 1
    other.dispose()
    await house.drain()
    assert (house.stored, house.spool.lag) == (["a"], 0)


async def test_refresh_follows_the_stores(house: House) -> None:
    keys = KeyStore(house.engine)
    state = State(deployment(), keys, ReleaseStore(house.engine), lambda: NOW, pools={})
    keys.create(name="n", team="t", scope="serve", models=None, now=NOW, ttl_s=None, random_bytes=counting_bytes())
    await refresh(state)
    assert len(state.snapshot.keys) == 1


async def test_looks_that_went_through_are_counted(house: House) -> None:
    state = State(deployment(), KeyStore(house.engine), ReleaseStore(house.engine), lambda: NOW, pools={})
    telemetry = Telemetry()
    await look(state, telemetry)
    assert telemetry.registry.get_sample_value("tollgate_state_looks_total") == 1
    with house.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE live")
    assert not await attempt(lambda: look(state, telemetry))
    assert telemetry.registry.get_sample_value("tollgate_state_looks_total") == 1


async def test_an_attempt_says_whether_it_worked(caplog: pytest.LogCaptureFixture) -> None:
    async def works() -> None:
        """Nothing goes wrong."""

    async def fails() -> None:
        raise InputError("the folder is away")

    assert await attempt(works)
    assert not await attempt(fails, quiet=True)
    assert caplog.text == ""
    assert not await attempt(fails)
    assert "the folder is away" in caplog.text


async def test_a_defect_is_told_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks() -> None:
        raise OverflowError("int too large")

    assert not await attempt(breaks)
    assert "a defect of the gateway" in caplog.text
    assert "in breaks" in caplog.text


@pytest.mark.parametrize(
    "failure",
    [
        OSError("away"),
        InputError("away"),
        LedgerFull("away"),
        sa.exc.OperationalError("s", {}, Exception("away")),
        sa.exc.TimeoutError(),
        OverflowError("a number of an engine"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_the_loop_goes_on_and_tells_of_a_failure_once(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    turns, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 8:
            enough.set()
        # Two troubles with a good turn between them.
        if turns in (2, 3, 5, 6):
            raise failure

    with caplog.at_level(logging.ERROR, "tollgate"):
        running = asyncio.create_task(every(0.0, work))
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({running, waiting}, timeout=30.0, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
    assert turns >= 8
    assert len(caplog.records) == 2


async def test_a_replica_and_the_one_that_took_its_name_are_counted_together(house: House) -> None:
    successor = Replica("r1", "http://i", api_key=None, connect_s=1.0)
    with house.replica, successor:
        await drain(house.spool, house.ledger, house.telemetry, [house.replica, successor])
    assert 'tollgate_in_flight{replica="r1"} 2.0' in house.telemetry.page().decode().splitlines()


async def test_old_rows_go_where_the_configuration_says_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tollgate")
    ages = {"new": 0, "young": 29, "old": 120}
    house.ledger.insert([settled(name, started_at=NOW - 86_400.0 * days) for name, days in ages.items()])
    with house.engine.begin() as connection:
        connection.execute(sa.update(LEDGER).values(allocated_at=NOW))
    await fold(house.engine, None, NOW)
    assert house.stored == ["new", "old", "young"]
    await fold(house.engine, 30, NOW)
    assert house.stored == ["new", "young"]
    await fold(house.engine, 30, NOW)
    assert [message for message in caplog.messages if message.startswith("retention: ")] == [
        "retention: 0 sums of hours are in sums of months now, 1 old rows are gone"
    ]


async def test_what_engines_counted_is_thinned_out_without_a_retention_too(house: House) -> None:
    counters, old = Counters(house.engine), NOW - 100 * 86_400.0
    for at in (old, old + 1.0, NOW):
        counters.add(Snapshot("r1", at, 1.0, 1, 0, 1), 0.5)
    await fold(house.engine, None, NOW)
    assert [each.at for each in counters.snapshots(None, None)] == [old, NOW]


async def test_a_fold_can_be_ended_between_two_steps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    house.ledger.insert([settled(f"tg-{at}", started_at=NOW - 86_400.0 * 120) for at in range(50)])
    with house.engine.begin() as connection:
        connection.execute(sa.update(LEDGER).values(allocated_at=NOW))
    task = asyncio.create_task(fold(house.engine, 30, NOW))
    await until(lambda: len(house.stored) < 50)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    left = len(house.stored)
    assert task.cancelled()
    assert 0 < left < 50
    await fold(house.engine, 30, NOW)
    assert house.stored == []


async def test_rows_that_memory_alone_holds_are_counted(house: House) -> None:
    house.spool.unspooled = 3
    await house.drain()
    house.spool.unspooled += 1
    await house.drain()
    await house.drain()
    assert "tollgate_unspooled_total 4.0" in house.telemetry.page().decode()


async def test_a_process_that_ends_waits_for_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that is cut answers nothing, and what is first must not keep all from its end."""
    done = []

    async def works() -> None:
        done.append(len(done))

    async def hangs() -> None:
        await asyncio.Event().wait()

    await last(works, works)
    assert done == [0, 1]
    assert caplog.messages == []
    monkeypatch.setattr("gateway.control_plane.loops.LAST_S", 0.01)
    await last(works, hangs, works)
    assert done == [0, 1, 2]
    assert "nothing is lost" in caplog.text


async def test_a_statement_that_fails_is_told_without_it_and_its_values(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    LEDGER.drop(house.engine)
    house.settles("a")
    assert not await attempt(house.drain)
    assert caplog.messages == ["background work failed and is tried again; nothing is lost: no such table: ledger"]
