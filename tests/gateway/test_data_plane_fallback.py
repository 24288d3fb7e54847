"""Another model answers in the place of one whose pool cannot: who, when, at whose price, and what the ledger says."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.config import Deployment, ModelConfig, Release, ReleaseConfig
from gateway.contracts.prices import Price, PriceBook
from gateway.contracts.release import ModelFiles, ReleaseManifest
from gateway.policy.health import LIMIT
from gateway.settings.queue import QueueConfig
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, deployment, serving
from tests.polling import until

FAR = 1e12
"""Seconds: a failure then keeps a breaker open for as long as a test lasts."""
BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}
PATH = "/v1/chat/completions"
PRICES = PriceBook(
    version="two",
    models={
        "faq": Price(input=Decimal(1), output=Decimal(1)),
        "backup": Price(input=Decimal(1000), output=Decimal(0)),
    },
)


def deployed(main: Sequence[str], spare: Sequence[str]) -> Deployment:
    """The model `faq`, and `backup` over another pool in its place."""
    manifest = ReleaseManifest(name="backup@7", model=ModelFiles(id="backup"))
    backup = Release(manifest.name, "backup", manifest.digest(), manifest, "spare")
    made = deployment({"main": main, "spare": spare}, served_model=None)
    models = {
        "faq": made.config.models["faq"].model_copy(update={"fallback": ("backup",)}),
        "backup": ModelConfig(live="backup@7", releases=(ReleaseConfig(manifest=Path("-"), pool="spare"),)),
    }
    config = made.config.model_copy(update={"models": models})
    return replace(made, config=config, releases={**made.releases, "backup@7": backup}, prices=PRICES)


async def ask(gateway: Gateway, key: str, **fields: object) -> raw.Answer:
    """One request's answer."""
    headers = {"authorization": f"Bearer {key}"}
    return await raw.post(gateway.url, PATH, json.dumps(BODY | fields).encode(), headers)


async def test_a_dead_pool_is_answered_for_at_the_price_of_who_answers(tmp_path: Path) -> None:
    async with Engine("faq") as dead, Engine("backup") as spare:
        await dead.stop()
        async with serving(deployed([dead.url], [spare.url]), tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key)
            (row,) = await gateway.rows(1)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
        assert answer.status == 200
        assert answer.header("x-tollgate-release") == "backup@7"
        assert answer.header("x-tollgate-replica") == "spare-0"
        assert json.loads(spare.received(PATH)[0].body)["model"] == "backup"
    assert (row.model, row.release, row.replica, row.attempts) == ("faq", "backup@7", "spare-0", 2)
    assert row.outcome == "completed"
    assert Decimal(row.cost or 0) == Decimal("0.003")
    assert 'tollgate_fallbacks_total{model="faq",release="backup@7"} 1.0' in page


@pytest.mark.parametrize("how", ["down", "failing"])
async def test_who_is_known_to_be_away_is_not_asked_while_another_model_can_answer(tmp_path: Path, how: str) -> None:
    """An engine that stands still takes what it is sent, and never answers."""
    async with Engine("faq") as still, Engine("backup") as spare:
        async with serving(deployed([still.url], [spare.url]), tmp_path) as (gateway, key, _):
            still.hold()
            vitals = gateway.app.state.serving.pools["main"].replicas[0].vitals
            for _ in range(LIMIT):
                vitals.missed() if how == "down" else vitals.failed(FAR)
            answers = [await ask(gateway, key, stream=stream) for stream in (False, True)]
            rows = await gateway.rows(2)
        assert [answer.header("x-tollgate-release") for answer in answers] == ["backup@7"] * 2
        assert still.received(PATH) == []
        assert {(row.outcome, row.attempts, row.replica) for row in rows} == {("completed", 1, "spare-0")}


@pytest.mark.parametrize("fallback", [True, False])
async def test_nobody_waits_for_the_turn_of_a_replica_that_went_away_while_another_model_can_answer(
    tmp_path: Path, fallback: bool
) -> None:
    async with Engine("faq") as still, Engine("backup") as spare:
        made = deployed([still.url], [spare.url])
        main = made.config.pools["main"].model_copy(update={"queue": QueueConfig(max_in_flight=1, max_wait=1.0)})
        faq = made.config.models["faq"].model_copy(update={"fallback": ("backup",) if fallback else ()})
        changed = {"pools": {**made.config.pools, "main": main}, "models": {**made.config.models, "faq": faq}}
        made = replace(made, config=made.config.model_copy(update=changed))
        async with serving(made, tmp_path) as (gateway, key, _):
            still.hold()
            pool = gateway.app.state.serving.pools["main"]
            hangs = asyncio.create_task(ask(gateway, key))
            await until(lambda: still.received(PATH))
            waits = asyncio.create_task(ask(gateway, key))
            await until(lambda: pool.queue is not None and pool.queue.depth == 1)
            await asyncio.wait([waits], timeout=0.6)  # so that a wait that began anew would show
            for _ in range(LIMIT):
                pool.replicas[0].vitals.missed()
            answers = [await waits, await ask(gateway, key)]
            still.resume()
            await hangs
            rows = await gateway.rows(3)
    if fallback:
        assert [answer.header("x-tollgate-release") for answer in answers] == ["backup@7"] * 2
    else:  # it is guessed at when its turn comes, within the time that anybody waits
        assert [answer.json["error"]["code"] for answer in answers] == ["queue_timeout"] * 2
        assert all(1.0 <= row.duration_s < 1.5 for row in rows if row.outcome == "queue_timeout")


async def test_when_all_are_away_the_error_says_so_at_once(tmp_path: Path) -> None:
    async with Engine("faq") as still, Engine("backup") as other:
        async with serving(deployed([still.url], [other.url]), tmp_path) as (gateway, key, _):
            for pool in gateway.app.state.serving.pools.values():
                for _ in range(LIMIT):
                    pool.replicas[0].vitals.missed()
            answer = await ask(gateway, key)
        assert (answer.status, still.received(PATH), other.received(PATH)) == (503, [], [])
        assert answer.json["error"]["message"] == "no replica takes requests: 'main-0' is down"
        assert answer.header("retry-after") is not None


async def test_a_saturated_pool_is_answered_for_too(tmp_path: Path) -> None:
    async with Engine("faq") as busy, Engine("backup") as spare:
        busy.faults.append(Fault("error", status=503, times=0))
        async with serving(deployed([busy.url], [spare.url]), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key, stream=True)).header("x-tollgate-release") == "backup@7"


async def test_when_nobody_can_the_error_is_that_of_the_model_asked_for(tmp_path: Path) -> None:
    async with Engine("faq") as busy, Engine("backup") as spare:
        busy.faults.append(Fault("error", status=503, times=0))
        spare.faults.append(Fault("error", status=500, times=0))
        async with serving(deployed([busy.url], [spare.url]), tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key)
            (row,) = await gateway.rows(1)
    assert (answer.status, answer.json["error"]["code"]) == (503, "upstream_overloaded")
    assert answer.header("retry-after") is not None
    assert (row.outcome, row.attempts, row.cost) == ("upstream_overloaded", 2, None)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_fallback_does_not_take_is_no_mistake_of_the_client(tmp_path: Path, stream: bool) -> None:
    """It was sent to another model, which may take longer prompts, and other fields, than the one in its place."""
    async with Engine("faq") as busy, Engine("backup", max_model_len=2) as spare:
        busy.faults.append(Fault("error", status=503, times=0))
        async with serving(deployed([busy.url], [spare.url]), tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key, stream=stream)
            (row,) = await gateway.rows(1)
        assert len(spare.received(PATH)) == 1
    assert (answer.status, answer.json["error"]["code"]) == (503, "upstream_overloaded")
    assert answer.header("x-tollgate-release") == "faq@1"
    assert answer.header("retry-after") is not None
    assert (row.outcome, row.release, row.replica, row.attempts) == ("upstream_overloaded", "faq@1", "main-0", 2)


async def test_a_clients_own_mistake_is_nobody_elses_to_answer(tmp_path: Path) -> None:
    async with Engine("faq") as main, Engine("backup") as spare:
        async with serving(deployed([main.url], [spare.url]), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key, temperature=-1)).status == 400
        assert spare.received(PATH) == []


async def test_after_the_first_byte_nobody_else_answers(tmp_path: Path) -> None:
    async with Engine("faq") as main, Engine("backup") as spare:
        main.faults.append(Fault("close", after=2))
        async with serving(deployed([main.url], [spare.url]), tmp_path) as (gateway, key, _):
            assert b'"code":"upstream_failed"' in (await ask(gateway, key, stream=True)).body
        assert spare.received(PATH) == []


async def test_the_harness_and_a_key_that_may_not_use_it_get_no_fallback(tmp_path: Path) -> None:
    async with Engine("faq") as dead, Engine("backup") as spare:
        await dead.stop()
        async with serving(deployed([dead.url], [spare.url]), tmp_path) as (gateway, _, evaluate):
            limited = gateway.key(models=["faq"])
            gateway.app.state.refresh()
            for key in (evaluate, limited):
                assert (await ask(gateway, key)).status == 503
        assert spare.received(PATH) == []


async def test_comments_of_a_queued_request_are_no_first_byte(tmp_path: Path) -> None:
    """The engine that says it lives, and then dies, has cost the client nothing: another replica answers."""
    async with Engine("faq", keep_alive_s=0.01) as queued, Engine("backup") as spare:
        queued.hold()
        async with serving(deployed([queued.url], [spare.url]), tmp_path) as (gateway, key, _):
            asked = raw.connect(gateway.url)
            async with asked as client:
                headers = {"authorization": f"Bearer {key}"}
                await client.send("POST", PATH, BODY | {"stream": True}, headers=headers)
                await queued.wait_for(lambda engine: engine.connections and engine.running == 1)
                await queued.stop()
                answer = await client.answer()
    assert answer.header("x-tollgate-release") == "backup@7"
    assert not answer.body.startswith(b":")
