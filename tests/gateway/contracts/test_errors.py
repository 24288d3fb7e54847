"""The error tree: every class has a status and a code; nothing else has one."""

import re

import pytest

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
    RateLimited,
    RequestError,
    TollgateError,
    VerdictError,
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
    "RateLimited": (429, "rate_limit_exceeded", "rate_limit_error"),
    "BudgetExceeded": (429, "budget_exceeded", "insufficient_quota"),
    "BudgetUnavailable": (503, "budget_unavailable", "server_error"),
    "QueueFull": (429, "queue_full", "rate_limit_error"),
    "QueueTimeout": (503, "queue_timeout", "server_error"),
    "ReleaseNotGated": (503, "release_not_gated", "server_error"),
    "UpstreamUnavailable": (503, "upstream_unavailable", "server_error"),
    "UpstreamOverloaded": (503, "upstream_overloaded", "server_error"),
    "UpstreamFailed": (502, "upstream_failed", "server_error"),
    "UpstreamTimeout": (504, "upstream_timeout", "server_error"),
    "LedgerFull": (503, "ledger_full", "server_error"),
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
def test_every_error_says_its_message_and_when_to_ask_again(kind: type[RequestError]) -> None:
    error = kind("expected 'a', found 'b': write 'a'", param="model", retry_after=3)
    assert str(error) == error.message
    assert (error.param, error.retry_after) == ("model", 3)
    assert isinstance(error, TollgateError)
    assert not isinstance(error, InputError)


def test_a_limit_that_can_never_be_met_says_so() -> None:
    assert RateLimited("later", limit="key.requests").passes
    never = RateLimited("never", limit="team.tokens", passes=False)
    assert (never.passes, never.limit, never.retry_after) == (False, "team.tokens", None)
    assert RateLimited.passes


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
