"""The database is away for a while: requests go on, and every one of them is in the ledger once it is back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.postgres import Postgres, running
from tests.gateway.serving import Gateway, deployment, serving

PATH = "/v1/chat/completions"
BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two"}]}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """One of its own, to be stopped."""
    with running() as made:
        yield made


async def _ask(gateway: Gateway, key: str) -> raw.Answer:
    return await raw.post(gateway.url, PATH, BODY, {"authorization": f"Bearer {key}"})


async def _page(gateway: Gateway, path: str) -> raw.Answer:
    return await raw.exchange(gateway.url, "GET", path)


async def _metric(gateway: Gateway, name: str) -> float:
    page = (await _page(gateway, "/metrics")).body.decode()
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"{name} "))


async def test_law_1_an_outage_of_the_database_loses_nothing_and_doubles_nothing(
    server: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before it, across its begin, within it, across its end, after it: some requests of each."""
    async with Engine("faq") as engine:
        made = deployment({"main": [engine.url]})
        async with serving(made, tmp_path, database=server.url()) as (gateway, key, _):
            answers = [await _ask(gateway, key) for _ in range(3)]
            await gateway.rows(3)
            engine.hold()
            across = [asyncio.create_task(_ask(gateway, key)) for _ in range(5)]
            await engine.wait_for(lambda engine: engine.running == 5)
            await asyncio.to_thread(server.stop)
            engine.resume()
            answers += [await each for each in across]
            answers += await asyncio.gather(*(_ask(gateway, key) for _ in range(20)))
            spool = gateway.app.data_plane.spool
            await gateway.until(lambda: spool.lag == 25 and any("nothing is lost" in each for each in caplog.messages))
            while await _metric(gateway, "tollgate_ledger_lag_rows") != 25:
                continue
            assert (await _page(gateway, "/ready")).status == 200, "a gateway that answers is not taken out"
            engine.hold()
            across = [asyncio.create_task(_ask(gateway, key)) for _ in range(5)]
            await engine.wait_for(lambda engine: engine.running == 5)
            await asyncio.to_thread(server.start)
            engine.resume()
            answers += [await each for each in across]
            fresh = await asyncio.to_thread(gateway.key)
            await gateway.until(lambda: len(gateway.app.state.snapshot.keys) == 3)
            answers.append(await _ask(gateway, fresh))
            rows = await gateway.rows(len(answers))
            assert await _metric(gateway, "tollgate_unspooled_total") == 0
    assert {answer.status for answer in answers} == {200}
    assert sorted(row.request_id for row in rows) == sorted(
        str(answer.header("x-tollgate-request-id")) for answer in answers
    )
    assert {row.outcome for row in rows} == {"completed"}
    told = [message for message in caplog.messages if "nothing is lost" in message]
    assert len(told) <= 4, "an outage is told once by each loop, and not in every round of it"
    assert list((tmp_path / "tollgate.db.spool").iterdir()) == []


async def test_a_gateway_that_ends_during_an_outage_leaves_its_rows_to_the_next(
    server: Postgres, tmp_path: Path
) -> None:
    database = server.url()
    async with Engine("faq") as engine:
        made = deployment({"main": [engine.url]})
        async with serving(made, tmp_path, database=database) as (gateway, key, _):
            await asyncio.to_thread(server.stop)
            answer = await _ask(gateway, key)
            assert answer.status == 200
        (left,) = (tmp_path / "tollgate.db.spool").iterdir()
        await asyncio.to_thread(server.start)
        async with serving(made, tmp_path, database=database) as (gateway, _, _):
            (row,) = await gateway.rows(1)
    assert (row.request_id, row.outcome) == (answer.header("x-tollgate-request-id"), "completed")
    assert not left.exists()
