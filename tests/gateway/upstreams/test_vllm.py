"""vLLM's wire: the exact request, and every recorded error in OpenAI's words."""

import json
from typing import Any

import pytest

from gateway.config import PoolConfig
from gateway.contracts.envelopes import envelope
from gateway.contracts.errors import RequestError, UpstreamFailed, UpstreamOverloaded
from gateway.policy.endpoints import ENDPOINTS
from gateway.settings.health import Health
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import RETRYABLE, Replica, fetch, replicas_of, translate, translate_error, whole_body
from tests.engine import recordings
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import SECONDS, says, server

ERRORS: dict[str, tuple[int, str, str | None]] = {
    "chat_engine_dead": (502, "upstream_failed", None),
    "chat_on_pooling": (400, "invalid_request", None),
    "chat_on_whisper": (400, "invalid_request", None),
    "chat_structured_outputs_err": (400, "invalid_request", None),
    "classify_on_embed": (400, "invalid_request", None),
    "completion_on_whisper": (400, "invalid_request", None),
    "embeddings_err_bad_model": (502, "upstream_failed", None),
    "embeddings_err_too_long": (400, "context_length_exceeded", "input_tokens"),
    "embeddings_on_generative": (400, "invalid_request", None),
    "err_404": (400, "invalid_request", None),
    "err_405": (502, "upstream_failed", None),
    "err_bad_model": (502, "upstream_failed", "model"),
    "err_empty_body": (400, "invalid_request", "body"),
    "err_empty_messages": (400, "invalid_request", None),
    "err_invalid_json": (400, "invalid_request", "body.31"),
    "err_max_tokens_negative": (400, "invalid_request", "max_tokens"),
    "err_max_tokens_too_big": (400, "context_length_exceeded", "max_tokens"),
    "err_max_tokens_zero": (400, "invalid_request", "max_tokens"),
    "err_n_zero": (400, "invalid_request", None),
    "err_no_messages": (400, "invalid_request", "body.messages"),
    "err_not_utf8": (400, "invalid_request", None),
    "err_not_utf8_responses": (400, "invalid_request", None),
    "err_pooling_on_generative": (400, "invalid_request", None),
    "err_queue_full": (503, "upstream_overloaded", None),
    "err_queue_full_messages": (503, "upstream_overloaded", None),
    "err_queue_full_responses": (503, "upstream_overloaded", None),
    "err_queue_full_stream": (503, "upstream_overloaded", None),
    "err_score_on_generative": (400, "invalid_request", None),
    "err_stream_options_without_stream": (400, "invalid_request", "stream_options"),
    "err_stream_too_long": (400, "context_length_exceeded", "input_tokens"),
    "err_temperature_negative": (400, "invalid_request", "temperature"),
    "err_temperature_string": (400, "invalid_request", "body.temperature"),
    "err_too_long": (400, "context_length_exceeded", "input_tokens"),
    "err_top_p": (400, "invalid_request", "top_p"),
    "err_transcription_on_generative": (400, "invalid_request", None),
    "err_unauthorized": (502, "upstream_failed", None),
    "err_unauthorized_rerank": (502, "upstream_failed", None),
    "err_wrong_content_type": (400, "invalid_request", None),
    "messages_count_tokens_err_bad_model": (502, "upstream_failed", None),
    "messages_engine_dead": (502, "upstream_failed", None),
    "messages_err_bad_model": (502, "upstream_failed", None),
    "messages_err_invalid_json": (400, "invalid_request", "body.10"),
    "messages_err_no_max_tokens": (400, "invalid_request", "body.max_tokens"),
    "messages_err_too_long": (400, "context_length_exceeded", None),
    "messages_on_pooling": (400, "invalid_request", None),
    "model_retrieve": (400, "invalid_request", None),
    "rerank_err_multimodal": (400, "invalid_request", None),
    "responses_engine_dead": (502, "upstream_failed", None),
    "responses_err_bad_model": (502, "upstream_failed", "model"),
    "responses_err_no_input": (400, "invalid_request", "body.input"),
    "responses_err_previous": (502, "upstream_failed", "response_id"),
    "responses_err_stream_too_long": (400, "context_length_exceeded", "input_tokens"),
    "responses_retrieve_err": (502, "upstream_failed", "response_id"),
    "score_err_mismatch": (400, "invalid_request", None),
    "score_on_classify": (400, "invalid_request", None),
    "tokenize_err_bad_model": (502, "upstream_failed", "model"),
    "transcription_err_bad_model": (502, "upstream_failed", "model"),
    "transcription_err_json": (400, "invalid_request", "body.file"),
    "transcription_err_no_file": (400, "invalid_request", "body.file"),
    "transcription_err_stream_options": (400, "invalid_request", "stream_include_usage"),
}


def _replica(url: str = "http://10.0.0.7:8000", api_key: str | None = None) -> Replica:
    return Replica("r1", url, api_key=api_key, connect_s=SECONDS)


def _seen(error: RequestError) -> tuple[int, str, str | None]:
    return error.status, error.code, error.param


@pytest.mark.parametrize("name", ERRORS)
def test_a_recorded_error_becomes_openais(name: str) -> None:
    recording = recordings.load(name)
    error = translate(recording.status, recording.body, 7)
    assert _seen(error) == ERRORS[name]
    assert error.retry_after == (7 if recording.status == 503 else None)
    told = json.loads(recording.body)
    reason = told["error"] if "error" in told else told["detail"]
    assert (reason["message"] if isinstance(reason, dict) else reason) in error.message
    assert json.loads(envelope(error))["error"]["code"] == error.code


def test_every_recorded_error_is_tried_here() -> None:
    failed = {path.stem for path in recordings.SAMPLES.glob("*.txt") if recordings.load(path.stem).status >= 400}
    assert failed == set(ERRORS)


@pytest.mark.parametrize("status", [429, 503])
def test_an_engine_that_sheds_load_says_when_to_come_back(status: int) -> None:
    error = translate(status, b'{"error":{"message":"busy"}}', 7)
    assert isinstance(error, UpstreamOverloaded)
    assert (error.status, error.retry_after) == (503, 7)
    assert "busy" in error.message


@pytest.mark.parametrize("status", [401, 403, 404, 405, 418, 500, 501, 502, 504, 301, 200])
def test_the_engines_own_failures_are_the_gateways(status: int) -> None:
    assert _seen(translate(status, b'{"error":{"message":"m"}}', 7)) == (502, "upstream_failed", None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b"1", b'{"error":{}}', b'{"error":null}', b"{}"])
def test_a_body_that_says_nothing_is_told_by_its_status(body: bytes) -> None:
    assert "500" in translate(500, body, 7).message


def test_a_body_of_any_depth_is_translated() -> None:
    assert translate(500, b'{"a":' + b"[" * 100_000, 7).status == 502


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "m", "code": 400}, (400, "invalid_request", None)),
        ({"message": "m", "code": 400, "param": "n"}, (400, "invalid_request", "n")),
        ({"message": "m", "code": 503}, (503, "upstream_overloaded", None)),
        ({"message": "m", "code": 500}, (502, "upstream_failed", None)),
        ({"message": "m", "code": "400"}, (502, "upstream_failed", None)),
        ({"message": ["m"], "code": None, "param": 5}, (502, "upstream_failed", None)),
        ({"message": "exceeds the maximum context length", "code": 400}, (400, "context_length_exceeded", None)),
    ],
)
def test_an_error_with_status_200_has_the_status_of_its_code(
    error: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    assert _seen(translate_error(200, error, 7)) == expected


def test_a_text_in_place_of_an_error_object_is_the_message() -> None:
    assert translate(400, b'{"error":"no such thing"}', 7).message == "no such thing"


def test_another_replica_may_do_better_only_where_the_request_is_not_at_fault() -> None:
    assert not RETRYABLE & {200, 400, 401, 403, 404, 413, 422}


def test_a_request_is_exactly_these_bytes() -> None:
    replica = _replica("https://engines.example/a/", "secret")
    assert replica.request("/v1/completions", b'{"x":1}', b"application/json", "tg-1") == (
        b"POST /a/v1/completions HTTP/1.1\r\n"
        b"host: engines.example\r\n"
        b"authorization: Bearer secret\r\n"
        b"content-type: application/json\r\n"
        b"x-request-id: tg-1\r\n"
        b"content-length: 7\r\n"
        b"\r\n"
        b'{"x":1}'
    )


def test_without_a_key_there_is_no_authorization() -> None:
    assert b"authorization" not in _replica().request("/v1/completions", b"", b"application/json", "tg-1")
    assert _replica().query("/health") == (b"GET /health HTTP/1.1\r\nhost: 10.0.0.7:8000\r\n\r\n")


def test_law_3_in_flight_returns_to_zero() -> None:
    replica = _replica()

    def fails() -> None:
        with replica, replica:
            assert replica.in_flight == 2
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert replica.in_flight == 0


async def test_the_engine_gets_what_was_sent_and_nothing_else() -> None:
    async with Engine(api_key="secret") as engine:
        replica = _replica(engine.url, "secret")
        body = b'{"model":"faq", "prompt" : "a"}'
        connection = replica.begin(ENDPOINTS["/v1/completions"], body, b"application/json", "tg-1")
        assert await connection.head(SECONDS) == 200
        assert json.loads(await whole_body(connection, lambda: SECONDS, 10_000))["id"] == "cmpl-tg-1"
        replica.end(connection)
        replica.close()
        (received,) = engine.received("/v1/completions")
        assert received.body == body
        names = [name for name, _ in received.headers]
        assert names == ["host", "authorization", "content-type", "x-request-id", "content-length"]


async def test_fetch_reads_a_page() -> None:
    async with Engine(api_key="secret") as engine:
        assert (await fetch(_replica(engine.url), "/v1/models", SECONDS))[0] == 401
        status, body = await fetch(_replica(engine.url, "secret"), "/v1/models", SECONDS)
        assert (status, json.loads(body)["data"][0]["id"]) == (200, "faq")


async def test_fetching_again_and_again_does_not_pile_up_connections() -> None:
    async with Engine() as engine:
        replica = _replica(engine.url)
        for _ in range(5):
            assert await fetch(replica, "/health", SECONDS) == (200, b"")
        await engine.wait_for(lambda e: len(e.connections) <= 1, 1.0)
        replica.pool.close_all()


async def test_an_answer_is_bounded() -> None:
    body = bytes(1000)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + body
    async with server(says(answer, stay=True)) as url:
        replica = _replica(url)
        assert await fetch(replica, "/", SECONDS, limit=1000) == (200, body)
        with pytest.raises(UpstreamFailed, match="999"):
            await fetch(replica, "/", SECONDS, limit=999)
        replica.pool.close_all()


async def test_fetch_gives_up() -> None:
    async with Engine() as engine:
        engine.faults.append(Fault("stall", path="/health"))
        with pytest.raises(ExchangeError) as caught:
            await fetch(_replica(engine.url), "/health", 0.005)
        assert caught.value.timeout
        await engine.wait_for(lambda e: not e.connections)


def test_replicas_as_a_pool_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", "secret")
    engines = [
        {"url": "http://10.0.0.7:8000"},
        {"url": "http://10.0.0.8:8000", "name": "second", "drain": True, "api_key": {"env": "ENGINE_KEY"}},
    ]
    health = Health(slow_start=3)
    one, two = replicas_of("main", PoolConfig.model_validate({"replicas": engines}), connect_s=1.0, health=health)
    assert [(each.name, each.url) for each in (one, two)] == [
        ("main-0", "http://10.0.0.7:8000"), ("second", "http://10.0.0.8:8000"),
    ]  # fmt: skip
    assert (one.vitals.accepts, two.vitals.accepts) == (True, False)
    assert one.vitals.settings is two.vitals.settings is health
    assert one.breaker is one.vitals.breaker
    assert b"authorization" not in one.query("/health")
    assert b"authorization: Bearer secret" in two.query("/health")
