"""Every endpoint through the running gateway: the engine's own bytes, and one row that counts them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts.ledger import LedgerRow
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.request import REFUSED
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.calls import ABLE, AUDIO_TOKENS, CHAT, ENDS, MESSAGE, PACKED, SERVED, STREAMS, TRANSCRIPTION, Call
from tests.gateway.serving import PRICES, Gateway, deployment, serving

named = pytest.mark.parametrize("call", [*ENDS, *ABLE, *PACKED], ids=lambda call: call.name)
streamed = pytest.mark.parametrize("call", [*STREAMS, *ABLE], ids=lambda call: call.name)
SEEN = {"content-type", "metadata"}
"""The engine's headers that a client needs."""


@asynccontextmanager
async def gateway_of(call: Call, folder: Path, **options: Any) -> AsyncIterator[tuple[Engine, Gateway, str]]:
    """(engine, gateway, key) for a call."""
    async with (
        call.served(**options) as engine,
        serving(deployment({"main": [engine.url]}, served_model=SERVED), folder) as (gateway, key, _),
    ):
        yield engine, gateway, key


async def through(gateway: Gateway, key: str, call: Call, **more: Any) -> raw.Answer:
    """What a client gets."""
    body, kind = call.sent("faq", **more)
    return await raw.post(gateway.url, call.path, body, {"content-type": kind, "authorization": f"Bearer {key}"})


async def direct(engine: Engine, call: Call, request_id: str, **more: Any) -> raw.Answer:
    """What the engine answers to somebody who asks the same of it."""
    body, kind = call.sent(SERVED, **more)
    return await raw.post(engine.url, call.path, body, {"content-type": kind, "x-request-id": request_id})


def same(answer: raw.Answer, engines: raw.Answer) -> None:
    """Status, bytes, and the headers that count."""
    assert (answer.status, answer.body) == (200, engines.body)
    assert {name: value for name, value in answer.headers if name in SEEN} == {
        name: value for name, value in engines.headers if name in SEEN
    }


def nameless(stream: bytes) -> bytes:
    """A stream without fingerprints: the gateway learns an engine's from the last chunk, which is too late for the
    chunks that ended other choices."""
    return re.sub(rb',"system_fingerprint":"[^"]+"', b"", stream)


def counted(row: LedgerRow, call: Call, usage: tuple[int, int] | None) -> None:
    """The row tells the path, the tokens, and what they cost."""
    assert (row.endpoint, row.model, row.release) == (call.path, "faq", "faq@1")
    assert (row.input_tokens, row.output_tokens) == (usage or (None, None))
    price = PRICES.models["faq"]
    cost = None if usage is None else (usage[0] * price.input + usage[1] * price.output) / 10**6
    assert row.cost is None if cost is None else Decimal(row.cost or -1) == cost


def test_no_endpoint_is_left_out() -> None:
    assert {call.path for call in ENDS} == set(ENDPOINTS)
    assert {call.path for call in STREAMS} == {path for path, endpoint in ENDPOINTS.items() if endpoint.streams}


@named
async def test_a_whole_answer_is_the_engines_to_the_byte(tmp_path: Path, call: Call) -> None:
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        answer = await through(gateway, key, call)
        (row,) = await gateway.rows(1)
        same(answer, await direct(engine, call, row.request_id))
        assert (row.outcome, row.status, row.stream) == ("completed", 200, False)
        assert answer.header("x-tollgate-cost") == row.cost
        counted(row, call, call.usage)


@streamed
async def test_a_stream_is_the_engines_to_the_byte(tmp_path: Path, call: Call) -> None:
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        answer = await through(gateway, key, call, stream=True)
        (row,) = await gateway.rows(1)
        engines = await direct(engine, call, row.request_id, stream=True)
        if call.several:
            answer.chunks, engines.chunks = [nameless(answer.body)], [nameless(engines.body)]
        same(answer, engines)
        assert (row.outcome, row.status, row.stream) == ("completed", 200, True)
        counted(row, call, (AUDIO_TOKENS, 4) if call.endpoint.wire == "audio" else call.usage)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("call", [CHAT, TRANSCRIPTION], ids=lambda call: call.name)
async def test_usage_is_seen_by_who_asks_for_it(tmp_path: Path, call: Call, continuous: bool) -> None:
    options: dict[str, Any] = {"stream_include_usage": True, "stream_continuous_usage_stats": continuous}
    if call.endpoint.wire == "chat":
        options = {"stream_options": {name.removeprefix("stream_"): value for name, value in options.items()}}
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        answer = await through(gateway, key, call, stream=True, **options)
        (row,) = await gateway.rows(1)
        same(answer, await direct(engine, call, row.request_id, stream=True, **options))
        assert b'"completion_tokens":4' in answer.body


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.name)
async def test_a_client_that_leaves_in_the_middle_is_counted(tmp_path: Path, call: Call) -> None:
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        engine.hold()
        engine.step(2)
        async with raw.connect(gateway.url) as client:
            body, kind = call.sent("faq", stream=True)
            await client.send("POST", call.path, body, {"content-type": kind, "x-api-key": key})
            await client.head()
            seen = b""
            while b"Paris" not in seen:
                seen += await client.chunk()
        await engine.wait_for(lambda e: e.aborted == 1 and e.running == 0)
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.status, engine.generated_tokens) == ("client_closed", 499, 2)
        counted(row, call, call.cut)


@pytest.mark.parametrize("kind", ["close", "reset", "error_event"])
@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.name)
async def test_an_engine_that_dies_in_the_middle_is_counted(tmp_path: Path, call: Call, kind: str) -> None:
    before = {"chat": 3, "completions": 2, "responses": 6, "messages": 4, "audio": 2}[call.endpoint.wire]
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        engine.faults.append(Fault(kind, after=before))  # type: ignore[arg-type]
        answer = await through(gateway, key, call, stream=True)
        (row,) = await gateway.rows(1)
        assert (answer.status, answer.whole, row.outcome, row.status) == (200, True, "upstream_failed", 502)
        assert b"Paris" in answer.body
        assert [b"upstream_failed" in event for event in answer.events] == [*[False] * before, True]
        assert b"[DONE]" not in answer.body
        assert b"message_stop" not in answer.body
        counted(row, call, call.cut)
        assert gateway.in_flight() == [0]


async def test_a_comment_keeps_an_idle_stream_alive(tmp_path: Path) -> None:
    async with gateway_of(CHAT, tmp_path, keep_alive_s=0.02) as (engine, gateway, key):
        engine.hold()
        engine.step(1)
        async with raw.connect(gateway.url) as client:
            body, kind = CHAT.sent("faq", stream=True)
            await client.send("POST", CHAT.path, body, {"content-type": kind, "authorization": f"Bearer {key}"})
            answer = await client.head()
            while b": keep-alive\n\n" not in answer.body:
                answer.chunks.append(await client.chunk())
            engine.resume()
            while chunk := await client.chunk():
                answer.chunks.append(chunk)
        (row,) = await gateway.rows(1)
        plain = await direct(engine, CHAT, row.request_id, stream=True)
        assert answer.body.replace(b": keep-alive\n\n", b"") == plain.body
        counted(row, CHAT, (4, 4))


@pytest.mark.parametrize("call", [CHAT, MESSAGE, TRANSCRIPTION], ids=lambda call: call.name)
async def test_the_engine_gets_its_own_name_and_every_other_byte(tmp_path: Path, call: Call) -> None:
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        await through(gateway, key, call)
        (received,) = engine.received(call.path)
        body, kind = call.sent(SERVED)
        assert (received.header("content-type") or "").replace('"', "") == kind
        assert received.body.replace(b" ", b"") == body.replace(b" ", b"")


@pytest.mark.parametrize("call", ENDS, ids=lambda call: call.name)
async def test_a_refused_field_reaches_no_engine(tmp_path: Path, call: Call) -> None:
    async with gateway_of(call, tmp_path) as (engine, gateway, key):
        for name in REFUSED:
            answer = await through(gateway, key, call, **{name: "x"})
            assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
            assert name in answer.json["error"]["message"]
        assert await gateway.rows(0) == engine.received(call.path) == []
