"""A request whose replica turned out to be away, or to hold its adapter no more: another one loads it, and answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.contracts.ledger import LedgerRow
from gateway.settings.health import Health
from gateway.settings.queue import QueueConfig
from tests.engine import raw
from tests.engine.adapters import LOAD, UNLOAD
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, serving
from tests.gateway.test_data_plane_fallback import FAR
from tests.gateway.test_forwarding import PATH, ask, deployed, registered

UNWATCHED = Health(period=60.0, fingerprint=False)
"""Engines are asked once what they hold; that one is away, only requests find out."""
UNLOADED = b'{"lora_name": "invoices"}'


@asynccontextmanager
async def in_front_of(
    engines: Sequence[Engine], folder: Path, queue: QueueConfig | None = None
) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway and a key to it, once the engines have said what they hold."""
    async with AsyncExitStack() as stack:
        for engine in engines:
            await stack.enter_async_context(engine)
        made = deployed(*(engine.url for engine in engines), queue=queue)
        made = replace(made, config=made.config.model_copy(update={"health": UNWATCHED}))
        gateway, key, _ = await stack.enter_async_context(serving(made, folder))
        await registered(gateway)
        yield gateway, key


async def settled(gateway: Gateway, requests: int) -> list[LedgerRow]:
    """The rows of so many requests, which are all there are, once nothing is in flight."""
    rows = await gateway.rows(requests)
    assert len(await gateway.rows(requests)) == requests
    assert gateway.in_flight() == [0] * len(gateway.in_flight())
    assert [each.outstanding for each in gateway.app.state.serving.pools["main"].replicas] == gateway.in_flight()
    return rows


def loader() -> Engine:
    return Engine("base", runtime_loras=True)


def holding() -> Engine:
    return Engine("base", runtime_loras=True, loras="invoices")


@pytest.mark.parametrize("queue", [None, QueueConfig(max_in_flight=1)])
@pytest.mark.parametrize("how", ["killed", "reset", "close"])
async def test_the_first_request_after_a_holder_is_gone_is_answered(
    tmp_path: Path, how: str, queue: QueueConfig | None
) -> None:
    other, holder = loader(), holding()
    async with in_front_of([other, holder], tmp_path, queue) as (gateway, key):
        if how == "killed":
            await holder.stop()
        else:
            holder.faults.append(Fault(how, times=0))  # type: ignore[arg-type]
        answer = await ask(gateway, key)
        (row,) = await settled(gateway, 1)
    assert (answer.status, answer.header("x-tollgate-replica")) == (200, "main-0")
    assert (row.outcome, row.replica, row.attempts) == ("completed", "main-0", 2)
    assert len(other.received(LOAD)) == 1


async def test_a_burst_at_a_holder_that_is_gone_is_one_load_and_no_error(tmp_path: Path) -> None:
    one, holder, two = loader(), holding(), loader()
    async with in_front_of([one, holder, two], tmp_path) as (gateway, key):
        await holder.stop()
        answers = await asyncio.gather(*(ask(gateway, key) for _ in range(8)))
        rows = await settled(gateway, 8)
    assert [answer.status for answer in answers] == [200] * 8
    assert {row.outcome for row in rows} == {"completed"}
    assert len(one.received(LOAD) + two.received(LOAD)) == 1


async def test_who_fails_after_another_request_had_it_loaded_goes_there_without_a_load(tmp_path: Path) -> None:
    other, holder = loader(), holding()
    async with in_front_of([other, holder], tmp_path) as (gateway, key):
        holder.faults.append(Fault("stall"))
        stalled = asyncio.create_task(ask(gateway, key))
        await holder.wait_for(lambda engine: engine.received(PATH))
        holder.faults.append(Fault("reset"))
        assert (await ask(gateway, key)).status == 200
        await holder.stop()
        answer = await stalled
        await settled(gateway, 2)
    assert (answer.status, answer.header("x-tollgate-replica")) == (200, "main-0")
    assert len(other.received(LOAD)) == 1


async def test_a_holder_that_works_is_preferred_to_a_load(tmp_path: Path) -> None:
    other, lost, holder = loader(), holding(), holding()
    async with in_front_of([other, lost, holder], tmp_path) as (gateway, key):
        gateway.app.state.serving.pools["main"].replicas[2].outstanding += 1000
        await raw.post(lost.url, UNLOAD, UNLOADED)
        answer = await ask(gateway, key)
    assert (answer.status, answer.header("x-tollgate-replica")) == (200, "main-2")
    assert other.received(LOAD) == lost.received(LOAD) == []


async def test_where_the_first_one_does_not_load_it_the_next_one_does(tmp_path: Path) -> None:
    refuses, loads, holder = Engine("base"), loader(), holding()
    async with in_front_of([refuses, loads, holder], tmp_path) as (gateway, key):
        gateway.app.state.serving.pools["main"].replicas[1].outstanding += 1000
        await holder.stop()
        answer = await ask(gateway, key)
    assert (answer.status, answer.header("x-tollgate-replica")) == (200, "main-1")
    assert (len(refuses.received(LOAD)), len(loads.received(LOAD))) == (1, 1)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("killed", "replica 'main-1'"),
        ("unloaded", "no replica holds the adapter 'invoices', and 'main-"),
    ],
)
async def test_where_nobody_loads_it_one_clear_error_says_why(tmp_path: Path, how: str, expected: str) -> None:
    refuses, holder = Engine("base"), holding()
    async with in_front_of([refuses, holder], tmp_path) as (gateway, key):
        if how == "killed":
            await holder.stop()
        else:
            await raw.post(holder.url, UNLOAD, UNLOADED)
            holder.runtime_loras = False
        answer = await ask(gateway, key)
        (row,) = await settled(gateway, 1)
    assert (answer.status, answer.json["error"]["code"]) == (503, "upstream_unavailable")
    assert answer.json["error"]["message"].startswith(expected)
    assert (row.outcome, row.replica, row.attempts) == ("upstream_unavailable", "main-1", 1)
    assert len(refuses.received(LOAD)) == 1


async def test_who_answers_with_a_failure_is_no_reason_for_a_load(tmp_path: Path) -> None:
    other, holder = loader(), holding()
    async with in_front_of([other, holder], tmp_path) as (gateway, key):
        holder.faults.append(Fault("error"))
        answer = await ask(gateway, key)
    assert answer.status == 502
    assert other.received(LOAD) == []


@pytest.mark.parametrize("holds", [1, 3])
async def test_while_all_that_hold_it_shed_load_one_more_is_told_to_load_it(tmp_path: Path, holds: int) -> None:
    other, third, full = loader(), loader(), [holding() for _ in range(holds)]
    async with in_front_of([other, third, *full], tmp_path) as (gateway, key):
        pool = gateway.app.state.serving.pools["main"]
        pool.replicas[1].outstanding += 1000
        for holder in full:
            holder.faults.append(Fault("refuse", times=0))
        assert (await ask(gateway, key)).json["error"]["code"] == "upstream_overloaded"
        await gateway.until(lambda: "invoices" in pool.engines[0].facts.adapters)
        (row,) = await gateway.rows(1)
    assert (len(other.received(LOAD)), len(third.received(LOAD))) == (1, 0)
    assert (row.outcome, row.attempts) == ("upstream_overloaded", holds)


async def test_no_load_exceeds_the_retry_budget(tmp_path: Path) -> None:
    other, holder = loader(), holding()
    async with in_front_of([other, holder], tmp_path) as (gateway, key):
        retries = gateway.app.state.serving.pools["main"].retries
        retries.balance, retries.at = 0.0, FAR
        await holder.stop()
        assert (await ask(gateway, key)).status == 503
        page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
        await settled(gateway, 1)
    assert 'tollgate_retries_denied_total{pool="main"} 1.0' in page
    assert other.received(LOAD) == []


async def test_an_engine_that_was_never_asked_what_it_holds_loads_what_it_lacks(tmp_path: Path) -> None:
    engine = loader()
    async with engine:
        made = deployed(engine.url)
        made = replace(made, config=made.config.model_copy(update={"health": Health(probes=False)}))
        async with serving(made, tmp_path) as (gateway, key, _):
            assert [(await ask(gateway, key)).status for _ in range(2)] == [200, 200]
    assert len(engine.received(LOAD)) == 1


async def test_one_that_was_never_asked_and_does_not_load_it_is_not_asked_again_and_says_why(tmp_path: Path) -> None:
    engine = Engine("base")
    async with engine:
        made = deployed(engine.url)
        made = replace(made, config=made.config.model_copy(update={"health": Health(probes=False)}))
        async with serving(made, tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key)
            (row,) = await settled(gateway, 1)
    assert (answer.status, answer.json["error"]["code"], row.attempts) == (503, "upstream_unavailable", 1)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in answer.json["error"]["message"]
    assert len(engine.received(LOAD)) == 1


async def test_one_that_says_it_loaded_it_and_still_lacks_it_is_given_up(tmp_path: Path) -> None:
    engine = holding()
    async with in_front_of([engine], tmp_path) as (gateway, key):
        engine.limits = replace(engine.limits, loras=())
        answer = await ask(gateway, key)
        (row,) = await settled(gateway, 1)
    assert answer.status == 502
    assert (row.attempts, len(engine.received(LOAD))) == (3, 2)


async def test_a_client_that_leaves_during_the_load_is_counted_as_that(tmp_path: Path) -> None:
    other, holder = loader(), holding()
    async with in_front_of([other, holder], tmp_path) as (gateway, key):
        await holder.stop()
        other.faults.append(Fault("stall", path=LOAD))
        asking = asyncio.create_task(ask(gateway, key))
        await other.wait_for(lambda engine: engine.received(LOAD))
        asking.cancel()
        (row,) = await settled(gateway, 1)
    assert (row.outcome, row.attempts) == ("client_closed", 1)
