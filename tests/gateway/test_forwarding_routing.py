"""Routing through the gateway: a prefix goes where its cache is, and the counts that decide are true at any moment."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Deployment
from gateway.settings.health import Health
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import Gateway, deployment, serving

PATH = "/v1/chat/completions"
CUSTOMERS = [" ".join(f"{name}{number}" for number in range(200)) for name in ("north", "south", "east", "west")]


def body(content: str, **fields: Any) -> bytes:
    return json.dumps({"model": "faq", "messages": [{"role": "user", "content": content}], **fields}).encode()


async def ask(gateway: Gateway, key: str, content: str, headers: dict[str, str] | None = None, **fields: Any) -> str:
    """The name of the replica that answered."""
    asked = {"authorization": f"Bearer {key}", **(headers or {})}
    answer = await raw.post(gateway.url, PATH, body(content, **fields), asked)
    assert answer.status == 200
    return answer.header("x-tollgate-replica") or ""


def deployed(*urls: str, policy: str = "score", **changes: Any) -> Deployment:
    made = deployment({"main": urls}, **changes)
    main = made.config.pools["main"].model_copy(update={"policy": policy})
    return replace(made, config=made.config.model_copy(update={"pools": {"main": main}}))


def outstanding(gateway: Gateway) -> list[int]:
    return [each.outstanding for each in gateway.app.state.serving.pools["main"].replicas]


async def test_each_prefix_is_computed_once_and_found_again(tmp_path: Path) -> None:
    async with Engine() as one, Engine() as two:
        async with serving(deployed(one.url, two.url), tmp_path) as (gateway, key, _):
            homes = [await ask(gateway, key, f"{customer} first") for customer in CUSTOMERS]
            for turn in range(3):
                for customer, home in zip(CUSTOMERS, homes, strict=True):
                    assert await ask(gateway, key, f"{customer} question {turn}") == home
            await gateway.rows(16)
            assert outstanding(gateway) == [0, 0]
        assert set(homes) == {"main-0", "main-1"}
        assert one.cached_tokens + two.cached_tokens > 0.6 * (one.prompt_tokens + two.prompt_tokens)


async def test_a_session_header_keeps_a_session_together(tmp_path: Path) -> None:
    async with Engine() as one, Engine() as two, Engine() as three:
        made = deployed(one.url, two.url, three.url, policy="session_affinity")
        async with serving(made, tmp_path) as (gateway, key, _):
            for session in "abc":
                homes = {await ask(gateway, key, f"turn {n}", {"X-Session-Id": session}) for n in range(4)}
                assert len(homes) == 1


async def test_outstanding_tokens_fall_at_the_first_token_and_at_the_end(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployed(engine.url), tmp_path) as (gateway, key, _):
        engine.hold()
        asked = asyncio.create_task(ask(gateway, key, CUSTOMERS[0], stream=True, max_tokens=30))
        await gateway.until(lambda: outstanding(gateway) != [0])
        assert outstanding(gateway)[0] > 15 + 200
        engine.step(1)
        await gateway.until(lambda: outstanding(gateway) == [15])
        engine.resume()
        assert await asked == "main-0"
        await gateway.rows(1)
        assert outstanding(gateway) == [0]


@pytest.mark.parametrize("kind", ["close", "error", "stall"])
async def test_law_3_outstanding_tokens_return_to_zero_whatever_happens(tmp_path: Path, kind: str) -> None:
    async with Engine() as one, Engine() as two:
        for engine in (one, two):
            engine.faults.append(Fault(kind, times=0))  # type: ignore[arg-type]
        made = deployed(one.url, two.url)
        timeouts = made.config.timeouts.model_copy(update={"first_byte": 0.2, "idle": 0.2, "total": 0.5})
        made = replace(made, config=made.config.model_copy(update={"timeouts": timeouts}))
        async with serving(made, tmp_path) as (gateway, key, _):
            asked = {"authorization": f"Bearer {key}"}
            answers = await asyncio.gather(
                *(raw.post(gateway.url, PATH, body(CUSTOMERS[n % 4], stream=n % 2 == 0), asked) for n in range(8))
            )
            assert all(answer.status != 200 for answer in answers)
            await gateway.rows(8)
            assert (outstanding(gateway), gateway.in_flight()) == ([0, 0], [0, 0])


async def test_what_engines_say_of_their_load_reaches_the_decision(tmp_path: Path) -> None:
    async with Engine() as one, Engine() as two:
        made = deployed(one.url, two.url, health=Health(period=0.05, scrape=0.01, fingerprint=False))
        async with serving(made, tmp_path) as (gateway, key, _):
            replicas = gateway.app.state.serving.pools["main"].engines
            await gateway.until(lambda: all(each.signals is not None for each in replicas))
            pool = gateway.app.state.serving.pools["main"]
            route = pool.choose(pool.replicas, replicas[0].signals.at if replicas[0].signals else 0.0)
            assert route is not None
            assert route.routed is not None
            assert route.routed.reason == "load"
            assert [each.waiting for each in route.routed.candidates] == [0, 0]
            await ask(gateway, key, "hello")


async def test_without_probes_no_engine_is_asked_and_the_reason_says_so(tmp_path: Path) -> None:
    async with Engine() as one, Engine() as two:
        async with serving(deployed(one.url, two.url), tmp_path) as (gateway, key, _):
            await ask(gateway, key, "hello")
            pool = gateway.app.state.serving.pools["main"]
            route = pool.choose(pool.replicas, 0.0)
            assert route is not None
            assert route.routed is not None
            assert route.routed.reason == "load no_kv no_waiting"
        assert one.received("/metrics") + two.received("/metrics") == []
