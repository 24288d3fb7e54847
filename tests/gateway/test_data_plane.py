"""The way of one request, through the real application, with OpenAI's own client."""

import asyncio
import random
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from gateway.config import Limits, Timeouts
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import deployment, manifest_parts, release, serving

HELLO = [{"role": "user", "content": "one two three four"}]


def client(url: str, key: str) -> AsyncOpenAI:
    """OpenAI's client without retries of its own, so that a test sees every answer."""
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=10.0)


async def test_a_plain_answer_is_metered_and_priced(tmp_path: Path) -> None:
    async with Engine(prompt_tokens_details=True) as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        async with client(gateway.url, key) as api:
            raw = await api.chat.completions.with_raw_response.create(model="faq", messages=HELLO)  # type: ignore[arg-type]
        answer = raw.parse()
        assert answer.choices[0].message.content == "one two three four"
        assert raw.headers["x-tollgate-release"] == "faq@1"
        assert raw.headers["x-tollgate-replica"] == "main-0"
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.input_tokens, row.output_tokens, row.cached_tokens) == ("completed", 4, 4, 0)
        assert row.cost == raw.headers["x-tollgate-cost"] == "0.000003200"
        assert row.request_id == raw.headers["x-tollgate-request-id"]


@pytest.mark.parametrize("wants_usage", [False, True])
async def test_a_stream_is_exact_and_shows_only_what_was_asked_for(tmp_path: Path, wants_usage: bool) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        options = {"stream_options": {"include_usage": True}} if wants_usage else {}
        async with client(gateway.url, key) as api:
            stream = await api.chat.completions.create(model="faq", messages=HELLO, stream=True, **options)  # type: ignore[call-overload]
            chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "one two three four"
        with_usage = [chunk for chunk in chunks if chunk.usage is not None]
        assert len(with_usage) == (1 if wants_usage else 0)
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.input_tokens, row.output_tokens) == ("completed", 4, 4)


async def test_completions_and_embeddings(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other_folder = tmp_path_factory.mktemp("other")
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        async with client(gateway.url, key) as api:
            answer = await api.completions.create(model="faq", prompt="a b c")
            assert answer.choices[0].text.split() == ["a", "b", "c"]
        await gateway.rows(1)
    async with Engine(runner="pooling") as engine, serving(deployment({"main": [engine.url]}), other_folder) as (
        gateway, key, _,
    ):  # fmt: skip
        async with client(gateway.url, key) as api:
            vectors = await api.embeddings.create(model="faq", input="a b c", encoding_format="float")
            assert len(vectors.data[0].embedding) == 8
        (row,) = await gateway.rows(1)
        assert (row.endpoint, row.input_tokens, row.output_tokens) == ("/v1/embeddings", 3, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("http", [None, "h11", "httptools"], ids=["own server", "h11", "httptools"])
async def test_when_the_client_leaves_the_engine_stops(tmp_path: Path, stream: bool, http: str | None) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path, http=http) as (
        gateway, key, _,
    ):  # fmt: skip
        engine.hold()
        engine.step(2)
        async with client(gateway.url, key) as api:
            asking = asyncio.create_task(
                api.chat.completions.create(model="faq", messages=HELLO, stream=stream)  # type: ignore[call-overload]
            )
            await engine.wait_for(lambda e: e.generated_tokens == 2)
            if stream:
                answer = await asking
                await answer.__anext__()
                await answer.close()
            else:
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
        await engine.wait_for(lambda e: e.aborted == 1 and e.running == 0)
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.status) == ("client_closed", 499)
        assert (row.input_tokens, row.output_tokens) == ((4, 2) if stream else (None, None))
        assert gateway.in_flight() == [0]
        assert engine.generated_tokens == 2


async def test_a_release_sets_what_the_request_leaves_open(tmp_path: Path) -> None:
    parts = manifest_parts(system="Be brief.", temperature=0.0, max_tokens=7)
    deployed = deployment({"main": ["http://127.0.0.1:9"]}, [release("1", **parts)])
    async with Engine(model="served") as engine:
        deployed = deployment({"main": [engine.url]}, [release("1", **parts)], served_model="served")
        async with serving(deployed, tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
            await api.chat.completions.create(model="faq", messages=HELLO, temperature=0.5)  # type: ignore[arg-type]
        sent = engine.received("/v1/chat/completions")[0]
    assert sent.json["model"] == "served"
    assert (sent.json["temperature"], sent.json["max_tokens"]) == (0.5, 7)
    assert [message["role"] for message in sent.json["messages"]] == ["system", "user"]
    assert sent.header("authorization") is None


async def test_refusals_before_admission_leave_no_row(tmp_path: Path) -> None:
    limits = Limits(max_body_bytes=1024)
    async with Engine() as engine:
        deployed = deployment({"main": [engine.url]}, limits=limits)
        async with serving(deployed, tmp_path) as (gateway, key, _):
            async with client(gateway.url, "sk-tg-000000000000-" + "0" * 48) as api:
                with pytest.raises(openai.AuthenticationError) as wrong_key:
                    await api.chat.completions.create(model="faq", messages=HELLO)  # type: ignore[arg-type]
            assert wrong_key.value.code == "invalid_api_key"
            async with client(gateway.url, key) as api:
                with pytest.raises(openai.NotFoundError) as unknown:
                    await api.chat.completions.create(model="nope", messages=HELLO)  # type: ignore[arg-type]
                assert unknown.value.code == "model_not_found"
                assert "'faq'" in str(unknown.value)
                with pytest.raises(openai.PermissionDeniedError):
                    await api.chat.completions.create(model="faq@1", messages=HELLO)  # type: ignore[arg-type]
                big = [{"role": "user", "content": "x" * 2000}]
                with pytest.raises(openai.APIStatusError) as too_large:
                    await api.chat.completions.create(model="faq", messages=big)  # type: ignore[arg-type]
                assert too_large.value.status_code == 413
            assert await gateway.rows(0) == []
        assert engine.received("/v1/chat/completions") == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault("refuse"), 503, "upstream_overloaded"),
        (Fault("error", status=500), 502, "upstream_failed"),
        (Fault("close"), 502, "upstream_failed"),
        (Fault("garbage"), 502, "upstream_failed"),
        (Fault("garbage_json"), 502, "upstream_failed"),
        (Fault("error_200_nested"), 400, "invalid_request"),
        (Fault("error_200_flat"), 400, "invalid_request"),
        (Fault("stall"), 504, "upstream_timeout"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_an_engine_that_fails_is_explained_and_recorded(
    tmp_path: Path, fault: Fault, status: int, code: str
) -> None:
    async with Engine() as engine:
        engine.faults.append(fault)
        deployed = deployment({"main": [engine.url]}, timeouts=Timeouts(total=1.0))
        async with serving(deployed, tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
            with pytest.raises(openai.APIStatusError) as failed:
                await api.chat.completions.create(model="faq", messages=HELLO)  # type: ignore[arg-type]
            assert failed.value.status_code == status
            assert failed.value.code == code
            (row,) = await gateway.rows(1)
            assert (row.outcome, row.status, row.cost) == (code, status, None)
            assert gateway.in_flight() == [0]


async def test_an_engine_that_is_down_is_a_503_with_a_moment_to_come_back(tmp_path: Path) -> None:
    async with Engine() as engine:
        url = engine.url
    async with serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
        with pytest.raises(openai.InternalServerError) as failed:
            await api.chat.completions.create(model="faq", messages=HELLO)  # type: ignore[arg-type]
        assert failed.value.status_code == 503
        assert failed.value.response.headers["retry-after"] == "1"
        (row,) = await gateway.rows(1)
        assert row.outcome == "upstream_unavailable"


@pytest.mark.parametrize("kind", ["close", "garbage", "refuse", "error"])
@pytest.mark.parametrize("stream", [False, True])
async def test_another_replica_answers_before_the_first_byte(tmp_path: Path, kind: str, stream: bool) -> None:
    async with Engine() as bad, Engine() as good:
        bad.faults.append(Fault(kind, times=0))  # type: ignore[arg-type]
        deployed = deployment({"main": [bad.url, good.url]})
        async with serving(deployed, tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
            for _ in range(2):
                answer = await api.chat.completions.create(model="faq", messages=HELLO, stream=stream)  # type: ignore[call-overload]
                if stream:
                    assert [chunk async for chunk in answer]
            rows = await gateway.rows(2)
            assert {row.outcome for row in rows} == {"completed"}
            assert {row.replica for row in rows} == {"main-1"}
            assert max(row.attempts for row in rows) == 2
            assert gateway.in_flight() == [0, 0]


@pytest.mark.parametrize("kind", ["close", "reset", "garbage_json", "stall", "error_event"])
async def test_after_the_first_byte_an_error_is_an_event(tmp_path: Path, kind: str) -> None:
    async with Engine() as engine, Engine() as other:
        engine.faults.append(Fault(kind, times=0, after=3))  # type: ignore[arg-type]
        deployed = deployment({"main": [engine.url]}, timeouts=Timeouts(idle=0.5))
        async with serving(deployed, tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
            stream = await api.chat.completions.create(model="faq", messages=HELLO, stream=True)  # type: ignore[arg-type]
            with pytest.raises(openai.APIError):
                async for _chunk in stream:
                    pass
            (row,) = await gateway.rows(1)
            assert row.outcome == ("upstream_timeout" if kind == "stall" else "upstream_failed")
            assert (row.input_tokens, row.output_tokens) == (4, 2), "the chunks before the failure are counted"
            assert gateway.in_flight() == [0]
        assert other.received("/v1/chat/completions") == []


async def test_a_prompt_that_is_too_long_is_named_as_openai_names_it(tmp_path: Path) -> None:
    async with Engine(max_model_len=3) as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        async with client(gateway.url, key) as api:
            with pytest.raises(openai.BadRequestError) as failed:
                await api.chat.completions.create(model="faq", messages=HELLO)  # type: ignore[arg-type]
        assert failed.value.code == "context_length_exceeded"
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.status) == ("context_length_exceeded", 400)


KINDS = ("fine", "close", "reset", "error", "refuse", "garbage_json", "error_event", "stall", "leave")


@pytest.mark.parametrize("seed", range(3))
async def test_law_every_admitted_request_leaves_exactly_one_row(tmp_path: Path, seed: int) -> None:
    """Laws 1 to 3, under concurrent successes, aborts, deaths, refusals and timeouts."""
    draw = random.Random(seed)
    endings = [(draw.choice(KINDS), draw.random() < 0.5, draw.randint(0, 3)) for _ in range(60)]
    async with Engine() as engine, Engine() as other:
        for number, (kind, _stream, after) in enumerate(endings):
            if kind not in ("fine", "leave"):
                for each in (engine, other):
                    each.faults.append(Fault(kind, times=0, after=after, match=f"n{number}x"))  # type: ignore[arg-type]
        deployed = deployment({"main": [engine.url, other.url]}, timeouts=Timeouts(first_byte=1.5, idle=1.5, total=3.0))
        async with serving(deployed, tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
            await asyncio.gather(*(_ask(api, n, kind, stream) for n, (kind, stream, _) in enumerate(endings)))
            rows = await gateway.rows(len(endings))
            assert len({row.request_id for row in rows}) == len(endings)
            assert gateway.in_flight() == [0, 0]
            assert sum(row.outcome == "completed" for row in rows) >= sum(kind == "fine" for kind, _, _ in endings)
        await engine.wait_for(lambda e: e.running == 0)
        await other.wait_for(lambda e: e.running == 0)


async def _ask(api: AsyncOpenAI, number: int, kind: str, stream: bool) -> None:
    messages = [{"role": "user", "content": f"n{number}x two three"}]
    try:
        answer = await api.chat.completions.create(model="faq", messages=messages, stream=stream)  # type: ignore[call-overload]
        if stream and kind == "leave":
            await answer.__anext__()
            await answer.close()
        elif stream:
            async for _chunk in answer:
                pass
    except openai.APIError:
        return
