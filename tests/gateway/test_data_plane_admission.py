"""Limits and the queue on a running gateway; and what was decided can be decided again from the ledger's record."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Deployment
from gateway.policy import decisions
from gateway.policy.rules import Rulebook
from gateway.settings.ledger import LedgerConfig
from gateway.settings.limits import TeamConfig
from gateway.settings.queue import QueueConfig
from gateway.settings.rules import RuleConfig
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.builders import room_for
from tests.gateway.serving import Gateway, deployment, make_key, serving

PATH = "/v1/chat/completions"
TEXT = " ".join(f"word{number}" for number in range(200))


def with_config(made: Deployment, **changes: Any) -> Deployment:
    return replace(made, config=made.config.model_copy(update=changes))


def queued(*urls: str, **settings: Any) -> Deployment:
    """One pool with a cap of one request on each replica."""
    made = deployment({"main": urls})
    main = made.config.pools["main"].model_copy(update={"queue": QueueConfig(max_in_flight=1, **settings)})
    return with_config(made, pools={"main": main})


async def ask(gateway: Gateway, key: str, text: str = "one two", **fields: Any) -> raw.Answer:
    body = {"model": "faq", "messages": [{"role": "user", "content": text}], **fields}
    return await raw.post(gateway.url, PATH, json.dumps(body).encode(), {"authorization": f"Bearer {key}"})


def error(answer: raw.Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)["error"]
    return found


async def test_more_requests_than_a_team_may_are_refused_before_they_are_admitted(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), teams={"search": TeamConfig(rpm=2)})
        async with serving(made, tmp_path) as (gateway, key, _):
            answers = [await ask(gateway, key) for _ in range(3)]
            await gateway.rows(2)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.header("x-ratelimit-remaining-requests") for answer in answers] == ["1", "0", "0"]
        assert error(answers[2])["code"] == "rate_limit_exceeded"
        assert 1 <= int(answers[2].header("retry-after") or 0) <= 30
        assert len(engine.received(PATH)) == 2
    assert 'tollgate_refusals_total{code="rate_limit_exceeded"} 1.0' in page


async def test_tokens_are_reserved_and_what_was_not_used_comes_back(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), teams={"search": TeamConfig(tpm=1000)})
        async with serving(made, tmp_path) as (gateway, key, _):
            first = await ask(gateway, key, max_tokens=900)
            second = await ask(gateway, key, max_tokens=900)
            never = await ask(gateway, key, max_tokens=5000)
        assert (first.status, second.status) == (200, 200), "the first took a handful of what it had reserved"
        assert int(first.header("x-ratelimit-remaining-tokens") or 0) < 100
        assert (never.status, never.header("retry-after")) == (429, None)
        assert "it can never pass" in error(never)["message"]


@pytest.mark.parametrize("how", ["away", "busy", "refusing"])
async def test_tokens_of_what_no_engine_has_begun_come_back(tmp_path: Path, how: str) -> None:
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), teams={"search": TeamConfig(tpm=1000)})
        async with serving(made, tmp_path) as (gateway, key, _):
            wrong: dict[str, Any] = {}
            if how == "away":
                await engine.stop()
            elif how == "busy":
                engine.faults.append(Fault("error", status=503, times=0))
            else:
                wrong = {"temperature": -1}
            answers = [await ask(gateway, key, max_tokens=900, **wrong) for _ in range(3)]
        assert {answer.status for answer in answers} == {400 if how == "refusing" else 503}


async def test_concurrency_comes_back_when_requests_end_and_when_clients_leave(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), teams={"search": TeamConfig(concurrency=1)})
        async with serving(made, tmp_path) as (gateway, key, _):
            engine.hold()
            leaving = asyncio.create_task(ask(gateway, key))
            await engine.wait_for(lambda engine: engine.running == 1)
            assert (await ask(gateway, key)).status == 429
            leaving.cancel()
            await engine.wait_for(lambda engine: engine.running == 0)
            await gateway.rows(1)
            engine.resume()
            assert (await ask(gateway, key)).status == 200


async def test_a_disk_without_room_admits_nobody_and_holds_no_limit(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), teams={"search": TeamConfig(concurrency=1)})
        async with serving(made, tmp_path) as (gateway, key, _):
            spool = gateway.app.data_plane.spool
            spool._size = len(spool._map) - 10  # the next line needs a larger file
            with room_for(gateway.stores.spool_folder, 0):
                answer = await ask(gateway, key)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
            assert (answer.status, error(answer)["code"]) == (503, "ledger_full")
            assert answer.header("retry-after") == "5"
            assert 'tollgate_refusals_total{code="ledger_full"} 1.0' in page
            assert engine.received(PATH) == []
            assert gateway.app.data_plane.admission.teams.held["search"].in_flight == 0
            assert 'outcome="ledger_full"' not in page, "what was not admitted is not counted as admitted"


async def test_a_disk_without_room_may_be_served_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rows are in the database all the same, each of them once; only the spool lacked them."""
    async with Engine("faq") as engine:
        made = with_config(deployment({"main": [engine.url]}), ledger=LedgerConfig(when_full="serve"))
        async with serving(made, tmp_path) as (gateway, key, _):
            spool = gateway.app.data_plane.spool
            spool._size = len(spool._map) - 10  # the next line needs a larger file
            with room_for(gateway.stores.spool_folder, 0):
                engine.hold()
                asked = [asyncio.create_task(ask(gateway, key)) for _ in range(3)]
                await engine.wait_for(lambda engine: engine.running == 3)
            engine.resume()
            answers = [await each for each in asked]
            rows = await gateway.rows(3)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert {row.request_id for row in rows} == {answer.header("x-tollgate-request-id") for answer in answers}
    assert {row.outcome for row in rows} == {"completed"}
    assert "tollgate_unspooled_total 3.0" in page
    assert sum("requests are served" in message for message in caplog.messages) == 1
    assert sum("has room again" in message for message in caplog.messages) == 1


async def test_a_saturated_pool_makes_the_next_one_wait_and_the_ledger_says_how_long(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(queued(engine.url), tmp_path) as (gateway, key, _):
        engine.hold()
        first = asyncio.create_task(ask(gateway, key))
        await engine.wait_for(lambda engine: engine.running == 1)
        second = asyncio.create_task(ask(gateway, key))
        queue = gateway.app.state.serving.pools["main"].queue
        assert queue is not None
        await gateway.until(lambda: queue.depth == 1)
        engine.resume()
        assert [(await each).status for each in (first, second)] == [200, 200]
        rows = await gateway.rows(2)
        found = [gateway.stores.ledger.find(row.request_id) for row in rows]
        waits = sorted(decisions.decode(each["decision"]).queued_s for each in found if each and each["decision"])
        assert engine.peak_running == 1
        assert len(waits) == 1
        assert waits[0] > 0.0


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [({"max_queued": 0}, 429, "queue_full"), ({"max_wait": 0.05}, 503, "queue_timeout")],
)
async def test_who_cannot_wait_is_told_when_to_come_back(
    settings: dict[str, Any], status: int, code: str, tmp_path: Path
) -> None:
    async with Engine("faq") as engine, serving(queued(engine.url, **settings), tmp_path) as (gateway, key, _):
        engine.hold()
        first = asyncio.create_task(ask(gateway, key))
        await engine.wait_for(lambda engine: engine.running == 1)
        refused = await ask(gateway, key)
        engine.resume()
        assert (await first).status == 200
        rows = await gateway.rows(2)
        (found,) = (gateway.stores.ledger.find(row.request_id) for row in rows if row.outcome == code)
    waited_s = decisions.decode(found["decision"]).queued_s if found and found["decision"] else 0.0
    assert waited_s >= settings.get("max_wait", 0.0)
    assert (waited_s > 0.0) == (code == "queue_timeout")
    assert (refused.status, error(refused)["code"]) == (status, code)
    assert int(refused.header("retry-after") or 0) >= 1
    assert sorted(row.outcome for row in rows) == ["completed", code]


async def test_a_key_that_ends_while_its_request_waits_opens_nothing_more(tmp_path: Path) -> None:
    """Its turn goes to the next one, which nobody else tells of the room."""
    async with Engine("faq") as engine, serving(queued(engine.url), tmp_path) as (gateway, key, _):
        ended = make_key(gateway.stores)
        await gateway.until(lambda: ended.split("-")[2] in gateway.app.state.serving.snapshot.keys)
        queue = gateway.app.state.serving.pools["main"].queue
        assert queue is not None
        queue.tick = lambda: None  # type: ignore[method-assign]
        engine.hold()
        first = asyncio.create_task(ask(gateway, key))
        await engine.wait_for(lambda engine: engine.running == 1)
        waiting = []
        for each in (ended, key):
            waiting.append(asyncio.create_task(ask(gateway, each)))
            await gateway.until(lambda: queue.depth == len(waiting))
        gateway.stores.keys.revoke(ended.split("-")[2], 1.0)
        await gateway.until(lambda: any(each.revoked_at for each in gateway.app.state.serving.snapshot.keys.values()))
        engine.resume()
        answers = [await each for each in (first, *waiting)]
        rows = await gateway.rows(3)
        assert gateway.in_flight() == [0]
    assert [answer.status for answer in answers] == [200, 401, 200]
    assert "was revoked" in error(answers[1])["message"]
    assert sorted((row.outcome, row.attempts) for row in rows) == [
        ("completed", 1), ("completed", 1), ("invalid_api_key", 0),
    ]  # fmt: skip


async def test_a_client_that_leaves_the_queue_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(queued(engine.url), tmp_path) as (gateway, key, _):
        engine.hold()
        first = asyncio.create_task(ask(gateway, key))
        await engine.wait_for(lambda engine: engine.running == 1)
        queue = gateway.app.state.serving.pools["main"].queue
        assert queue is not None
        leaving = asyncio.create_task(ask(gateway, key))
        await gateway.until(lambda: queue.depth == 1)
        leaving.cancel()
        await gateway.until(lambda: queue.depth == 0)
        engine.resume()
        assert (await first).status == 200
        rows = await gateway.rows(2)
        assert sorted(row.outcome for row in rows) == ["client_closed", "completed"]
        assert gateway.in_flight() == [0]


async def test_every_choice_is_kept_and_made_again_from_the_ledger(tmp_path: Path) -> None:
    rules = (
        RuleConfig(id="tail", when='req.max_tokens > 5 && key.team == "search"', release="faq@1"),
        RuleConfig(id="default", release="live"),
    )
    async with Engine("faq") as one, Engine("faq") as two:
        made = deployment({"main": [one.url, two.url]})
        ruled = {"faq": made.config.models["faq"].model_copy(update={"rules": rules})}
        made = with_config(made, models=ruled)
        rulebook = Rulebook(made.config)
        async with serving(made, tmp_path) as (gateway, key, _):
            for number in range(6):
                await ask(gateway, key, TEXT, max_tokens=3 + number)
            rows = await gateway.rows(6)
            found = [gateway.stores.ledger.find(row.request_id) for row in rows]
    reasons, winners = set(), []
    for each in found:
        assert each is not None
        decided = decisions.decode(each["decision"])
        (route,), (rule,) = decided.routes, decided.ruled
        assert route.again().position == route.position
        assert route.candidates[route.position].name == each["replica"]
        assert rulebook.replay(rule.model, rule.inputs).rule == rule.rule
        assert decided.config == gateway.app.current.digest
        assert len(decided.blocks) == 0 or decided.block_tokens > 0
        reasons.add(route.reason.split()[0])
        winners.append(rule.rule)
    assert reasons == {"load", "prefix"}
    assert sorted(winners) == ["default"] * 3 + ["tail"] * 3
    assert TEXT[:20] not in str(found), "nothing of the prompt is kept"


async def test_an_admin_is_told_how_the_replica_was_chosen(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("faq") as two:
        made = deployment({"main": [one.url, two.url]})
        async with serving(made, tmp_path) as (gateway, key, _):
            admin = make_key(gateway.stores, scope="admin")
            await gateway.until(lambda: len(gateway.app.state.snapshot.keys) == 3)
            told, untold = await ask(gateway, admin), await ask(gateway, key)
            rows = await gateway.rows(2)
        decided = decisions.decode(told.header("x-tollgate-decision") or "")
        (route,) = decided.routes
        assert route.candidates[route.position].name == told.header("x-tollgate-replica")
        assert untold.header("x-tollgate-decision") is None
        assert {row.purpose for row in rows} == {"serve"}
