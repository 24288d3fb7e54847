"""Every error has the envelope of its dialect, and keeps its code in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseErrorEvent

from gateway.contracts.envelopes import dialect_of, envelope, event
from gateway.contracts.errors import REQUEST_ERRORS, InvalidRequest, RequestError


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.code)
def test_every_error_has_openais_envelope(kind: type[RequestError]) -> None:
    error = kind("expected 'a', found 'b': write 'a'", param="model", retry_after=3)
    assert json.loads(envelope(error)) == {
        "error": {
            "message": "expected 'a', found 'b': write 'a'",
            "type": kind.kind,
            "param": "model",
            "code": kind.code,
        }
    }


def test_param_is_null_when_no_field_is_at_fault() -> None:
    assert json.loads(envelope(InvalidRequest("no")))["error"]["param"] is None


@given(message=st.text(st.characters(exclude_categories=["Cs"])), param=st.none() | st.text(max_size=20))
def test_any_message_survives_the_envelope(message: str, param: str | None) -> None:
    inner = json.loads(envelope(InvalidRequest(message, param=param)))["error"]
    assert (inner["message"], inner["param"]) == (message, param)


ANTHROPIC = {
    "invalid_request": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "body_too_large": "request_too_large",
    "invalid_api_key": "authentication_error",
    "permission_denied": "permission_error",
    "model_not_found": "not_found_error",
    "unknown_url": "not_found_error",
    "method_not_allowed": "invalid_request_error",
    "rate_limit_exceeded": "rate_limit_error",
    "queue_full": "rate_limit_error",
    "queue_timeout": "overloaded_error",
    "release_not_gated": "api_error",
    "upstream_unavailable": "overloaded_error",
    "upstream_overloaded": "overloaded_error",
    "upstream_failed": "api_error",
    "upstream_timeout": "timeout_error",
    "gateway_stopping": "overloaded_error",
    "internal_error": "api_error",
}


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.code)
def test_every_error_has_anthropics_envelope_and_keeps_its_code(kind: type[RequestError]) -> None:
    error = kind("no")
    told = {"type": "error", "error": {"type": ANTHROPIC.get(kind.code), "message": "no", "code": kind.code}}
    if kind.code in ANTHROPIC:
        assert json.loads(envelope(error, "anthropic")) == told
    assert json.loads(envelope(error, "anthropic", "id-1"))["request_id"] == "id-1"


def test_whoever_asks_below_anthropics_path_reads_anthropics_errors() -> None:
    for path in ("/v1/messages", "/v1/messages/", "/v1/messages/batches", "/v1/messages/batches/1/results"):
        assert dialect_of(path) == "anthropic"
    for path in ("", "*", "/", "/v1/messagesx", "/x/v1/messages", "/v1/chat/completions", "/v1/responses/1"):
        assert dialect_of(path) == "openai"
    assert dialect_of("/v1/responses") == "responses"


def test_a_response_that_fails_whole_fails_as_openais() -> None:
    assert envelope(InvalidRequest("no"), "responses", "id-1") == envelope(InvalidRequest("no"))


def test_an_error_in_a_stream_is_one_event_of_its_dialect() -> None:
    error = InvalidRequest('a "quoted"\nline', param="model")
    assert event(error) == b"data: " + envelope(error) + b"\n\n"
    assert event(error, "anthropic", "id-1") == b"event: error\ndata: " + envelope(error, "anthropic", "id-1") + b"\n\n"
    name, data, end = event(error, "responses", sequence_number=7).split(b"\n", 2)
    assert (name, end) == (b"event: error", b"\n")
    read = ResponseErrorEvent.model_validate_json(data.removeprefix(b"data: "))
    assert (read.code, read.message, read.param, read.sequence_number) == (error.code, error.message, "model", 7)
