"""How a client sees an error: in the shape that the clients of the API that it asked parse."""

from typing import Literal

import msgspec

from gateway.contracts.errors import RequestError

Dialect = Literal["openai", "responses", "anthropic"]
"""Whose shape an error has: OpenAI's, that of OpenAI's Responses (its own in a stream alone), or Anthropic's."""

_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


def dialect_of(path: str) -> Dialect:
    """The dialect of a path, served or not: whoever asks below Anthropic's reads errors as Anthropic writes them."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    return "responses" if path == "/v1/responses" else "openai"


def envelope(error: RequestError, dialect: Dialect = "openai", request_id: str | None = None) -> bytes:
    """The JSON body of an error, in the shape that the dialect's clients parse. Only Anthropic's names the request."""
    if dialect != "anthropic":
        return msgspec.json.encode(
            {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}
        )
    # Anthropic's clients read type and message, and skip `code`: it tells apart what shares a type.
    told = {"type": _anthropic_type(error), "message": error.message, "code": error.code}
    named = {} if request_id is None else {"request_id": request_id}
    return msgspec.json.encode({"type": "error", "error": told, **named})


def event(
    error: RequestError, dialect: Dialect = "openai", request_id: str | None = None, sequence_number: int = 0
) -> bytes:
    """The server-sent event of an error, after which a stream ends. `sequence_number` is for Responses alone."""
    if dialect == "openai":
        return b"data: " + envelope(error) + b"\n\n"
    if dialect == "anthropic":
        return b"event: error\ndata: " + envelope(error, dialect, request_id) + b"\n\n"
    told = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
    return b"event: error\ndata: " + msgspec.json.encode({**told, "sequence_number": sequence_number}) + b"\n\n"


def _anthropic_type(error: RequestError) -> str:
    """Anthropic's own status for an overload is 529; its clients repeat any status from 500 on, so 503 stays."""
    if error.status == 503 and error.passes:
        return "overloaded_error"
    return _ANTHROPIC.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
