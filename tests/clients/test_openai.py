"""OpenAI's own Python client, on everything that it covers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.clients.house import LIMIT, STRANGER, WORDS, House, house
from tests.engine.simulator import Fault
from tests.gateway.calls import ANSWER, AUDIO_TOKENS, CHAT_TOOL, SCHEMA, TOOL, sound

ASKED: Any = [{"role": "user", "content": WORDS}]
JSON: Any = [{"role": "user", "content": "json, please"}]
TRIP = "".join(ANSWER)
TOOLS: Any = [CHAT_TOOL]


class Trip(BaseModel):
    """What an answer is parsed into."""

    city: str
    days: int


@asynccontextmanager
async def api(folder: Path, **options: Any) -> AsyncIterator[tuple[House, AsyncOpenAI]]:
    """A gateway, and the client; without retries of its own, unless told."""
    async with house(folder) as at, AsyncOpenAI(
        **{"base_url": f"{at.gateway.url}/v1", "api_key": at.key, "max_retries": 0, "timeout": 10.0, **options}
    ) as client:  # fmt: skip
        yield at, client


async def test_chat(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        plain = await client.chat.completions.create(model="faq", messages=ASKED)
        assert (plain.choices[0].message.content, plain.choices[0].finish_reason) == (WORDS, "stop")
        assert plain.usage is not None
        assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (4, 4)
        several = await client.chat.completions.create(model="faq", messages=ASKED, n=3)
        assert [choice.message.content for choice in several.choices] == [WORDS] * 3
        told = await client.chat.completions.create(model="faq", messages=ASKED, logprobs=True, top_logprobs=1)
        assert told.choices[0].logprobs is not None
        content = told.choices[0].logprobs.content or []
        assert [token.token for token in content] == ["one", " two", " three", " four"]
        assert {token.top_logprobs[0].logprob for token in content} == {-0.5}
        parsed = await client.chat.completions.parse(model="faq", messages=JSON, response_format=Trip)
        assert parsed.choices[0].message.parsed == Trip(city="Paris", days=4)
        sent = at.engine.received("/v1/chat/completions")[-1].json["response_format"]
        assert sent["json_schema"]["schema"]["required"] == ["city", "days"]
        assert [row.output_tokens for row in await at.gateway.rows(4)] == [4, 4, 12, 4]


async def test_calls_of_tools(tmp_path: Path) -> None:
    named: Any = {"type": "function", "function": {"name": "weather"}}
    async with api(tmp_path) as (_, client):
        for choice, reason in (("required", "tool_calls"), (named, "stop")):
            called = await client.chat.completions.create(
                model="faq", messages=JSON, tools=TOOLS, tool_choice=choice
            )  # fmt: skip
            (call,) = called.choices[0].message.tool_calls or []
            assert call.type == "function"
            assert (call.function.name, json.loads(call.function.arguments)) == ("weather", json.loads(TRIP))
            assert called.choices[0].finish_reason == reason
        strict: Any = [{"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}]
        async with client.chat.completions.stream(
            model="faq", messages=JSON, tools=strict, tool_choice="required"
        ) as stream:
            kinds = {event.type async for event in stream}
            whole = await stream.get_final_completion()
        assert "tool_calls.function.arguments.delta" in kinds
        (streamed,) = whole.choices[0].message.tool_calls or []
        assert (streamed.function.name, streamed.function.arguments) == ("weather", TRIP)


async def test_streams_of_chat(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        async with client.chat.completions.stream(
            model="faq", messages=ASKED, n=2, logprobs=True, stream_options={"include_usage": True}
        ) as stream:
            texts = [event.delta async for event in stream if event.type == "content.delta" and event.delta]
            whole = await stream.get_final_completion()
        assert [choice.message.content for choice in whole.choices] == [WORDS] * 2
        assert sorted(texts) == sorted(["one", " two", " three", " four"] * 2)
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4, 8)
        bare = await client.chat.completions.create(model="faq", messages=ASKED, stream=True)
        assert {chunk.usage async for chunk in bare} == {None}
        async with client.chat.completions.stream(model="faq", messages=JSON, response_format=Trip) as formed:
            assert (await formed.get_final_completion()).choices[0].message.parsed == Trip(city="Paris", days=4)
        assert [row.output_tokens for row in await at.gateway.rows(3)] == [4, 4, 8]


async def test_completions(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        several = await client.completions.create(model="faq", prompt=["a b", "c"], n=2, logprobs=1)
        assert [choice.text for choice in several.choices] == ["a b", "a b", "c", "c"]
        assert several.choices[0].logprobs is not None
        assert several.choices[0].logprobs.tokens == ["a", " b"]
        stream = await client.completions.create(model="faq", prompt=WORDS, stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == WORDS


async def test_responses(tmp_path: Path) -> None:
    tools: Any = [{"type": "function", **TOOL, "parameters": SCHEMA, "strict": False}]
    async with api(tmp_path) as (at, client):
        plain = await client.responses.create(model="faq", input=WORDS, store=False)
        assert (plain.output_text, plain.status) == (WORDS, "completed")
        assert plain.usage is not None
        assert (plain.usage.input_tokens, plain.usage.output_tokens) == (4, 4)
        called = await client.responses.create(model="faq", input="json", tools=tools, tool_choice="required")
        (call,) = called.output
        assert call.type == "function_call"
        assert (call.name, call.arguments) == ("weather", TRIP)
        parsed = await client.responses.parse(model="faq", input="json", text_format=Trip)
        assert parsed.output_parsed == Trip(city="Paris", days=4)
        async with client.responses.stream(model="faq", input=WORDS) as stream:
            events = [event async for event in stream]
            whole = await stream.get_final_response()
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WORDS
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (events[0].type, whole.output_text) == ("response.created", WORDS)
        assert whole.usage is not None
        assert [row.output_tokens for row in await at.gateway.rows(4)] == [4] * 4


async def test_embeddings_come_packed_unless_asked_otherwise(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        packed = await client.embeddings.create(model="vectors", input=["a b", "c"])
        plain = await client.embeddings.create(model="vectors", input=["a b", "c"], encoding_format="float")
        assert [each.json["encoding_format"] for each in at.engines["vectors"].requests] == ["base64", "float"]
        assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
        assert len(packed.data[0].embedding) == 8
        assert packed.usage.prompt_tokens == 3


async def test_audio(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        file = ("a.wav", sound(), "audio/wav")
        heard = await client.audio.transcriptions.create(model="ears", file=file, language="en")
        assert heard.text == TRIP
        translated = await client.audio.translations.create(model="ears", file=file)
        assert translated.text == TRIP
        stream = await client.audio.transcriptions.create(model="ears", file=file, stream=True)
        chunks: list[Any] = [chunk async for chunk in stream]  # vLLM's chunks are not OpenAI's events
        assert "".join(chunk.choices[0]["delta"]["content"] for chunk in chunks) == TRIP
        rows = await at.gateway.rows(3)
        assert [(row.input_tokens, row.output_tokens) for row in rows] == [
            (AUDIO_TOKENS, 4),
            (None, None),
            (None, None),
        ]


async def test_models(tmp_path: Path) -> None:
    async with api(tmp_path) as (_, client):
        assert [model.id async for model in client.models.list()] == ["ears", "faq", "vectors"]
        assert (await client.models.retrieve("faq")).id == "faq"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nope")


async def test_errors_have_their_classes(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        long: Any = [{"role": "user", "content": "x " * (LIMIT + 1)}]
        with pytest.raises(openai.BadRequestError) as too_long:
            await client.chat.completions.create(model="faq", messages=long)
        assert too_long.value.code == "context_length_exceeded"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="faq", messages=ASKED, extra_body={"guided_json": {}})
        assert refused.value.param == "guided_json"
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="nope", messages=ASKED)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.AuthenticationError) as stranger:
            await client.with_options(api_key=STRANGER).responses.create(model="faq", input=WORDS)
        assert stranger.value.code == "invalid_api_key"
        with pytest.raises(openai.PermissionDeniedError):
            await client.with_options(api_key=at.narrow).chat.completions.create(model="faq", messages=ASKED)
        with pytest.raises(openai.BadRequestError):
            await client.embeddings.create(model="faq", input="a")
        at.engine.faults.append(Fault("error", status=500))
        with pytest.raises(openai.InternalServerError) as failed:
            await client.completions.create(model="faq", prompt=WORDS)
        assert (failed.value.status_code, failed.value.code) == (502, "upstream_failed")


async def test_an_overload_is_tried_again_after_the_time_that_is_told(tmp_path: Path) -> None:
    async with api(tmp_path, max_retries=1) as (at, client):
        at.engine.faults.append(Fault("refuse"))
        answer = await client.chat.completions.create(model="faq", messages=ASKED)
        assert answer.choices[0].message.content == WORDS
        assert [row.outcome for row in await at.gateway.rows(2)] == ["completed", "upstream_overloaded"]
        at.engine.faults.append(Fault("refuse"))
        with pytest.raises(openai.InternalServerError) as shed:
            await client.with_options(max_retries=0).chat.completions.create(model="faq", messages=ASKED, stream=True)
        assert (shed.value.status_code, shed.value.code) == (503, "upstream_overloaded")
        assert shed.value.response.headers["retry-after"] == "1"


async def test_an_error_in_a_stream_is_raised(tmp_path: Path) -> None:
    async with api(tmp_path) as (at, client):
        at.engine.faults.append(Fault("close", after=2, times=0))
        for asking in (
            client.chat.completions.create(model="faq", messages=ASKED, stream=True),
            client.completions.create(model="faq", prompt=WORDS, stream=True),
        ):
            stream: Any = await asking
            with pytest.raises(openai.APIError) as broken:
                _ = [chunk async for chunk in stream]
            assert broken.value.code == "upstream_failed"
        events = [event async for event in await client.responses.create(model="faq", input=WORDS, stream=True)]
        assert (events[-1].type, events[-1].sequence_number) == ("error", 2)
