"""The simulator answers in the bytes of a real vLLM: every recording is replayed against it."""

import base64
import json
import struct

import pytest

from tests.engine import raw, recordings, replay
from tests.engine.replay import same
from tests.engine.simulator import Engine

ANSWERS = (
    "chat",
    "chat_content_parts",
    "chat_n2_stop_seed",
    "chat_request_id_header",
    "chat_stream_continuous_usage",
    "chat_stream_no_usage",
    "chat_stream_usage",
    "chat_tools_auto",
    "completion",
    "completion_batch",
    "completion_stream_usage",
    "completion_token_ids",
    "err_no_model_field",
)
REFUSALS = (
    "err_404",
    "err_405",
    "err_bad_model",
    "err_empty_body",
    "err_empty_messages",
    "err_invalid_json",
    "err_max_tokens_negative",
    "err_max_tokens_too_big",
    "err_max_tokens_zero",
    "err_n_zero",
    "err_no_messages",
    "err_stream_options_without_stream",
    "err_temperature_negative",
    "err_temperature_string",
    "err_top_p",
    "err_wrong_content_type",
    "embeddings_on_generative",
    "model_retrieve",
)
PAGES = ("health", "ping", "load", "version")


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_are_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with replay.engine(recording) as engine:
        same(await replay.ask(engine, recording), recording)
        assert engine.success.total() == len(replay.choices(recording))


@pytest.mark.parametrize("name", [*REFUSALS, *PAGES])
async def test_refusals_and_pages_are_the_recorded_bytes(name: str) -> None:
    recording = recordings.load(name)
    async with Engine("tiny", max_model_len=1024) as engine:
        same(await replay.ask(engine, recording), recording)
        assert (engine.started, engine.running) == (0, 0)


@pytest.mark.parametrize("name", ["err_too_long", "err_stream_too_long"])
async def test_a_prompt_beyond_the_context_is_refused(name: str) -> None:
    recording = recordings.load(name)
    body = json.loads(recording.sent)
    body["messages"][0]["content"] = "x9 " * 1400
    async with Engine("tiny", max_model_len=1024) as engine:
        same(await raw.post(engine.url, recording.path, body), recording)


async def test_metrics_have_the_recorded_names_help_types_and_labels() -> None:
    recording = recordings.load("metrics")
    recorded = [line.rpartition(" ")[0] if line[0] != "#" else line for line in recording.body.decode().splitlines()]
    async with Engine("faq") as engine:
        page = await replay.ask(engine, recording)
        lines = [line.rpartition(" ")[0] if line[0] != "#" else line for line in page.body.decode().splitlines()]
        assert lines == [line for line in recorded if line in lines]
        assert page.header("content-type") == dict(recording.headers)["content-type"]


async def test_metrics_count_what_happened() -> None:
    async with Engine("faq") as engine:
        body = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 2}
        await raw.post(engine.url, "/v1/chat/completions", body)
        page = (await raw.exchange(engine.url, "GET", "/metrics")).body.decode()
        assert 'vllm:prompt_tokens_total{engine="0",model_name="faq"} 3.0' in page
        assert 'vllm:generation_tokens_total{engine="0",model_name="faq"} 2.0' in page
        assert 'vllm:request_success_total{engine="0",finished_reason="length",model_name="faq"} 1.0' in page
        assert 'vllm:num_requests_running{engine="0",model_name="faq"} 0.0' in page


async def test_the_default_answer_repeats_the_last_user_message() -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how do I  pay"}]
    async with Engine("faq") as engine:
        answer = await raw.post(engine.url, "/v1/chat/completions", {"messages": messages})
        choice = answer.json["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("how do I pay", "stop")
        assert answer.json["usage"]["prompt_tokens"] == 6
        assert answer.json["usage"]["completion_tokens"] == 4


async def test_ignore_eos_fills_the_answer_up_to_its_limit() -> None:
    async with Engine("faq") as engine:
        body = {"prompt": "a b", "max_tokens": 5, "ignore_eos": True}
        answer = await raw.post(engine.url, "/v1/completions", body)
        assert answer.json["usage"]["completion_tokens"] == 5
        assert answer.json["choices"][0]["finish_reason"] == "length"


async def test_continuous_usage_counts_each_choice_by_itself() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"prompt": "a b", "n": 2, "stream": True, "stream_options": options}
    async with Engine("faq") as engine:
        parts = replay.events((await raw.post(engine.url, "/v1/completions", body)).body)
    assert [part["usage"]["completion_tokens"] for part in parts] == [1, 1, 2, 2, 4]
    assert list(parts[0]["usage"]) == ["prompt_tokens", "total_tokens", "completion_tokens"]


async def test_cached_tokens_are_reported_when_the_engine_is_told_to() -> None:
    prompt = " ".join(map(str, range(40)))
    async with Engine("faq", prompt_tokens_details=True) as engine:
        body = {"prompt": prompt, "max_tokens": 1}
        first, second = [(await raw.post(engine.url, "/v1/completions", body)).json["usage"] for _ in range(2)]
        assert first["prompt_tokens_details"]["cached_tokens"] == 0
        assert second["prompt_tokens_details"]["cached_tokens"] == 32
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        last = replay.events((await raw.post(engine.url, "/v1/completions", streamed)).body)[-1]
        assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 32}


async def test_a_pooling_engine_embeds_and_does_not_chat() -> None:
    async with Engine("embed", runner="pooling", dimensions=4) as engine:
        numbers = await raw.post(engine.url, "/v1/embeddings", {"model": "embed", "input": ["one two", "three"]})
        packed = await raw.post(engine.url, "/v1/embeddings", {"input": "one two", "encoding_format": "base64"})
        assert numbers.json["usage"]["prompt_tokens"] == 3
        assert numbers.json["usage"]["completion_tokens"] == 0
        first = numbers.json["data"][0]["embedding"]
        assert list(struct.unpack("<4f", base64.b64decode(packed.json["data"][0]["embedding"]))) == first
        assert (await raw.post(engine.url, "/v1/chat/completions", {"messages": []})).status == 404


async def test_an_api_key_guards_v1_alone() -> None:
    async with Engine("faq", api_key="secret") as engine:
        assert (await raw.exchange(engine.url, "GET", "/v1/models")).status == 401
        assert (await raw.exchange(engine.url, "GET", "/metrics")).status == 200
        with_key = {"authorization": "Bearer secret"}
        assert (await raw.exchange(engine.url, "GET", "/v1/models", headers=with_key)).status == 200


async def test_plain_answers_keep_the_connection() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        for _ in range(3):
            await client.send("POST", "/v1/completions", {"prompt": "a"})
            assert (await client.answer()).status == 200
        await client.send("POST", "/v1/completions", {"prompt": "a b", "stream": True})
        assert (await client.answer()).body.endswith(b"data: [DONE]\n\n")
        assert engine.connections_made == 1
        await client.send("GET", "/health", headers={"connection": "close"})
        assert (await client.answer()).header("connection") == "close"
        assert await client.reader.read() == b""


async def test_requests_are_kept_as_they_came() -> None:
    body = b'{"prompt" : "a",  "cache_salt":"\xc3\xbc"}'
    async with Engine("faq") as engine:
        await raw.post(engine.url, "/v1/completions?x=1", body, {"X-Two": "2", "content-type": "application/json"})
        (received,) = engine.received("/v1/completions")
        assert (received.body, received.query, received.header("x-two")) == (body, "x=1", "2")
        assert received.head.startswith(b"POST /v1/completions?x=1 HTTP/1.1\r\nhost: ")
        assert b"\r\nX-Two: 2\r\n" in received.head
        assert received.head.endswith(b"\r\n\r\n")


async def test_a_request_that_is_not_http_is_refused() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        client.writer.write(b"\x00\x01nothing\r\n\r\n")
        assert (await client.head()).status == 400
