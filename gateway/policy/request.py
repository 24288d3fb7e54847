"""What the gateway reads of a body, and the little that it writes.

Every value passes as the client wrote it, byte for byte (`msgspec.Raw`); only the fields that a release or metering
demands are added or replaced. Of a duplicate key the last one counts, here and in what is forwarded. An audio endpoint
takes a form instead of JSON: `multipart` finds its fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from gateway.config import Release
from gateway.contracts.errors import Dialect, InvalidRequest
from gateway.policy import multipart
from gateway.policy.multipart import Form

Wire = Literal["chat", "completions", "responses", "messages", "count_tokens", "pooling", "audio", "tokenize"]
"""What a body and an answer look like; several paths may share one."""
Value = TypeVar("Value")

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_flag = msgspec.json.Decoder(bool | None).decode
_any = msgspec.json.Decoder(Any).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode

_CONSTRAINED = "vLLM ignores it in silence; use `structured_outputs` or `response_format`"
_MOVED = "the gateway alone moves caches between engines"
REFUSED: dict[str, str] = {
    "kv_transfer_params": _MOVED,
    "ec_transfer_params": _MOVED,
    "priority": "a priority belongs to the key, not to the request",
    "guided_json": _CONSTRAINED,
    "guided_regex": _CONSTRAINED,
    "guided_choice": _CONSTRAINED,
    "guided_grammar": _CONSTRAINED,
    "guided_decoding_backend": _CONSTRAINED,
    "guided_whitespace_pattern": _CONSTRAINED,
}
"""Fields that do not pass, with the reason that the client is told."""
_KEPT = "the gateway keeps no responses; send the whole conversation as `input`"
STATEFUL: dict[str, str] = {
    "background": "the gateway keeps no responses; leave it out and read the answer",
    "previous_response_id": _KEPT,
    "conversation": _KEPT,
    "request_id": "there, vLLM takes it for its own id, and the gateway gives every request one of its own",
}
"""Fields of Responses that do not pass unless they are null or false.

`store` passes: vLLM keeps nothing unless it was started to, and nobody could read it through the gateway. A `request_id`
passes elsewhere: there the gateway's header comes before it.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the data plane, the wire that it speaks, and the dialect of its errors."""

    path: str
    wire: Wire
    streams: bool = False
    dialect: Dialect = "openai"


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("/v1/chat/completions", "chat", streams=True),
        Endpoint("/v1/completions", "completions", streams=True),
        Endpoint("/v1/responses", "responses", streams=True, dialect="responses"),
        Endpoint("/v1/messages", "messages", streams=True, dialect="anthropic"),
        Endpoint("/v1/messages/count_tokens", "count_tokens", dialect="anthropic"),
        *(Endpoint(f"/v1/audio/{task}", "audio", streams=True) for task in ("transcriptions", "translations")),
        *(Endpoint(path, "pooling") for path in ("/v1/embeddings", "/pooling", "/classify", "/v1/score", "/score")),
        *(Endpoint(path, "pooling") for path in ("/v1/rerank", "/v2/rerank", "/rerank")),
        *(Endpoint(path, "tokenize") for path in ("/tokenize", "/detokenize")),
    )
}

_SAME = {"temperature": "temperature", "top_p": "top_p", "seed": "seed"}
_SAMPLING: dict[Wire, dict[str, str]] = {
    "chat": {**_SAME, "max_tokens": "max_tokens", "stop": "stop"},
    "completions": {**_SAME, "max_tokens": "max_tokens", "stop": "stop"},
    "responses": {**_SAME, "max_tokens": "max_output_tokens", "stop": "stop"},
    # Anthropic's API has no seed, and its clients always say how much they want.
    "messages": {"temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences"},
    "audio": {**_SAME, "max_tokens": "max_completion_tokens"},
}
"""A release's sampling and what each wire calls it; what is missing the wire does not have."""


class _Message(msgspec.Struct):
    """The role alone; one that is no text is for the engine to judge."""

    role: Any = None


_message = msgspec.json.Decoder(_Message).decode
_items = msgspec.json.Decoder(list[msgspec.Raw] | None).decode


class Request(msgspec.Struct, frozen=True, gc=False):
    """A parsed body: its fields as raw JSON or as a form, and what was read of them.

    `content_type` goes to the engine with the body. `choices` is how many answers each prompt gets (`n`).
    """

    body: bytes
    endpoint: Endpoint
    model: str
    stream: bool = False
    wants_usage: bool = False
    wants_continuous_usage: bool = False
    choices: int = 1
    content_type: bytes = b"application/json"
    fields: dict[str, msgspec.Raw] = {}
    options: dict[str, msgspec.Raw] = {}
    form: Form | None = None


def parse(body: bytes, endpoint: Endpoint, content_type: bytes | None = None) -> Request:
    """Read a body. Raises InvalidRequest, without repeating what the client wrote."""
    if not body:
        expected = "a form" if endpoint.wire == "audio" else "a JSON object"
        raise InvalidRequest(f"the body is empty: expected {expected}")
    if endpoint.wire == "audio":
        return _parse_form(multipart.parse(body, content_type), endpoint)
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {_without_content(error)}") from error
    _refuse(fields)
    if endpoint.wire == "responses":
        for name, reason in STATEFUL.items():
            if name in fields and bytes(fields[name]) not in (b"null", b"false"):
                raise InvalidRequest(f"the field {name!r} is not taken: {reason}", param=name)
    stream = bool(_read(fields, "stream", _flag, "true or false"))
    _check_stream(endpoint, stream)
    options: dict[str, msgspec.Raw] = {}
    if endpoint.wire in ("chat", "completions"):
        options = _read(fields, "stream_options", _object, "an object") or options
        if options and not stream:
            raise InvalidRequest("`stream_options` go with `stream: true` only", param="stream_options")
    wants = bool(_read(options, "include_usage", _any, "true or false"))
    return Request(
        body=body,
        endpoint=endpoint,
        model=_model(_read(fields, "model", _text, "a string")),
        stream=stream,
        wants_usage=wants,
        wants_continuous_usage=wants and bool(_read(options, "continuous_usage_stats", _any, "true or false")),
        choices=_choices(fields) if stream and endpoint.wire == "completions" else 1,
        fields=fields,
        options=options,
    )


def _parse_form(form: Form, endpoint: Endpoint) -> Request:
    _refuse(form.parts)
    stream = _form_flag(form, "stream")
    _check_stream(endpoint, stream)
    wants, continuous = _form_flag(form, "stream_include_usage"), _form_flag(form, "stream_continuous_usage_stats")
    if (wants or continuous) and not stream:
        raise InvalidRequest("`stream_include_usage` goes with `stream: true` only", param="stream_include_usage")
    return Request(
        body=form.body,
        endpoint=endpoint,
        model=_model(form.text("model")),
        stream=stream,
        wants_usage=wants,
        wants_continuous_usage=wants and continuous,
        content_type=form.content_type,
        form=form,
    )


def _refuse(fields: Mapping[str, Any]) -> None:
    for name, reason in REFUSED.items():
        if name in fields:
            raise InvalidRequest(f"the field {name!r} is not taken: {reason}", param=name)


def _check_stream(endpoint: Endpoint, stream: bool) -> None:
    if stream and not endpoint.streams:
        raise InvalidRequest(f"{endpoint.path} does not stream: leave `stream` out", param="stream")


def _model(name: str | None) -> str:
    if name is None:
        raise InvalidRequest("missing field 'model': GET /v1/models lists them", param="model")
    return name


def _choices(fields: Mapping[str, msgspec.Raw]) -> int:
    """`n`, as leniently as the engine reads it; what is no number is the engine's to refuse."""
    try:
        return max(1, int(_read(fields, "n", _any, "a number") or 1))
    except (TypeError, ValueError, OverflowError):
        return 1


def _form_flag(form: Form, name: str) -> bool:
    """A flag in the words that vLLM takes for one."""
    told = (form.text(name) or "false").lower()
    if told not in ("true", "1", "on", "t", "y", "yes", "false", "0", "off", "f", "n", "no"):
        raise InvalidRequest(f"the field {name!r} should be true or false", param=name)
    return told in ("true", "1", "on", "t", "y", "yes")


def _without_content(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(" - at ")[0]


def _read(
    fields: Mapping[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], Value], expected: str
) -> Value | None:
    raw = fields.get(name)
    return None if raw is None else _typed(raw, name, decode, expected)


def _typed(raw: msgspec.Raw, name: str, decode: Callable[[msgspec.Raw], Value], expected: str) -> Value:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the field {name!r} should be {expected}", param=name) from error


def prepare(request: Request, release: Release, served_model: str) -> bytes:
    """The body to forward: the client's own bytes unless the release or metering demands a change."""
    if request.form is not None:
        return _prepare_form(request, request.form, release, served_model)
    changes: dict[str, Any] = _defaults(request.endpoint.wire, request.fields, release)
    if served_model != request.model:
        changes["model"] = served_model
    if request.stream and request.endpoint.wire in ("chat", "completions") and not request.wants_continuous_usage:
        changes["stream_options"] = {**request.options, "include_usage": True, "continuous_usage_stats": True}
    system = release.manifest.prompt.system
    if system is not None:
        changes.update(_with_system(request, system))
    return _encode({**request.fields, **changes}) if changes else request.body


def _prepare_form(request: Request, form: Form, release: Release, served_model: str) -> bytes:
    filled = _defaults("audio", form.parts, release)
    changes = {name: str(value) for name, value in filled.items()}
    if served_model != request.model:
        changes["model"] = served_model
    if request.stream and not request.wants_continuous_usage:
        changes.update(stream_include_usage="true", stream_continuous_usage_stats="true")
    return form.rewritten(changes) if changes else form.body


def _defaults(wire: Wire, fields: Mapping[str, Any], release: Release) -> dict[str, Any]:
    """The release's sampling for what the request leaves open."""
    sampling, found = release.manifest.sampling, {}
    for ours, theirs in _SAMPLING.get(wire, {}).items():
        value = getattr(sampling, ours)
        if value is not None and theirs not in fields and not (
            theirs == "max_tokens" and "max_completion_tokens" in fields
        ):
            found[theirs] = value
    return found


def _with_system(request: Request, system: str) -> dict[str, Any]:
    """The release's prompt, unless the conversation brings instructions of its own. A count is that of what would
    be asked."""
    fields = request.fields
    match request.endpoint.wire:
        case "chat":
            messages = _read(fields, "messages", _items, "a list of messages")
            # Without messages, the engine's own error says what is missing.
            if messages and not _instructed(messages, "messages"):
                return {"messages": [{"role": "system", "content": system}, *messages]}
        case "messages" | "count_tokens" if "system" not in fields:
            messages = _read(fields, "messages", _items, "a list of messages")
            if messages and not _instructed(messages, "messages"):
                return {"system": system}
        case "responses" if "instructions" not in fields:
            raw = bytes(fields.get("input", b""))
            if not raw.startswith(b"[") or not _instructed(_typed(fields["input"], "input", _items, "a list"), "input"):
                return {"instructions": system}
    return {}
