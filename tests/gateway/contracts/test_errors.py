"""The error tree: every class has a status, a code and an envelope; nothing else has one."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseErrorEvent

from gateway.contracts import errors
from gateway.contracts.errors import (
    REQUEST_ERRORS,
    ContextLengthExceeded,
    DocumentError,
    InputError,
    InvalidRequest,
    ManifestError,
    Mistake,
    PriceMissing,
    RequestError,
    TollgateError,
    VerdictError,
    envelope,
    event,
)

TREE = {
    "InvalidRequest": (400, "invalid_request", "invalid_request_error"),
    "ContextLengthExceeded": (400, "context_length_exceeded", "invalid_request_error"),
    "BodyTooLarge": (413, "body_too_large", "invalid_request_error"),
    "InvalidKey": (401, "invalid_api_key", "authentication_error"),
    "PermissionDenied": (403, "permission_denied", "permission_error"),
    "ModelNotFound": (404, "model_not_found", "invalid_request_error"),
    "RouteNotFound": (404, "unknown_url", "invalid_request_error"),
    "MethodNotAllowed": (405, "method_not_allowed", "invalid_request_error"),
    "ReleaseNotGated": (503, "release_not_gated", "server_error"),
    "UpstreamUnavailable": (503, "upstream_unavailable", "server_error"),
    "UpstreamOverloaded": (503, "upstream_overloaded", "server_error"),
    "UpstreamFailed": (502, "upstream_failed", "server_error"),
    "UpstreamTimeout": (504, "upstream_timeout", "server_error"),
    "GatewayStopping": (503, "gateway_stopping", "server_error"),
    "InternalError": (500, "internal_error", "server_error"),
}


def _below(kind: type[RequestError]) -> set[type[RequestError]]:
    direct = set(kind.__subclasses__())
    return direct.union(*map(_below, direct))


def test_the_tree_is_complete() -> None:
    found = {kind.__name__: (kind.status, kind.code, kind.kind) for kind in REQUEST_ERRORS}
    assert {name: found.get(name) for name in TREE} == TREE
    assert set(REQUEST_ERRORS) == {kind for kind in _below(RequestError) if kind.__module__ == errors.__name__}
    assert len(set(REQUEST_ERRORS)) == len(REQUEST_ERRORS)


def test_codes_are_unique_and_in_one_form() -> None:
    codes = [kind.code for kind in REQUEST_ERRORS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z][a-z_]*[a-z]", code) for code in codes)


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.code)
def test_the_docstring_draws_every_error_with_its_status_and_code(kind: type[RequestError]) -> None:
    drawn = next(line for line in (errors.__doc__ or "").splitlines() if re.search(rf"─ {kind.__name__}\b", line))
    assert drawn.endswith(kind.code)
    # A subclass stands under its parent, and repeats no status that it shares.
    assert str(kind.status) in drawn or any(kind.status == base.status for base in kind.__bases__)


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
    assert str(error) == error.message
    assert error.retry_after == 3
    assert isinstance(error, TollgateError)
    assert not isinstance(error, InputError)


def test_param_is_null_when_no_field_is_at_fault() -> None:
    assert json.loads(envelope(InvalidRequest("no")))["error"]["param"] is None


@given(message=st.text(st.characters(exclude_categories=["Cs"])), param=st.none() | st.text(max_size=20))
def test_any_message_survives_the_envelope(message: str, param: str | None) -> None:
    inner = json.loads(envelope(InvalidRequest(message, param=param)))["error"]
    assert (inner["message"], inner["param"]) == (message, param)


def test_a_context_error_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest):
        raise ContextLengthExceeded("too long")


@pytest.mark.parametrize("kind", [DocumentError, PriceMissing, ManifestError, VerdictError])
def test_an_operators_error_is_never_answered_to_a_client(kind: type[Exception]) -> None:
    assert issubclass(kind, InputError)
    assert not issubclass(kind, RequestError)


def test_a_document_error_names_the_file_and_every_mistake() -> None:
    error = DocumentError("a.yaml", [Mistake(3, "models.faq", "unknown key"), Mistake(1, "", "empty")])
    assert str(error) == "a.yaml: line 3, models.faq: unknown key\na.yaml: line 1: empty"
    assert [mistake.line for mistake in error.mistakes] == [3, 1]
    assert error.path == "a.yaml"


def test_a_verdict_error_carries_details_for_the_reader() -> None:
    assert VerdictError("no", found="a").details == {"found": "a"}


ANTHROPIC = {
    "invalid_request": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "body_too_large": "request_too_large",
    "invalid_api_key": "authentication_error",
    "permission_denied": "permission_error",
    "model_not_found": "not_found_error",
    "unknown_url": "not_found_error",
    "method_not_allowed": "invalid_request_error",
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
