"""Adapters through the gateway: requests go to who holds one, and a replica is told to load it when none does."""

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Deployment, Timeouts
from gateway.policy.health import LIMIT
from gateway.settings.health import Health
from gateway.settings.queue import QueueConfig
from gateway.settings.replicas import AdapterConfig
from tests.engine import raw
from tests.engine.adapters import LOAD, NOWHERE
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, deployment, release, serving
from tests.gateway.test_data_plane_fallback import FAR
from tests.gateway.test_data_plane_fallback import deployed as with_fallback

PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}).encode()


def deployed(
    *urls: str, path: str | None = "loras/invoices", queue: QueueConfig | None = None, **timeouts: float
) -> Deployment:
    """The model `faq`, which is an adapter of the engines' own."""
    adapter = AdapterConfig(name="invoices", path=path)
    health = Health(period=0.05, fingerprint=False)
    releases = [replace(release("1"), adapter=adapter)]
    made = deployment({"main": urls}, releases, health=health, timeouts=Timeouts(**timeouts))
    if queue is None:
        return made
    pools = {"main": made.config.pools["main"].model_copy(update={"queue": queue})}
    return replace(made, config=made.config.model_copy(update={"pools": pools}))


async def ask(gateway: Gateway, key: str) -> raw.Answer:
    return await raw.post(gateway.url, PATH, BODY, {"authorization": f"Bearer {key}"})


async def registered(gateway: Gateway) -> None:
    """Wait until every engine has said what it holds."""
    for engine in gateway.app.state.serving.pools["main"].engines:
        await gateway.until(lambda engine=engine: engine.facts is not None)


async def test_requests_go_to_the_replica_that_holds_the_adapter(tmp_path: Path) -> None:
    async with Engine("base") as without, Engine("base", loras="invoices") as holder:
        async with serving(deployed(without.url, holder.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            answers = [await ask(gateway, key) for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        assert len(holder.received(PATH)) == 4
        assert holder.received(PATH)[0].json["model"] == "invoices"
        assert without.received(PATH) == []


async def test_a_replica_loads_it_when_none_holds_it(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as one, Engine("base", runtime_loras=True) as two:
        async with serving(deployed(one.url, two.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            answers = [await ask(gateway, key) for _ in range(4)]
            rows = await gateway.rows(4)
        assert [answer.status for answer in answers] == [200] * 4
        assert len(one.received(LOAD) + two.received(LOAD)) == 1, "the others go to the one that has it"
        assert {row.outcome for row in rows} == {"completed"}


async def test_a_full_holder_is_waited_for_though_others_have_room(tmp_path: Path) -> None:
    async with Engine("base") as without, Engine("base", loras="invoices") as holder:
        deployed_queue = deployed(without.url, holder.url, queue=QueueConfig(max_in_flight=2))
        async with serving(deployed_queue, tmp_path) as (gateway, key, _):
            await registered(gateway)
            holder.hold()
            asking = [asyncio.create_task(ask(gateway, key)) for _ in range(5)]
            queue = gateway.app.state.serving.pools["main"].queue
            assert queue is not None
            await gateway.until(lambda: queue.depth == 3)
            await holder.wait_for(lambda engine: engine.running == 2)
            holder.resume()
            answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [200] * 5
        assert without.received(PATH) == []


@pytest.mark.parametrize("another_is_down", [False, True])
async def test_while_holders_are_full_one_more_replica_is_told_to_load_it(
    tmp_path: Path, another_is_down: bool
) -> None:
    async with (
        Engine("base", runtime_loras=True) as other,
        Engine("base", loras="invoices") as holder,
        Engine("base", loras="invoices") as third,
    ):
        urls = [other.url, holder.url, *([third.url] if another_is_down else [])]
        async with serving(deployed(*urls, queue=QueueConfig(max_in_flight=2)), tmp_path) as (gateway, key, _):
            await registered(gateway)
            if another_is_down:
                await third.stop()
                await gateway.until(lambda: not gateway.app.state.serving.pools["main"].replicas[2].vitals.up)
            holder.hold()
            asking = [asyncio.create_task(ask(gateway, key)) for _ in range(6)]
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().header("x-tollgate-replica") for task in done] == ["main-0"] * len(done)
            await other.wait_for(lambda engine: engine.finished == 4)
            holder.resume()
            answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [200] * 6
        assert (len(other.received(LOAD)), len(other.received(PATH)), len(holder.received(PATH))) == (1, 4, 2)


async def test_what_a_holder_still_ends_from_before_a_reload_fills_it(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as other, Engine("base", loras="invoices") as holder:
        made = deployed(other.url, holder.url, queue=QueueConfig(max_in_flight=1, max_wait=5.0))
        async with serving(made, tmp_path) as (gateway, key, _):
            await registered(gateway)
            replicas = gateway.app.state.serving.pools["main"].replicas
            replicas[1].before = 1
            assert (await ask(gateway, key)).header("x-tollgate-replica") == "main-0"
        assert len(other.received(LOAD)) == 1


async def test_the_one_that_does_not_load_it_is_not_told_again_while_another_one_may(tmp_path: Path) -> None:
    engines = Engine("base"), Engine("base", loras="invoices"), Engine("base", runtime_loras=True)
    async with engines[0] as refuses, engines[1] as holder, engines[2] as other:
        urls, queue = (refuses.url, holder.url, other.url), QueueConfig(max_in_flight=1)
        async with serving(deployed(*urls, queue=queue), tmp_path) as (gateway, key, _):
            await registered(gateway)
            pool = gateway.app.state.serving.pools["main"]
            pool.replicas[2].outstanding += 1000
            holder.hold()
            asking = [asyncio.create_task(ask(gateway, key)) for _ in range(2)]
            await gateway.until(lambda: refuses.received(LOAD) and not pool.adapters._loading)
            pool.adapters._spread_at.clear()  # as later on
            asking.append(asyncio.create_task(ask(gateway, key)))
            await other.wait_for(lambda engine: engine.finished == 2)
            holder.resume()
            await asyncio.gather(*asking)
        assert (len(refuses.received(LOAD)), len(other.received(LOAD))) == (1, 1)


async def test_another_replica_loads_it_when_those_that_hold_it_are_down(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as other, Engine("base", loras="invoices") as holder:
        async with serving(deployed(other.url, holder.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            await holder.stop()
            await gateway.until(lambda: not gateway.app.state.serving.pools["main"].replicas[1].vitals.up)
            answers = [await ask(gateway, key) for _ in range(2)]
        assert [answer.header("x-tollgate-replica") for answer in answers] == ["main-0"] * 2
        assert len(other.received(LOAD)) == 1


async def test_when_nobody_loads_it_another_model_answers(tmp_path: Path) -> None:
    async with Engine("faq", runtime_loras=True) as engine, Engine("backup") as spare:
        made = with_fallback([engine.url], [spare.url])
        adapter = AdapterConfig(name="invoices", path=f"{NOWHERE}/x")
        made = replace(made, releases={**made.releases, "faq@1": replace(made.releases["faq@1"], adapter=adapter)})
        health = Health(period=0.05, fingerprint=False)
        made = replace(made, config=made.config.model_copy(update={"health": health}))
        async with serving(made, tmp_path) as (gateway, key, _):
            await registered(gateway)
            answer = await ask(gateway, key)
        assert (answer.status, answer.header("x-tollgate-release")) == (200, "backup@7")
        assert len(engine.received(LOAD)) == 1


@pytest.mark.parametrize("fault", [None, "close"])
async def test_where_the_least_busy_replica_does_not_load_it_another_one_does(
    tmp_path: Path, fault: str | None
) -> None:
    async with Engine("base", runtime_loras=fault is not None) as idle, Engine("base", runtime_loras=True) as busy:
        if fault is not None:
            idle.faults.append(Fault(fault, path=LOAD))
        async with serving(deployed(idle.url, busy.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            gateway.app.state.serving.pools["main"].replicas[1].outstanding += 1000
            answers = await asyncio.gather(*(ask(gateway, key) for _ in range(3)))
        assert [answer.header("x-tollgate-replica") for answer in answers] == ["main-1"] * 3
        assert (len(idle.received(LOAD)), len(busy.received(LOAD))) == (1, 1)


async def test_who_waits_for_a_load_that_hangs_is_served_by_another_that_loads_it(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as idle, Engine("base", runtime_loras=True) as busy:
        idle.faults.append(Fault("stall", path=LOAD))
        async with serving(deployed(idle.url, busy.url, load=0.5), tmp_path) as (gateway, key, _):
            await registered(gateway)
            gateway.app.state.serving.pools["main"].replicas[1].outstanding += 1000
            answers = await asyncio.gather(*(ask(gateway, key) for _ in range(3)))
        assert [answer.header("x-tollgate-replica") for answer in answers] == ["main-1"] * 3
        assert (len(idle.received(LOAD)), len(busy.received(LOAD))) == (1, 1)


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [({"load": 0.5}, "no answer within 0.5 s"), ({"total": 0.5}, "loads it for longer than this request may take")],
)
async def test_nobody_waits_for_a_load_beyond_its_time_or_that_of_the_request(
    tmp_path: Path, timeouts: dict[str, float], expected: str
) -> None:
    async with Engine("base", runtime_loras=True) as engine:
        engine.faults.append(Fault("stall", path=LOAD))
        async with serving(deployed(engine.url, **timeouts), tmp_path) as (gateway, key, _):
            await registered(gateway)
            answer = await ask(gateway, key)
            (row,) = await gateway.rows(1)
        assert (answer.status, row.outcome, row.attempts) == (503, "upstream_unavailable", 0)
        assert expected in answer.json["error"]["message"]
        assert len(engine.received(LOAD)) == 1


async def test_who_waits_for_a_holder_that_goes_down_is_served_by_another_that_loads_it(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as other, Engine("base", loras="invoices") as holder:
        made = deployed(other.url, holder.url, queue=QueueConfig(max_in_flight=1))
        async with serving(made, tmp_path) as (gateway, key, _):
            await registered(gateway)
            pool = gateway.app.state.serving.pools["main"]
            (adapter,) = (each.adapter for each in gateway.app.state.serving.snapshot.releases.values())
            pool.adapters._spread_at[adapter] = math.inf  # nobody is told to load it beforehand
            holder.hold()
            asking = [asyncio.create_task(ask(gateway, key)) for _ in range(2)]
            await gateway.until(lambda: pool.queue.depth == 1)
            for _ in range(LIMIT):
                pool.replicas[1].vitals.failed(FAR)
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().header("x-tollgate-replica") for task in done] == ["main-0"]
            holder.resume()
            await asyncio.gather(*asking)


async def test_what_was_unloaded_is_loaded_again(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True, loras="invoices") as engine:
        async with serving(deployed(engine.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            await raw.post(engine.url, "/v1/unload_lora_adapter", b'{"lora_name": "invoices"}')
            answers = [await ask(gateway, key) for _ in range(2)]
            rows = await gateway.rows(2)
        assert [answer.status for answer in answers] == [200, 200], "nobody pays for it with an error"
        assert len(engine.received(LOAD)) == 1
        assert sorted(row.attempts for row in rows) == [1, 2]


async def test_another_adapter_under_its_name_answers_no_request_for_it(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as engine:
        async with serving(deployed(engine.url), tmp_path) as (gateway, key, _):
            await registered(gateway)
            first = await ask(gateway, key)
            await gateway.app.current.reload(deployed(engine.url, path="loras/invoices/2"))
            await registered(gateway)
            refused = await ask(gateway, key)
            await gateway.app.current.reload(deployed(engine.url))
            again = await ask(gateway, key)
        assert (first.status, refused.status, again.status) == (200, 503, 200)
        told = json.loads(refused.body)["error"]["message"]
        assert "'main-0' does not load it: it has another one of that name, from 'loras/invoices'" in told
        assert (len(engine.received(LOAD)), len(engine.received(PATH))) == (1, 2)


async def test_what_cannot_be_loaded_is_one_clear_error(tmp_path: Path) -> None:
    async with Engine("base", runtime_loras=True) as engine:
        async with serving(deployed(engine.url, path=f"{NOWHERE}/x"), tmp_path) as (gateway, key, _):
            await registered(gateway)
            answer = await ask(gateway, key)
            (row,) = await gateway.rows(1)
        assert answer.status == 503
        assert "no replica holds the adapter 'invoices'" in json.loads(answer.body)["error"]["message"]
        assert (row.outcome, row.replica) == ("upstream_unavailable", None)


async def test_ranks_of_one_engine_are_chosen_by_the_gateway(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = deployment({"main": [engine.url]})
        main = made.config.pools["main"]
        ranked = main.model_copy(update={"replicas": (main.replicas[0].model_copy(update={"ranks": 2}),)})
        config = made.config.model_copy(update={"pools": {"main": ranked}})
        async with serving(replace(made, config=config), tmp_path) as (gateway, key, _):
            answers = [await ask(gateway, key) for _ in range(4)]
        assert {answer.header("x-tollgate-replica") for answer in answers} == {"main-0.0", "main-0.1"}
        assert sorted(each.header("x-data-parallel-rank") or "" for each in engine.received(PATH)) == [
            "0",
            "0",
            "1",
            "1",
        ]
