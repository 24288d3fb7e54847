"""Providers through the real LiteLLM: the wire of an engine, errors with the right status, nothing left running."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.contracts.errors import ContextLengthExceeded, InputError, InvalidRequest, UpstreamFailed
from gateway.policy.metering import StreamMeter, read_answer
from gateway.policy.request import Endpoint
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.litellm import Provider, library
from gateway.upstreams.vllm import translate
from tests.engine.faults import Fault
from tests.engine.server import Engine
from tests.gateway.upstreams.provider_server import KEY, ProviderServer

CHAT, MESSAGES, RESPONSES, EMBEDDINGS = (
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1/embeddings",
)
HELLO = [{"role": "user", "content": "hello there you all"}]
S = 10.0
pytestmark = [
    # LiteLLM's own types, built as they are first used, and its own use of pydantic.
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """LiteLLM keeps its clients for the life of a process; here each test has a loop of its own."""
    yield
    await library().close_litellm_async_clients()
    library().in_memory_llm_clients_cache.flush_cache()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine("m", api_key=KEY, max_model_len=50) as started:
        yield started


@pytest.fixture
async def api() -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as started:
        yield started


def _openai(engine: Engine, brand: str = "openai", key: str = KEY) -> Provider:
    return Provider("p", f"{brand}/m", api_key=key, base_url=engine.url + "/v1", connect_s=S, total_s=S)


def _at(api: ProviderServer, model: str = "anthropic/claude-sonnet-4-5", key: str = KEY) -> Provider:
    base = api.url + ("/v1" if model.startswith("openai/") else "")
    return Provider("p", model, api_key=key, base_url=base, connect_s=S, total_s=S)


async def _ask(provider: Provider, path: str, **body: Any) -> tuple[int, bytes, bytes]:
    answer = await provider.begin(
        Endpoint(path), json.dumps({"model": "faq", **body}).encode(), b"application/json", "r"
    )
    try:
        status = await answer.head(S)
        pieces = []
        while piece := await answer.read(S):
            pieces.append(piece)
        return status, answer.headers[b"content-type"], b"".join(pieces)
    finally:
        provider.end(answer)


def _events(stream: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_a_chat_is_answered_and_counted_as_an_engine_does(engine: Engine, brand: str) -> None:
    status, kind, body = await _ask(_openai(engine, brand), CHAT, messages=HELLO, temperature=0, stop=None)
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
    status, kind, body = await _ask(_openai(engine, brand), CHAT, messages=HELLO, stream=True, stream_options=options)
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
    _, _, body = await _ask(_openai(engine), CHAT, messages=HELLO, n=2, tools=[tool], tool_choice="none")
    assert [choice["index"] for choice in json.loads(body)["choices"]] == [0, 1]
    assert json.loads(engine.requests[0].body)["tools"] == [tool]


@pytest.mark.parametrize("brand", ["openai", "hosted_vllm"])
async def test_embeddings(brand: str) -> None:
    async with Engine("m", runner="pooling", api_key=KEY) as engine:
        status, _, body = await _ask(_openai(engine, brand), EMBEDDINGS, input=["a b", "c"], encoding_format="float")
        assert status == 200
        assert [len(each["embedding"]) for each in json.loads(body)["data"]] == [8, 8]
        usage, _ = read_answer(body)
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (3, 0)
        engine.faults.extend([Fault("refuse", times=0)])
        assert (await _ask(_openai(engine, brand), EMBEDDINGS, input="a"))[0] == 503
        assert len(engine.requests) == 2, "a refusal is not tried again by LiteLLM"


@pytest.mark.parametrize("model", ["anthropic", "openai"])
async def test_messages_are_anthropics_whoever_answers(api: ProviderServer, engine: Engine, model: str) -> None:
    provider = _at(api) if model == "anthropic" else _openai(engine)
    counted = {"anthropic": (5, 2), "openai": (4, 4)}[model]
    text = {"anthropic": "hello you", "openai": "hello there you all"}[model]
    status, _, body = await _ask(provider, MESSAGES, messages=HELLO, max_tokens=9, metadata={"user_id": "u"})
    answer = json.loads(body)
    assert (status, answer["type"], answer["content"]) == (200, "message", [{"type": "text", "text": text}])
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == counted
    _, kind, stream = await _ask(provider, MESSAGES, messages=HELLO, max_tokens=9, stream=True)
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
    status, _, body = await _ask(_at(api, model), RESPONSES, input="hi", max_output_tokens=20)
    answer = json.loads(body)
    assert (status, answer["object"], answer["status"]) == (200, "response", "completed")
    assert answer["output"][0]["content"][0]["text"] == "hello you"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (8, 2)
    assert "cost" not in answer["usage"], "prices are the gateway's own"
    _, kind, stream = await _ask(_at(api, model), RESPONSES, input="hi", stream=True)
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
    _, _, whole = await _ask(_openai(engine), CHAT, messages=HELLO)
    assert read_answer(whole) == (None, None)
    _, _, stream = await _ask(_openai(engine), CHAT, messages=HELLO, stream=True)
    assert all("usage" not in event for event in _events(stream))


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_abort_closes_the_connection_to_the_provider(api: ProviderServer, path: str) -> None:
    api.endless = True
    provider = _at(api)
    body = {"input": "hi"} if path == RESPONSES else {"messages": HELLO, "max_tokens": 9}
    answer = await provider.begin(Endpoint(path), json.dumps({**body, "stream": True}).encode(), b"", "r")
    assert await answer.head(S) == 200
    assert await answer.read(S)
    answer.abort("the client left")
    with pytest.raises(ExchangeError, match="the client left"):
        while True:
            await answer.read(S)
    async with asyncio.timeout(S):
        await api.closed.wait()


async def test_abort_closes_the_connection_of_native_responses(api: ProviderServer) -> None:
    api.endless = True
    answer = await _at(api, "openai/gpt-5-mini").begin(
        Endpoint(RESPONSES), b'{"input": "hi", "stream": true}', b"", "r"
    )
    assert await answer.read(S)
    answer.abort("the client left")
    async with asyncio.timeout(S):
        await api.closed.wait()


async def test_abort_before_the_head_stops_the_engine(engine: Engine) -> None:
    provider = _openai(engine)
    engine.hold()
    answer = await provider.begin(Endpoint(CHAT), json.dumps({"messages": HELLO}).encode(), b"", "r")
    await engine.wait_for(lambda e: e.running == 1)
    answer.abort("the client left")
    with pytest.raises(ExchangeError, match="the client left"):
        await answer.head(S)
    await engine.wait_for(lambda e: e.running == 0)
    assert engine.aborted == 1
