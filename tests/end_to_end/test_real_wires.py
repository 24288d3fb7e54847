"""Every wire of a real engine, with the official clients: counted as the engine counts, and stopped when they leave."""

import json
import re
import sys
from asyncio import create_subprocess_exec, subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anthropic
import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.end_to_end.conftest import ADAPTER
from tests.end_to_end.test_real_vllm import ANSWER, client, counters, until_running
from tests.gateway.serving import Gateway, deployment, serving

pytestmark = pytest.mark.engine

TEXT = "How expensive is the Free plan?"
ASKED: Any = [{"role": "user", "content": TEXT}]
TOO_LONG = "storage " * 600
ENDLESS: Any = {"extra_body": {"ignore_eos": True}}
COLD: Any = {"extra_body": {"temperature": 0}}
"""Anthropic's client does not name it any more."""


class Trip(BaseModel):
    """Too small for the model to get wrong, and nothing that it would say by itself."""

    city: Literal["Oslo", "Paris"]
    by_train: bool


SCHEMA: Any = {**Trip.model_json_schema(), "additionalProperties": False}
TOOL = {"name": "book", "description": "Book a trip", "strict": True}
"""Strict, so that even this model calls it well."""
TOOLS: Any = [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}]


@asynccontextmanager
async def apis(
    vllm: str, folder: Path, served_model: str = "faq"
) -> AsyncIterator[tuple[Gateway, AsyncOpenAI, AsyncAnthropic, str]]:
    """A gateway in front of the engine, and a client of each kind."""
    async with (
        serving(deployment({"main": [vllm]}, served_model=served_model), folder) as (gateway, key, _),
        client(gateway.url, key) as api,
        AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=60.0) as claude,
    ):
        yield gateway, api, claude, key


async def test_long_streams_are_counted_to_the_last_token(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path) as (gateway, api, claude, _):
        _, prompt, generated = await counters(vllm)
        chat = await api.chat.completions.create(model="faq", messages=ASKED, stream=True, max_tokens=480, **ENDLESS)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in chat])
        text = await api.completions.create(model="faq", prompt=TEXT, stream=True, max_tokens=480, **ENDLESS)
        assert "".join([chunk.choices[0].text async for chunk in text])
        told = await api.responses.create(model="faq", input=TEXT, stream=True, max_output_tokens=480, **ENDLESS)
        assert [event async for event in told][-1].response.status == "incomplete"
        async with claude.messages.stream(model="faq", messages=ASKED, max_tokens=480) as stream:
            assert [text async for text in stream.text_stream]
        rows = await gateway.rows(4)
        assert sorted(row.output_tokens or 0 for row in rows)[1:] == [480] * 3
        _, prompt_after, generated_after = await counters(vllm)
        assert sum(row.input_tokens or 0 for row in rows) == prompt_after - prompt
        assert sum(row.output_tokens or 0 for row in rows) == generated_after - generated
        assert {row.outcome for row in rows} == {"completed"}


async def test_several_answers_and_prompts_are_counted_together(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path) as (gateway, api, _, _):
        _, _, generated = await counters(vllm)
        both: Any = {"model": "faq", "max_tokens": 20, "n": 2, "temperature": 0.8, "logprobs": True}
        whole = await api.chat.completions.create(messages=ASKED, **both)
        assert [len(choice.logprobs.content) > 0 for choice in whole.choices if choice.logprobs] == [True] * 2
        stream = await api.chat.completions.create(messages=ASKED, stream=True, **both)
        assert {choice.index async for chunk in stream for choice in chunk.choices} == {0, 1}
        prompts = {**both, "prompt": [TEXT, "Hello"], "logprobs": 1}
        assert len((await api.completions.create(**prompts)).choices) == 4
        texts = await api.completions.create(stream=True, **prompts)
        assert {choice.index async for chunk in texts for choice in chunk.choices} == {0, 1, 2, 3}
        rows = await gateway.rows(4)
        _, _, generated_after = await counters(vllm)
        assert sum(row.output_tokens or 0 for row in rows) == generated_after - generated
        inputs = [row.input_tokens for row in rows]
        assert (inputs[0], inputs[2]) == (inputs[1], inputs[3]), "a stream counts its prompts as a whole answer does"


@pytest.mark.parametrize("wire", ["messages", "responses"])
async def test_when_the_client_leaves_generation_stops_on_other_wires(vllm: str, tmp_path: Path, wire: str) -> None:
    async with apis(vllm, tmp_path) as (gateway, api, claude, _):
        _, _, before = await counters(vllm)
        if wire == "messages":
            long = "Tell me of storage. " * 3
            stream: Any = await claude.messages.create(
                model="faq", messages=[{"role": "user", "content": long}], max_tokens=400, stream=True
            )
        else:
            stream = await api.responses.create(model="faq", input=TEXT, stream=True, max_output_tokens=480, **ENDLESS)
        for _ in range(5):
            await anext(aiter(stream))
        await stream.close()
        await until_running(vllm, 0)
        (row,) = await gateway.rows(1)
        _, _, after = await counters(vllm)
        assert row.outcome == "client_closed"
        assert after - before < 440, "of 480 tokens asked for"
        if wire == "messages":
            assert row.input_tokens
            assert 0 < (row.output_tokens or 0) <= after - before
        else:
            assert (row.input_tokens, row.output_tokens) == (None, None)


async def test_calls_of_tools(vllm: str, tmp_path: Path) -> None:
    named: Any = {"type": "function", "function": {"name": "book"}}
    flat: Any = [{"type": "function", **TOOL, "parameters": SCHEMA}]
    used: Any = [{**TOOL, "input_schema": SCHEMA}]
    async with apis(vllm, tmp_path) as (gateway, api, claude, _):
        for choice in (named, "required"):
            asked: Any = {"model": "faq", "messages": ASKED, "tools": TOOLS, "tool_choice": choice, "temperature": 0}
            (call,) = (await api.chat.completions.create(**asked)).choices[0].message.tool_calls or []
            assert call.type == "function"
            assert call.function.name == "book"
            assert Trip.model_validate_json(call.function.arguments)
            deltas = [
                piece.function.arguments or ""
                async for chunk in await api.chat.completions.create(stream=True, **asked)
                for one in chunk.choices
                for piece in one.delta.tool_calls or []
                if piece.function is not None
            ]
            assert Trip.model_validate_json("".join(deltas))
        response = await api.responses.create(
            model="faq", input=TEXT, tools=flat, tool_choice="required", temperature=0
        )
        (made,) = [item for item in response.output if item.type == "function_call"]
        assert Trip.model_validate_json(made.arguments)
        message = await claude.messages.create(
            model="faq",
            max_tokens=300,
            messages=ASKED,
            tools=used,
            tool_choice={"type": "tool", "name": "book"},
            **COLD,
        )
        (use,) = [block for block in message.content if block.type == "tool_use"]
        assert Trip.model_validate(use.input)
        assert {row.outcome for row in await gateway.rows(6)} == {"completed"}


async def test_structured_output_is_constrained(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path) as (_, api, _, _):
        plain = await api.chat.completions.create(model="faq", messages=ASKED, temperature=0)
        assert plain.choices[0].message.content == ANSWER
        parsed = await api.chat.completions.parse(model="faq", messages=ASKED, response_format=Trip, temperature=0)
        assert parsed.choices[0].message.parsed
        own: Any = {"extra_body": {"structured_outputs": {"regex": "[0-9]{3}-[a-c]{2}"}}}
        formed = await api.chat.completions.create(model="faq", messages=ASKED, max_tokens=50, **own)
        assert re.fullmatch("[0-9]{3}-[a-c]{2}", formed.choices[0].message.content or "")
        with pytest.raises(openai.BadRequestError) as refused:
            await api.chat.completions.create(model="faq", messages=ASKED, extra_body={"guided_regex": "[0-9]"})
        assert "structured_outputs" in str(refused.value)


async def test_a_prompt_that_is_too_long_on_every_wire(vllm: str, tmp_path: Path) -> None:
    long: Any = [{"role": "user", "content": TOO_LONG}]
    async with apis(vllm, tmp_path) as (gateway, api, claude, _):
        for stream in (False, True):
            for asking in (
                api.chat.completions.create(model="faq", messages=long, stream=stream),
                api.completions.create(model="faq", prompt=TOO_LONG, stream=stream),
                api.responses.create(model="faq", input=TOO_LONG, stream=stream),
            ):
                with pytest.raises(openai.BadRequestError) as failed:
                    await asking
                assert failed.value.code == "context_length_exceeded"
            with pytest.raises(anthropic.BadRequestError) as refused:
                await claude.messages.create(model="faq", messages=long, max_tokens=5, stream=stream)
            assert refused.value.type == "invalid_request_error"
        assert {row.outcome for row in await gateway.rows(8)} == {"context_length_exceeded"}


async def test_a_full_queue_is_an_overload_on_every_wire(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path) as (gateway, api, claude, _):
        full = await api.chat.completions.create(
            model="faq", messages=ASKED, stream=True, n=64, max_tokens=480, **ENDLESS
        )  # fmt: skip
        await anext(aiter(full))
        for asking in (
            api.chat.completions.create(model="faq", messages=ASKED),
            api.chat.completions.create(model="faq", messages=ASKED, stream=True),
            api.completions.create(model="faq", prompt=TEXT),
            api.responses.create(model="faq", input=TEXT),
            api.responses.create(model="faq", input=TEXT, stream=True),
        ):
            with pytest.raises(openai.InternalServerError) as shed:
                await asking
            assert (shed.value.status_code, shed.value.code) == (503, "upstream_overloaded")
            assert shed.value.response.headers["retry-after"] == "1"
        with pytest.raises(anthropic.APIStatusError) as overloaded:
            await claude.messages.create(model="faq", messages=ASKED, max_tokens=5)
        assert (overloaded.value.status_code, overloaded.value.type) == (503, "overloaded_error")
        await full.close()
        await until_running(vllm, 0)
        rows = await gateway.rows(7)
        assert sorted({row.outcome for row in rows}) == ["client_closed", "upstream_overloaded"]
        assert gateway.app.state.serving.pools["main"].replicas[0].breaker.closed
        assert (await api.chat.completions.create(model="faq", messages=ASKED, max_tokens=3)).choices


async def test_tokens_are_counted_before_and_as_they_are_used(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path) as (gateway, api, claude, key):
        counted = await claude.messages.count_tokens(model="faq", messages=ASKED)
        message = await claude.messages.create(model="faq", max_tokens=40, messages=ASKED, **COLD)
        assert [getattr(block, "text", "") for block in message.content] == [ANSWER]
        response = await api.responses.create(model="faq", input=TEXT, temperature=0)
        assert response.output_text == ANSWER
        assert response.usage is not None
        async with httpx.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}) as http:
            tokens = (await http.post("/tokenize", json={"model": "faq", "prompt": TEXT})).json()
            text = (await http.post("/detokenize", json={"model": "faq", "tokens": tokens["tokens"]})).json()
        assert TEXT in text["prompt"]
        rows = await gateway.rows(5)
        used = [row.input_tokens for row in rows if row.endpoint in ("/v1/messages", "/v1/responses")]
        assert used == [counted.input_tokens] * 2 == [response.usage.input_tokens] * 2
        assert sorted(row.endpoint for row in rows if row.cost == "0.000000000") == [
            "/detokenize",
            "/tokenize",
            "/v1/messages/count_tokens",
        ]


async def test_an_adapter_is_known_and_can_be_what_a_release_serves(vllm: str, tmp_path: Path) -> None:
    async with apis(vllm, tmp_path, ADAPTER) as (_, api, _, _):
        answer = await api.chat.completions.create(model="faq", messages=ASKED, temperature=0)
        assert (answer.model, answer.choices[0].message.content) == (ADAPTER, ANSWER)
        assert [model.id async for model in api.models.list()] == ["faq"], "clients see models, not engines' names"
    command = [str(Path(sys.executable).with_name("gateway")), "engines", "--upstream", vllm, "--json"]
    process = await create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    (seen,) = json.loads(out)
    assert (process.returncode, seen["up"], seen["models"], seen["adapters"]) == (0, True, ["faq"], [ADAPTER])
