"""Law 2 on running gateways: one process, four workers, two gateways on one Redis. Nobody overspends, and nobody is
refused for what is over."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic import RateLimitError as AnthropicRateLimit
from openai import AsyncOpenAI, RateLimitError

from gateway.config import Deployment
from gateway.settings.budgets import BudgetConfig
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.builders import room_for, write_config
from tests.gateway.process import UNWATCHED, Gateway, running, stores_in
from tests.gateway.redis_server import redis_server
from tests.gateway.serving import PRICES, deployment, make_key, serving
from tests.gateway.test_data_plane_admission import ask, error, with_config

AT_ONCE = 500
AMOUNT = Decimal("0.004")
"""Some twenty requests may cost as much together; what they do cost is a small part of it."""
TOKENS = 20


def budgeted(*urls: str, **configs: dict[str, Any]) -> Deployment:
    budgets = {name: BudgetConfig(**{"team": "search", "amount": "1", **each}) for name, each in configs.items()}
    return with_config(deployment({"main": urls}), budgets=budgets)


async def spent(gateway: Any, count: int) -> Decimal:
    return sum((Decimal(row.cost or "0") for row in await gateway.rows(count)), Decimal(0))


async def test_law_2_five_hundred_requests_at_once_on_one_process(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = budgeted(engine.url, a={"amount": str(AMOUNT)})
        async with serving(made, tmp_path) as (gateway, key, _):
            engine.hold()
            asking = [asyncio.create_task(ask(gateway, key, max_tokens=TOKENS)) for _ in range(AT_ONCE)]
            await gateway.until(lambda: sum(task.done() for task in asking) + engine.running == AT_ONCE)
            held = engine.running
            assert 10 < held < 40, "as many as may cost all of it run, and the others are refused meanwhile"
            refused = next(task.result() for task in asking if task.done())
            assert (refused.status, error(refused)["code"]) == (429, "budget_exceeded")
            assert (refused.header("retry-after"), refused.header("x-should-retry")) == ("2", None)
            assert "of which running requests hold" in error(refused)["message"]
            engine.resume()
            answers = await asyncio.gather(*asking)
            assert sum(answer.status == 200 for answer in answers) == held
            assert await spent(gateway, held) <= AMOUNT
            assert (await ask(gateway, key, max_tokens=TOKENS)).status == 200, "what is over holds nothing"


async def test_law_2_a_spent_budget_refuses_and_says_when_it_resets(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = budgeted(engine.url, a={"amount": "0.0002", "per": "total"})
        async with serving(made, tmp_path) as (gateway, key, _):
            served = 0
            while (answer := await ask(gateway, key, max_tokens=TOKENS)).status == 200:
                served += 1
            assert served >= 1
            assert await spent(gateway, served) <= Decimal("0.0002")
            assert answer.header("x-should-retry") == "false"
            assert answer.header("x-tollgate-budget") == "a"
            assert answer.header("x-tollgate-budget-reset") == "never"
            assert Decimal(answer.header("x-tollgate-budget-remaining") or "") == Decimal("0.0002") - await spent(
                gateway, served
            )
            assert error(answer)["type"] == "insufficient_quota"
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
        # Another gateway on the same ledger begins where this one ended.
        async with serving(made, tmp_path) as (again, _, _):
            assert (await ask(again, key, max_tokens=TOKENS)).status == 429
    assert 'tollgate_refusals_total{code="budget_exceeded"} 1.0' in page
    assert 'tollgate_budget_refusals_total{budget="a"} 1.0' in page


async def test_official_clients_do_not_ask_again_for_what_is_spent(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        async with serving(budgeted(engine.url, a={"amount": "0.000001"}), tmp_path) as (gateway, key, _):
            message: Any = [{"role": "user", "content": "hello"}]
            async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=5) as openai:
                with pytest.raises(RateLimitError, match="it can never pass") as caught:
                    await openai.chat.completions.create(model="faq", messages=message, max_tokens=TOKENS)
            assert caught.value.code == "budget_exceeded"
            async with AsyncAnthropic(base_url=gateway.url, auth_token=key, max_retries=5) as anthropic:
                with pytest.raises(AnthropicRateLimit, match="it can never pass"):
                    await anthropic.messages.create(model="faq", messages=message, max_tokens=TOKENS)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
        assert engine.received("/v1/chat/completions") == []
    assert 'tollgate_refusals_total{code="budget_exceeded"} 2.0' in page


async def test_whoever_leaves_or_is_not_admitted_holds_nothing(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = budgeted(engine.url, a={"amount": "0.0002", "each": "key"})
        async with serving(made, tmp_path) as (gateway, key, _):
            spool = gateway.app.data_plane.spool
            size, spool._size = spool._size, len(spool._map) - 10  # the next line needs a larger file
            with room_for(gateway.stores.spool_folder, 0):
                assert (await ask(gateway, key, max_tokens=TOKENS)).status == 503
            spool._size = size
            absurd = await ask(gateway, key, max_tokens=2**31 - 1)
            assert (absurd.status, error(absurd)["code"]) == (429, "budget_exceeded")
            assert (await ask(gateway, key, max_tokens=TOKENS)).status == 200
            assert (await ask(gateway, key, max_tokens=TOKENS, temperature=-1)).status == 400
            assert (await ask(gateway, key, max_tokens=TOKENS)).status == 200, "a bad request costs nothing"


async def test_a_warning_reaches_the_client(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        made = budgeted(engine.url, a={"amount": "0.000001", "on_exceeded": "warn"})
        async with serving(made, tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key, max_tokens=TOKENS)
    assert (answer.status, answer.header("x-tollgate-warning")) == (200, "over the budget a")


def configured(folder: Path, engine: Engine, **changes: Any) -> None:
    """A gateway of a price and a budget."""
    (folder / "prices.yaml").write_text(PRICES.model_dump_json(exclude_none=True))
    budgets = {"a": {"team": "search", "amount": str(AMOUNT)}}
    write_config(folder, [engine.url], health=UNWATCHED, prices="prices.yaml", budgets=budgets, **changes)


async def asked_together(gateways: list[Gateway], engine: Engine) -> list[int | None]:
    """The statuses of requests to some gateways at once, the first of which end when nobody waits for an answer."""
    engine.hold()
    asking = [asyncio.create_task(gateways[number % len(gateways)].ask(max_tokens=TOKENS)) for number in range(AT_ONCE)]

    async def all_known() -> bool:
        await asyncio.sleep(0)
        return sum(task.done() for task in asking) + engine.running == AT_ONCE

    await gateways[0].until(all_known)
    engine.resume()
    return await gateways[0].gather(asking)


async def settled(gateway: Gateway, folder: Path, count: int) -> Decimal:
    """What the ledger says, once all its rows are there."""
    stores, costs = stores_in(folder), list[Decimal]()

    async def there() -> bool:
        costs[:] = [row["cost"] for row in stores.ledger.recent(2 * AT_ONCE)]
        return len(costs) == count

    await gateway.until(there)
    return sum(costs, Decimal(0))


async def test_law_2_four_workers_share_what_is_left(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        configured(tmp_path, engine)
        key = make_key(stores_in(tmp_path))
        async with running(tmp_path, "--config", "gateway.yaml", "--workers", "4") as gateway:
            await gateway.answers(key=key)
            statuses = await asked_together([gateway], engine)
            served = statuses.count(200)
            assert 10 < served < 40
            assert statuses.count(429) == AT_ONCE - served
            assert await settled(gateway, tmp_path, served) <= AMOUNT
            assert (await gateway.ask(max_tokens=TOKENS)).status == 200
            assert (await gateway.ended(signal.SIGTERM), gateway.errors) == (0, "")


async def test_law_2_two_gateways_share_what_is_left_in_redis(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with Engine("faq") as engine, AsyncExitStack() as stack:
        server = stack.enter_context(redis_server(tmp_path))
        for folder in folders:
            database = f"sqlite:///{tmp_path / 'one' / 'tollgate.db'}"
            configured(folder, engine, redis={"url": server.url, "timeout": 5}, database=database)
        key = make_key(stores_in(folders[0]))
        gateways = [await stack.enter_async_context(running(folder, "--config", "gateway.yaml")) for folder in folders]
        for gateway in gateways:
            await gateway.answers(key=key)
        statuses = await asked_together(gateways, engine)
        served = statuses.count(200)
        assert 10 < served < 40
        assert statuses.count(429) == AT_ONCE - served
        assert await settled(gateways[0], folders[0], served) <= AMOUNT
        for gateway in gateways:
            await gateway.until(_answers(gateway, 200))
        await _gone_and_back(gateways[0], server)


def _answers(gateway: Gateway, status: int) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return (await gateway.ask(max_tokens=TOKENS)).status == status

    return there


async def _gone_and_back(gateway: Gateway, server: Any) -> None:
    server.stop()
    answer = await gateway.ask(max_tokens=TOKENS)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "budget_unavailable")
    assert answer.header("retry-after") == "1"
    server.start()
    await gateway.until(_answers(gateway, 200))
