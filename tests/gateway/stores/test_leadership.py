"""One leads: the first that asks, until its connection is gone."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.stores.dialects import connect
from gateway.stores.leadership import LOCK, Leadership
from tests.gateway.postgres import Postgres, running
from tests.polling import until

ROOT = Path(__file__).parents[3]
LEAD = """
import sys
from gateway.stores.dialects import connect
from gateway.stores.leadership import Leadership
one = Leadership(connect(sys.argv[1]), chosen=False, silent_s=1)
print(one.leads(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("chosen", [True, False])
def test_of_the_processes_of_one_machine_the_chosen_one_leads(tmp_path: Path, chosen: bool) -> None:
    engine = connect(f"sqlite:///{tmp_path / 't.db'}")
    assert Leadership(engine, chosen=chosen).leads() is chosen
    engine.dispose()


async def test_a_leader_that_is_killed_has_a_successor_and_one_that_ends_too(postgres: Postgres) -> None:
    url = postgres.url()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LEAD, url, stdin=PIPE, stdout=PIPE, env=environment
    )
    engines = [connect(url) for _ in range(2)]
    two, three = (Leadership(each, chosen=True) for each in engines)
    assert first.stdout is not None
    assert await first.stdout.readline() == b"True\n"
    assert (two.leads(), three.leads()) == (False, False)
    first.send_signal(signal.SIGKILL)
    await first.communicate()
    await until(two.leads)
    assert (two.leads(), three.leads()) == (True, False)
    two.close()
    await until(three.leads)
    assert not two.leads()
    three.close()
    for each in engines:
        assert isinstance(each.pool, sa.QueuePool)
        assert each.pool.checkedout() == 0
        each.dispose()


async def test_nobody_leads_without_a_database_and_one_does_when_it_is_back() -> None:
    with running() as server:
        engine = connect(server.url())
        one = Leadership(engine, chosen=True)
        assert one.leads()
        server.stop()
        assert (one.leads(), one.leads()) == (False, False)
        server.start()
        await until(one.leads)
        with engine.connect() as connection:
            text = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK}"
            assert connection.exec_driver_sql(text).scalar() == 1
        one.close()
        engine.dispose()


async def test_a_leader_that_stands_still_has_a_successor_and_leads_no_more_when_it_goes_on(postgres: Postgres) -> None:
    """As one whose network is cut: its connection stays open, and nothing comes over it."""
    url = postgres.url()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{LEAD}print(one.leads())", url, stdin=PIPE, stdout=PIPE, env=environment
    )
    engine = connect(url)
    two = Leadership(engine, chosen=True)
    assert first.stdout is not None
    assert await first.stdout.readline() == b"True\n"
    first.send_signal(signal.SIGSTOP)
    await until(two.leads)
    first.send_signal(signal.SIGCONT)
    out, _ = await first.communicate(b"")
    assert out == b"False\n"
    assert two.leads()
    two.close()
    engine.dispose()


async def test_a_process_that_ends_does_not_wait_for_its_own_question(postgres: Postgres) -> None:
    """Who asks a database that does not answer is in a thread of its own, and lets the lead go when it has heard."""
    engine = connect(postgres.url())
    one = Leadership(engine, chosen=True)
    with engine.begin() as other:
        other.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        assert not one.leads()
        one._asking.acquire()  # a thread that asks
        one.close()
        one._asking.release()
    assert not one.leads()
    engine.dispose()
