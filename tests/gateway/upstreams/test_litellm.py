"""Providers through the real LiteLLM: the wire of an engine, errors with the right status, nothing left running."""

import asyncio
import json
from typing import Any

import pytest

from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.metering import StreamMeter, read_answer
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.written import HELD, Written
from tests.engine.faults import Fault
from tests.engine.server import Engine
from tests.gateway.upstreams.provider_server import KEY, ProviderServer
from tests.gateway.upstreams.providers import CHAT, EMBEDDINGS, HELLO, MESSAGES, RESPONSES, WARNINGS, S, ask, at, openai
from tests.gateway.virtual import turns

pytestmark = WARNINGS


def _events(stream: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_a_chat_is_answered_and_counted_as_an_engine_does(engine: Engine, brand: str) -> None:
    status, kind, body = await ask(openai(engine, brand), CHAT, messages=HELLO, temperature=0, stop=None)
    assert (status, kind) == (200, b"application/json")
    assert json.loads(body)["choices"][0]["message"]["content"] == "hello there you all"
    usage, error = read_answer(body)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, error) == (4, 4, None)
    sent = json.loads(engine.requests[0].body)
    assert sent == {"model": "m", "messages": HELLO, "temperature": 0}
    assert engine.requests[0].header("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_chat_stream_is_one_that_the_meter_reads(engine: Engine, brand: str, wants_usage: bool) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}  # what the gateway asks of engines
    status, kind, body = await ask(openai(engine, brand), CHAT, messages=HELLO, stream=True, stream_options=options)
    assert (status, kind.partition(b";")[0]) == (200, b"text/event-stream")
    meter = StreamMeter(wants_usage=wants_usage, wants_continuous_usage=False)
    shown = _events(meter.feed(body))
    assert meter.finished
    assert meter.usage is not None
    assert (meter.usage.input_tokens, meter.usage.output_tokens) == (4, 4)
    assert "".join(c["delta"].get("content", "") for e in shown for c in e["choices"]) == "hello there you all"
    assert [event["choices"] == [] for event in shown].count(True) == int(wants_usage)
    assert not any("usage" in event for event in shown if event["choices"])
    assert "continuous_usage_stats" not in engine.requests[0].body.decode()


async def test_several_choices_and_tools_pass(engine: Engine) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    _, _, body = await ask(openai(engine), CHAT, messages=HELLO, n=2, tools=[tool], tool_choice="none")
    assert [choice["index"] for choice in json.loads(body)["choices"]] == [0, 1]
    assert json.loads(engine.requests[0].body)["tools"] == [tool]


@pytest.mark.usefixtures("_closed")
@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_embeddings(brand: str) -> None:
    async with Engine("m", runner="pooling", api_key=KEY) as engine:
        status, _, body = await ask(openai(engine, brand), EMBEDDINGS, input=["a b", "c"], encoding_format="float")
        assert status == 200
        assert [len(each["embedding"]) for each in json.loads(body)["data"]] == [8, 8]
        usage, _ = read_answer(body)
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (3, 0)
        engine.faults.extend([Fault("refuse", times=0)])
        assert (await ask(openai(engine, brand), EMBEDDINGS, input="a"))[0] == 503
        assert len(engine.requests) == 2, "a refusal is not tried again by LiteLLM"


@pytest.mark.parametrize("model", ["anthropic", "openai"])
async def test_messages_are_anthropics_whoever_answers(api: ProviderServer, engine: Engine, model: str) -> None:
    provider = at(api) if model == "anthropic" else openai(engine)
    counted = {"anthropic": (5, 2), "openai": (4, 4)}[model]
    text = {"anthropic": "hello you", "openai": "hello there you all"}[model]
    status, _, body = await ask(provider, MESSAGES, messages=HELLO, max_tokens=9, metadata={"user_id": "u"})
    answer = json.loads(body)
    assert (status, answer["type"], answer["content"]) == (200, "message", [{"type": "text", "text": text}])
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == counted
    _, kind, stream = await ask(provider, MESSAGES, messages=HELLO, max_tokens=9, stream=True)
    assert kind.startswith(b"text/event-stream")
    events = _events(stream)
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta") == text
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == counted
    if model == "anthropic":
        assert events[-2]["usage"]["cache_read_input_tokens"] == 3
        assert [path for path, _ in api.received] == [MESSAGES, MESSAGES]


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5"])
async def test_responses_are_openais_whoever_answers(api: ProviderServer, model: str) -> None:
    status, _, body = await ask(at(api, model), RESPONSES, input="hi", max_output_tokens=20)
    answer = json.loads(body)
    assert (status, answer["object"], answer["status"]) == (200, "response", "completed")
    assert answer["output"][0]["content"][0]["text"] == "hello you"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (8, 2)
    assert "cost" not in answer["usage"], "prices are the gateway's own"
    _, kind, stream = await ask(at(api, model), RESPONSES, input="hi", stream=True)
    assert kind.startswith(b"text/event-stream")
    events = _events(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [f"event: {event['type']}" for event in events] == [
        line for line in stream.decode().splitlines() if line.startswith("event: ")
    ]
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage.get("cost")) == (8, 2, None)
    assert {path for path, _ in api.received} == {RESPONSES if model.startswith("openai") else MESSAGES}


async def test_usage_that_nobody_counted_is_unknown_and_not_zero(engine: Engine) -> None:
    engine.faults.extend([Fault("no_usage", times=0)])
    _, _, whole = await ask(openai(engine), CHAT, messages=HELLO)
    assert read_answer(whole) == (None, None)
    _, _, stream = await ask(openai(engine), CHAT, messages=HELLO, stream=True)
    assert all("usage" not in event for event in _events(stream))


async def _drain(answer: Written) -> None:
    while await answer.read(S):
        pass


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_abort_closes_the_connection_to_the_provider(api: ProviderServer, path: str) -> None:
    api.endless = True
    provider = at(api)
    body = {"input": "hi"} if path == RESPONSES else {"messages": HELLO, "max_tokens": 9}
    answer = provider.begin(ENDPOINTS[path], json.dumps({**body, "stream": True}).encode(), b"", "r")
    assert await answer.head(S) == 200
    assert await answer.read(S)
    answer.abort("the client left")
    with pytest.raises(ExchangeError, match="the client left"):
        await _drain(answer)
    async with asyncio.timeout(S):
        await api.closed.wait()


async def test_abort_closes_the_connection_of_native_responses(api: ProviderServer) -> None:
    api.endless = True
    asked = b'{"input": "hi", "stream": true}'
    answer = at(api, "openai/gpt-5-mini").begin(ENDPOINTS[RESPONSES], asked, b"", "r")
    assert await answer.read(S)
    answer.abort("the client left")
    async with asyncio.timeout(S):
        await api.closed.wait()


async def test_a_slow_reader_holds_the_providers_stream_back(engine: Engine) -> None:
    engine.answer = lambda prompt: " ".join(["word"] * 40)
    body = {"messages": HELLO, "stream": True, "max_tokens": 40}
    answer = openai(engine).begin(ENDPOINTS[CHAT], json.dumps(body).encode(), b"", "r")
    assert await answer.head(S) == 200
    await engine.wait_for(lambda e: e.finished == 1)
    first = await answer.read(S)
    assert first.count(b"data: ") <= HELD
    answer.abort("the client left")
    with pytest.raises(ExchangeError, match="the client left"):
        await _drain(answer)


@pytest.mark.parametrize("ended", [False, True])
async def test_abort_before_the_head_stops_the_engine(engine: Engine, ended: bool) -> None:
    """Undisturbed by the relay, which ends the exchange a turn later, while LiteLLM still closes the connection."""
    provider = openai(engine)
    engine.hold()
    answer = provider.begin(ENDPOINTS[CHAT], json.dumps({"messages": HELLO}).encode(), b"", "r")
    await engine.wait_for(lambda e: e.running == 1)
    answer.abort("the client left")
    if ended:
        await turns(1)
        provider.end(answer)
    with pytest.raises(ExchangeError, match="the client left"):
        await answer.head(S)
    await engine.wait_for(lambda e: e.running == 0)
    assert engine.aborted == 1
