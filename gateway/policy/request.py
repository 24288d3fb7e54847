"""What the gateway reads of a body, and the little that it writes.

Every value passes as the client wrote it, byte for byte (`msgspec.Raw`); only the fields that a release or metering
demands are added or replaced. Of a duplicate key the last one counts, here and in what is forwarded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.config import Release
from gateway.contracts.errors import InvalidRequest

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

REFUSED: dict[str, str] = {
    "kv_transfer_params": "the gateway alone moves caches between engines",
    "priority": "a priority belongs to the key, not to the request",
    "guided_json": "vLLM ignores it in silence; use `structured_outputs` or `response_format`",
    "guided_regex": "vLLM ignores it in silence; use `structured_outputs`",
    "guided_choice": "vLLM ignores it in silence; use `structured_outputs`",
    "guided_grammar": "vLLM ignores it in silence; use `structured_outputs`",
}
"""Fields that do not pass, with the reason that the client is told."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the data plane. `chat` endpoints take messages; `generates` ones take sampling defaults."""

    path: str
    chat: bool = False
    generates: bool = True


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("/v1/chat/completions", chat=True),
        Endpoint("/v1/completions"),
        Endpoint("/v1/embeddings", generates=False),
    )
}


class _Message(msgspec.Struct):
    """The role alone; one that is no text is for the engine to judge."""

    role: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed body: its fields as raw JSON, and what was read of them."""

    body: bytes
    fields: dict[str, msgspec.Raw]
    endpoint: Endpoint
    model: str
    stream: bool
    wants_usage: bool
    wants_continuous_usage: bool


def parse(body: bytes, endpoint: Endpoint) -> Request:
    """Read a body. Raises InvalidRequest, without repeating what the client wrote."""
    if not body:
        raise InvalidRequest("the body is empty: expected a JSON object")
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {_without_content(error)}") from error
    for name, reason in REFUSED.items():
        if name in fields:
            raise InvalidRequest(f"the field {name!r} is not taken: {reason}", param=name)
    stream = bool(_read(fields, "stream", bool | None, "true or false"))
    if stream and not endpoint.generates:
        raise InvalidRequest(f"{endpoint.path} does not stream: leave `stream` out", param="stream")
    options = _read(fields, "stream_options", dict[str, Any] | None, "an object") or {}
    if options and not stream:
        raise InvalidRequest("`stream_options` go with `stream: true` only", param="stream_options")
    return Request(
        body=body,
        fields=fields,
        endpoint=endpoint,
        model=_model(fields),
        stream=stream,
        wants_usage=bool(options.get("include_usage")),
        wants_continuous_usage=bool(options.get("include_usage") and options.get("continuous_usage_stats")),
    )


def _without_content(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(" - at ")[0]


def _model(fields: Mapping[str, msgspec.Raw]) -> str:
    if "model" not in fields:
        raise InvalidRequest("missing field 'model': GET /v1/models lists them", param="model")
    return str(_read(fields, "model", str, "a string"))


def _read(fields: Mapping[str, msgspec.Raw], name: str, kind: Any, expected: str) -> Any:
    return None if name not in fields else _typed(fields[name], name, kind, expected)


def _typed(raw: msgspec.Raw, name: str, kind: Any, expected: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the field {name!r} should be {expected}", param=name) from error


def prepare(request: Request, release: Release, served_model: str) -> bytes:
    """The body to forward: the client's own bytes unless the release or metering demands a change."""
    changes: dict[str, Any] = {}
    if served_model != request.model:
        changes["model"] = served_model
    if request.stream and not request.wants_continuous_usage:
        options = _read(request.fields, "stream_options", dict[str, msgspec.Raw] | None, "an object") or {}
        changes["stream_options"] = {**options, "include_usage": True, "continuous_usage_stats": True}
    if request.endpoint.generates:
        changes.update(_defaults(request.fields, release))
    if request.endpoint.chat and release.manifest.prompt.system is not None:
        changes.update(_with_system(request.fields, release.manifest.prompt.system))
    return _encode({**request.fields, **changes}) if changes else request.body


def _defaults(fields: Mapping[str, msgspec.Raw], release: Release) -> dict[str, Any]:
    """The release's sampling for what the request leaves open."""
    taken = set(fields)
    if "max_completion_tokens" in taken:
        taken.add("max_tokens")
    return {name: value for name, value in release.manifest.sampling.defaults().items() if name not in taken}


def _with_system(fields: Mapping[str, msgspec.Raw], system: str) -> dict[str, Any]:
    messages = _read(fields, "messages", list[msgspec.Raw] | None, "a list of messages")
    if not messages:
        return {}  # the engine's own error says what is missing
    roles = [_typed(raw, "messages", _Message, "a list of messages").role for raw in messages]
    if "system" in roles or "developer" in roles:
        return {}
    return {"messages": [{"role": "system", "content": system}, *messages]}
