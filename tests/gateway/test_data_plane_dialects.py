"""Errors in the shape that the clients of each API parse: as a status, and as the last event of a stream."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Limits, Timeouts
from tests.engine import raw
from tests.engine.simulator import Fault
from tests.gateway.calls import CHAT, COMPLETION, ENDS, MESSAGE, RESPONSE, SERVED, STREAMS, TRANSCRIPTION, Call
from tests.gateway.serving import Gateway, deployment, make_key, serving

COUNT = next(call for call in ENDS if call.name == "count_tokens")
TOLD = [CHAT, COMPLETION, RESPONSE, MESSAGE, COUNT, TRANSCRIPTION]
TOO_LONG = "This model's maximum context length is 2 tokens. However, your prompt contains at least 3 input tokens"
UNKNOWN_KEY = "sk-tg-000000000000-" + "0" * 48
ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's type of each status."""


def told(answer: raw.Answer, call: Call, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, whose envelope is that of the call's API."""
    assert (answer.status, answer.header("content-type")) == (status, "application/json")
    body = answer.json
    error: dict[str, Any] = body["error"]
    assert error["code"] == code
    if call.endpoint.dialect == "anthropic":
        assert list(body) == ["type", "error", "request_id"]
        assert body["request_id"] == answer.header("x-tollgate-request-id")
        assert (body["type"], error["type"]) == ("error", ANTHROPIC[status])
    else:
        assert list(body) == ["error"]
        assert list(error) == ["message", "type", "param", "code"]
    return error


async def ask(gateway: Gateway, call: Call, key: str | None, model: str = "faq", **fields: Any) -> raw.Answer:
    """One request."""
    body, kind = call.sent(model, **fields)
    headers = {"content-type": kind} | ({} if key is None else {"x-api-key": key})
    return await raw.post(gateway.url, call.path, body, headers)


@pytest.mark.parametrize("call", TOLD, ids=lambda call: call.name)
async def test_what_the_gateway_refuses(tmp_path: Path, call: Call) -> None:
    limits = Limits(max_body_bytes=2048)
    async with call.served() as engine:
        deployed = deployment({"main": [engine.url]}, served_model=SERVED, limits=limits)
        async with serving(deployed, tmp_path) as (gateway, key, _):
            other = make_key(gateway.stores, models=["another"])
            gateway.app.state.refresh()
            told(await ask(gateway, call, None), call, 401, "invalid_api_key")
            told(await ask(gateway, call, UNKNOWN_KEY), call, 401, "invalid_api_key")
            told(await ask(gateway, call, key, "faq@1"), call, 403, "permission_denied")
            unknown = told(await ask(gateway, call, key, "nope"), call, 404, "model_not_found")
            assert "'faq'" in unknown["message"]
            told(await ask(gateway, call, other), call, 403, "permission_denied")
            told(await ask(gateway, call, key, user="x" * 4096), call, 413, "body_too_large")
            headers = {"authorization": f"Bearer {key}"}
            read = await raw.exchange(gateway.url, "GET", call.path, headers=headers)
            told(read, call, 405, "method_not_allowed")
            assert read.header("allow") == "POST"
            for broken in (b"", b"{", b"[]", b"\xff"):
                told(await raw.post(gateway.url, call.path, broken, headers), call, 400, "invalid_request")
            assert await gateway.rows(0) == engine.requests == []


@pytest.mark.parametrize("call", [each for each in TOLD if each is not COUNT], ids=lambda call: call.name)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_engine_refuses(tmp_path: Path, call: Call, stream: bool) -> None:
    cases: list[tuple[Fault, int, str]] = [
        (Fault("close"), 502, "upstream_failed"),
        (Fault("error", status=400, message="no such choice"), 400, "invalid_request"),
        (Fault("error", status=400, message=TOO_LONG), 400, "context_length_exceeded"),
        (Fault("error_200_flat", message="no such choice"), 400, "invalid_request"),
        (Fault("refuse"), 503, "upstream_overloaded"),
        (Fault("error", status=500), 502, "upstream_failed"),
    ]
    async with call.served() as engine, serving(
        deployment({"main": [engine.url]}, served_model=SERVED), tmp_path
    ) as (gateway, key, _):  # fmt: skip
        for fault, status, code in cases:
            engine.faults.append(fault)
            answer = await ask(gateway, call, key, stream=stream)
            error = told(answer, call, status, code)
            assert fault.message in error["message"]
            assert answer.header("retry-after") == ("1" if status in (502, 503) else None)
        rows = await gateway.rows(len(cases))
        assert {(row.outcome, row.status) for row in rows} == {(code, status) for _, status, code in cases}
        assert {row.cost for row in rows} == {None}


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.name)
async def test_no_first_token_in_time(tmp_path: Path, call: Call) -> None:
    async with call.served() as engine:
        deployed = deployment({"main": [engine.url]}, served_model=SERVED, timeouts=Timeouts(first_byte=0.1))
        async with serving(deployed, tmp_path) as (gateway, key, _):
            engine.faults.append(Fault("stall"))
            told(await ask(gateway, call, key, stream=True), call, 504, "upstream_timeout")


@pytest.mark.parametrize("kind", ["close", "error_event", "garbage_json"])
@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.name)
async def test_in_a_stream_it_is_the_last_event(tmp_path: Path, call: Call, kind: str) -> None:
    before = {"chat": 3, "completions": 2, "responses": 6, "messages": 4, "audio": 2}[call.endpoint.wire]
    async with call.served() as engine, serving(
        deployment({"main": [engine.url]}, served_model=SERVED), tmp_path
    ) as (gateway, key, _):  # fmt: skip
        engine.faults.append(Fault(kind, after=before))  # type: ignore[arg-type]
        answer = await ask(gateway, call, key, stream=True)
        name, _, data = answer.events[-1].rpartition(b"data: ")
        event = json.loads(data)
        if call.endpoint.dialect == "responses":
            assert name == b"event: error\n"
            assert list(event) == ["type", "code", "message", "param", "sequence_number"]
            assert (event["type"], event["code"]) == ("error", "upstream_failed")
            earlier = [json.loads(each.partition(b"data: ")[2])["sequence_number"] for each in answer.events[:-1]]
            assert [*earlier, event["sequence_number"]] == list(range(before + 1))
        elif call.endpoint.dialect == "anthropic":
            assert name == b"event: error\n"
            assert (event["type"], event["error"]["type"]) == ("error", "api_error")
            assert event["request_id"] == answer.header("x-tollgate-request-id")
        else:
            assert name == b""
            assert (list(event), event["error"]["code"]) == (["error"], "upstream_failed")
