"""Who gets a request, and who does not: sleepers, draining replicas, retries within their budget, honest waits."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.policy.health import LIMIT, Vitals
from gateway.settings.health import Health
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, deployment, serving

BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}
PATH = "/v1/chat/completions"


async def ask(gateway: Gateway, key: str, **fields: object) -> raw.Answer:
    """One request's answer."""
    headers = {"authorization": f"Bearer {key}"}
    return await raw.post(gateway.url, PATH, json.dumps(BODY | fields).encode(), headers)


def vitals(gateway: Gateway, at: int = 0) -> Vitals:
    """What is known of a replica."""
    return gateway.app.state.serving.pools["main"].replicas[at].vitals


async def test_a_sleeping_replica_is_skipped_and_when_all_sleep_it_is_said(tmp_path: Path) -> None:
    async with (
        Engine() as one,
        Engine() as other,
        serving(deployment({"main": [one.url, other.url]}, health=Health(probes=False, period=7)), tmp_path) as (
            gateway, key, _,
        ),
    ):  # fmt: skip
        vitals(gateway).probed(0.0, asleep=True)
        for _ in range(4):
            assert (await ask(gateway, key)).status == 200
        assert one.received(PATH) == []
        vitals(gateway, 1).drain(True, 0.0)
        refused = await ask(gateway, key)
        assert (refused.status, refused.json["error"]["code"]) == (503, "upstream_unavailable")
        assert refused.json["error"]["message"].endswith("'main-0' is asleep, 'main-1' is draining")
        assert refused.header("retry-after") == "7"
        row = (await gateway.rows(5))[0]
        assert (row.outcome, row.attempts, row.replica) == ("upstream_unavailable", 0, None)


async def test_one_that_is_down_is_asked_when_there_is_nobody_else_and_never_by_a_retry(tmp_path: Path) -> None:
    async with (
        Engine() as one,
        Engine() as other,
        serving(deployment({"main": [one.url, other.url]}), tmp_path) as (gateway, key, _),
    ):
        for _ in range(2):
            vitals(gateway, 1).missed()
        one.faults.append(Fault("error", status=500, times=1))
        assert (await ask(gateway, key)).status == 502
        assert other.received(PATH) == []
        for _ in range(2):
            vitals(gateway).missed()
        assert (await ask(gateway, key)).status == 200
        rows = await gateway.rows(2)
        assert {(row.outcome, row.attempts) for row in rows} == {("upstream_failed", 1), ("completed", 1)}


@pytest.mark.parametrize(("model", "engines_key"), [("another", None), ("faq", "k" * 16)], ids=["model", "key"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_replica_that_knows_neither_model_nor_key_costs_no_request(
    tmp_path: Path, model: str, engines_key: str | None, stream: bool
) -> None:
    """It answers at once: where that counted as an answer, it would look idle and get more requests than the rest."""
    async with (
        Engine(model, api_key=engines_key) as wrong,
        Engine("faq") as right,
        serving(deployment({"main": [wrong.url, right.url]}, health=Health(probes=False)), tmp_path) as (
            gateway, key, _,
        ),
    ):  # fmt: skip
        for _ in range(2 * LIMIT + 2):
            assert (await ask(gateway, key, stream=stream)).status == 200
        assert not vitals(gateway).breaker.closed
        assert vitals(gateway, 1).breaker.closed
        assert len(wrong.received(PATH)) == LIMIT


async def test_a_draining_replica_ends_what_it_has_and_gets_nothing_new(tmp_path: Path) -> None:
    async with (
        Engine() as one,
        Engine() as other,
        serving(deployment({"main": [one.url, other.url]}), tmp_path) as (gateway, key, _),
    ):
        one.hold()
        asking = asyncio.create_task(ask(gateway, key, stream=True))
        await one.wait_for(lambda e: e.running == 1)
        vitals(gateway).drain(True, 0.0)
        for _ in range(3):
            assert (await ask(gateway, key)).status == 200
        one.resume()
        assert (await asking).events[-1] == b"data: [DONE]\n\n"
        assert (len(one.received(PATH)), len(other.received(PATH))) == (1, 3)
        assert {row.outcome for row in await gateway.rows(4)} == {"completed"}


async def test_retries_end_with_their_budget_and_the_attempts_own_error_is_given(tmp_path: Path) -> None:
    async with (
        Engine() as one,
        Engine() as other,
        serving(deployment({"main": [one.url, other.url]}), tmp_path) as (gateway, key, _),
    ):
        for engine in (one, other):
            engine.faults.append(Fault("refuse", times=0))
        count = 40
        answers = [await ask(gateway, key) for _ in range(count)]
        assert {(each.status, each.json["error"]["code"]) for each in answers} == {(503, "upstream_overloaded")}
        rows = await gateway.rows(count)
        retried = sum(row.attempts - 1 for row in rows)
        seconds = 10
        assert retried <= 10 + seconds + 0.2 * count
        assert len(one.received(PATH)) + len(other.received(PATH)) == count + retried
        counted = gateway.app.data_plane.telemetry.registry.get_sample_value
        assert counted("tollgate_retries_total", {"pool": "main"}) == retried
        assert counted("tollgate_retries_denied_total", {"pool": "main"}) == count - retried > 0
        assert vitals(gateway).breaker.failures == 0, "shed load is no failure"


async def test_after_the_first_byte_nobody_else_is_asked(tmp_path: Path) -> None:
    async with (
        Engine() as one,
        Engine() as other,
        serving(deployment({"main": [one.url, other.url]}), tmp_path) as (gateway, key, _),
    ):
        one.faults.append(Fault("close", after=2))
        answer = await ask(gateway, key, stream=True)
        assert b"upstream_failed" in answer.body
        assert other.received(PATH) == []


@pytest.mark.parametrize(("seconds", "told"), [(40.0, "40"), (0.2, "1"), (5000.0, "60")])
async def test_an_engine_that_sheds_load_names_no_wait_and_the_gateway_computes_one(
    tmp_path: Path, seconds: float, told: str
) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        engine.faults.append(Fault("refuse"))
        vitals(gateway).answered(0.0, seconds)
        refused = await ask(gateway, key)
        assert (refused.status, refused.header("retry-after")) == (503, told)


async def test_what_requests_take_is_observed(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        assert vitals(gateway).request_s is None
        engine.faults.append(Fault("refuse"))
        await ask(gateway, key)
        assert vitals(gateway).request_s is None, "a refusal takes no slot"
        await ask(gateway, key)
        assert 0 < (vitals(gateway).request_s or 0) < 10


async def test_a_running_gateway_probes_and_registers_its_engines(tmp_path: Path) -> None:
    async with (
        Engine() as engine,
        serving(deployment({"main": [engine.url]}, health=Health(period=0.05)), tmp_path) as (gateway, _, _),
    ):
        await engine.wait_for(lambda e: len(e.received("/health")) > 2)
        (row,) = await gateway.rows(1)
        assert (row.purpose, row.team, row.outcome, row.replica) == ("probe", "tollgate", "completed", "main-0")
        answer = await raw.exchange(gateway.url, "GET", "/metrics")
        assert b'tollgate_replica_up{replica="main-0"} 1.0' in answer.body
        assert (await raw.exchange(gateway.url, "GET", "/ready")).status == 200
