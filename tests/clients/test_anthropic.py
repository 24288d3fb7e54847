"""Anthropic's own Python client, on everything that it covers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.clients.house import LIMIT, STRANGER, WORDS, House, house
from tests.engine.simulator import Fault
from tests.gateway.calls import ANSWER, SCHEMA, TOOL

ASKED: Any = [{"role": "user", "content": WORDS}]
JSON: Any = [{"role": "user", "content": "json, please"}]
TOOLS: Any = [{**TOOL, "input_schema": SCHEMA}]
TRIP = json.loads("".join(ANSWER))


@asynccontextmanager
async def api(folder: Path, **options: Any) -> AsyncIterator[tuple[House, AsyncAnthropic]]:
    """A gateway, and the client; without retries of its own, unless told."""
    async with house(folder) as at, AsyncAnthropic(
        **{"base_url": at.gateway.url, "api_key": at.key, "max_retries": 0, "timeout": 10.0, **options}
    ) as client:  # fmt: skip
        yield at, client


async def test_messages(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        plain = await client.messages.create(model="faq", max_tokens=50, messages=ASKED, system="Be brief.")
        assert [(block.type, getattr(block, "text", "")) for block in plain.content] == [("text", WORDS)]
        assert (plain.stop_reason, plain.usage.input_tokens, plain.usage.output_tokens) == ("end_turn", 6, 4)
        cut = await client.messages.create(model="faq", max_tokens=2, messages=ASKED)
        assert cut.stop_reason == "max_tokens"
        called = await client.messages.create(
            model="faq", max_tokens=50, messages=JSON, tools=TOOLS, tool_choice={"type": "tool", "name": "weather"}
        )
        (use,) = called.content
        assert use.type == "tool_use"
        assert (use.name, use.input, called.stop_reason) == ("weather", TRIP, "tool_use")
        rows = await at.gateway.rows(3)
        assert [(row.endpoint, row.output_tokens) for row in rows] == [("/v1/messages", n) for n in (4, 2, 4)]


async def test_streams(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        async with client.messages.stream(model="faq", max_tokens=50, messages=ASKED) as stream:
            texts = [text async for text in stream.text_stream]
            whole = await stream.get_final_message()
        assert (texts, whole.stop_reason) == (["one", " two", " three", " four"], "end_turn")
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (4, 4)
        async with client.messages.stream(
            model="faq", max_tokens=50, messages=JSON, tools=TOOLS, tool_choice={"type": "any"}
        ) as stream:
            parts = [event.partial_json async for event in stream if event.type == "input_json"]
            called = await stream.get_final_message()
        (use,) = called.content
        assert use.type == "tool_use"
        assert (parts, use.name, use.input) == (ANSWER, "weather", TRIP)
        assert [row.output_tokens for row in await at.gateway.rows(2)] == [4, 4]


async def test_count_tokens(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        counted = await client.messages.count_tokens(model="faq", messages=ASKED)
        assert counted.input_tokens == 4
        (row,) = await at.gateway.rows(1)
        assert (row.endpoint, row.input_tokens, row.output_tokens) == ("/v1/messages/count_tokens", 0, 0)


async def test_models(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        assert [model.id async for model in client.models.list()] == ["ears", "faq", "vectors"]
        assert (await client.models.retrieve("faq")).id == "faq"


async def test_either_header_carries_the_key(tmp_path: Path) -> None:
    async with house(tmp_path) as at, AsyncAnthropic(base_url=at.gateway.url, auth_token=at.key) as client:
        assert (await client.messages.create(model="faq", max_tokens=5, messages=ASKED)).content


async def test_errors_have_their_classes(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):

        async def ask(model: str = "faq", key: str = at.key, **fields: Any) -> Any:
            told: Any = {"max_tokens": 5, "messages": ASKED, **fields}
            return await client.with_options(api_key=key).messages.create(model=model, **told)

        long = [{"role": "user", "content": "x " * (LIMIT + 1)}]
        with pytest.raises(anthropic.BadRequestError) as too_long:
            await ask(messages=long)
        assert too_long.value.type == "invalid_request_error"
        with pytest.raises(anthropic.BadRequestError) as refused:
            await ask(extra_body={"priority": 1})
        assert "priority" in refused.value.message
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await ask("nope")
        assert unknown.value.type == "not_found_error"
        with pytest.raises(anthropic.AuthenticationError) as stranger:
            await ask(key=STRANGER)
        assert stranger.value.type == "authentication_error"
        with pytest.raises(anthropic.PermissionDeniedError):
            await ask(key=at.narrow)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.list()
        at.engine.faults.append(Fault("error", status=500))
        with pytest.raises(anthropic.InternalServerError) as failed:
            await ask()
        assert (failed.value.status_code, failed.value.type) == (502, "api_error")


async def test_an_overload_is_tried_again(tmp_path: Path) -> None:
    async with api(tmp_path, max_retries=1) as (at, client):
        at.engine.faults.append(Fault("refuse"))
        assert (await client.messages.create(model="faq", max_tokens=5, messages=ASKED)).content
        assert [row.outcome for row in await at.gateway.rows(2)] == ["completed", "upstream_overloaded"]
        at.engine.faults.append(Fault("refuse"))
        with pytest.raises(anthropic.APIStatusError) as shed:
            await client.with_options(max_retries=0).messages.create(model="faq", max_tokens=5, messages=ASKED)
        assert (shed.value.status_code, shed.value.type) == (503, "overloaded_error")


async def test_an_error_in_a_stream_is_raised(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        at.engine.faults.append(Fault("close", after=3))
        stream = client.messages.stream(model="faq", max_tokens=50, messages=ASKED)
        with pytest.raises(anthropic.APIStatusError) as broken:
            async with stream as events:
                _ = [event async for event in events]
        assert broken.value.type == "api_error"
        (row,) = await at.gateway.rows(1)
        assert (row.outcome, row.input_tokens, row.output_tokens) == ("upstream_failed", 4, 1)
