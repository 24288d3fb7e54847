"""What the gateway reads of a body, and the little that it writes.

Every value passes as the client wrote it, byte for byte (`msgspec.Raw`); only the fields that a release or metering
demands are added or replaced. Of a duplicate key the last one counts, here and in what is forwarded. Audio comes as a
form instead of JSON: `multipart` finds its fields.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.config import Release
from gateway.contracts.errors import InvalidRequest
from gateway.policy import counts, multipart, shapes
from gateway.policy.endpoints import Endpoint, Wire
from gateway.policy.multipart import Form
from gateway.policy.shapes import Request

Value = TypeVar("Value")

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
    "structural_tag": "vLLM ignores it in silence; use `structured_outputs.structural_tag` or "
    "`response_format` with `type: structural_tag`",
}
"""Fields that do not pass, with the reason that the client is told."""
MOST_FIELDS = 1024
"""Of an object that is kept while its request runs: each takes many times its bytes, and no API has a tenth as many."""
EXTRAS = "vllm_xargs"
MOVING = frozenset(name for name, reason in REFUSED.items() if reason == _MOVED)
"""Those that do not pass among vLLM's extra arguments either: there it takes them for the fields of these names."""

_KEPT = "the gateway keeps no responses; send the whole conversation as `input`"
STATEFUL: dict[str, str] = {
    "background": "the gateway keeps no responses; leave it out and wait for the answer",
    "previous_response_id": _KEPT,
    "conversation": _KEPT,
    "request_id": "the engine would take it for its own id, and the gateway gives every request one",
}
"""Fields of Responses that do not pass unless they are null or false.

`store` passes: vLLM keeps nothing unless it was started to, and nobody could read it through the gateway. A
`request_id` passes on every other wire, since there the header that the gateway sends comes before it.
"""

_SAME = {"temperature": "temperature", "top_p": "top_p", "seed": "seed"}
_SAMPLING: dict[Wire, dict[str, str]] = {
    "chat": {**_SAME, "max_tokens": "max_tokens", "stop": "stop"},
    "completions": {**_SAME, "max_tokens": "max_tokens", "stop": "stop"},
    "responses": {**_SAME, "max_tokens": "max_output_tokens", "stop": "stop"},
    # Anthropic's API has no seed, and demands `max_tokens` of its clients.
    "messages": {"temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences"},
    "audio": {**_SAME, "max_tokens": "max_completion_tokens"},
}
"""A release's sampling, and what each wire calls it."""
_COUNTED_IN_EVERY_CHUNK = {"include_usage": True, "continuous_usage_stats": True}


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_flag = msgspec.json.Decoder(bool | None).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_list = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_encode = msgspec.json.Encoder().encode


def parse(body: bytes, endpoint: Endpoint, content_type: bytes | None = None) -> Request:
    """Read a body. Raises InvalidRequest, without repeating what the client wrote."""
    if endpoint.wire == "audio":
        return _parse_form(multipart.parse(body, content_type), endpoint)
    if not body:
        raise InvalidRequest("the body is empty: expected a JSON object")
    try:
        fields = _fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {_without_content(error)}") from error
    _few(fields, "the body")
    _refuse(fields)
    if EXTRAS in fields:
        _refuse_extras(fields[EXTRAS])
    counts.check(fields)
    choices, limit = counts.choices(fields), counts.stated(fields, endpoint.wire)
    if limit and (choices != 1 or endpoint.wire == "completions" or "best_of" in fields):
        counts.check_product(fields, endpoint.wire, limit)
    if endpoint.wire == "responses":
        _refuse_state(fields)
    stream = _streams(endpoint, bool(_read(fields, "stream", _flag, "true or false")))
    options: dict[str, msgspec.Raw] | None = None
    if "stream_options" in fields and endpoint.wire in ("chat", "completions"):
        options = _read(fields, "stream_options", _object, "an object")
    if options and not stream:
        raise InvalidRequest("`stream_options` go with `stream: true` only", param="stream_options")
    _few(options or {}, "`stream_options`")
    usage, continuous = _usage_options(options) if options else (False, False)
    return Request(
        body=body,
        endpoint=endpoint,
        model=_named(_read(fields, "model", _text, "a string")),
        stream=stream,
        wants_usage=usage,
        wants_continuous_usage=usage and continuous,
        choices=choices,
        limit=limit,
        fields=fields,
        stream_options=options or {},
    )


def _usage_options(options: Mapping[str, msgspec.Raw]) -> tuple[bool, bool]:
    """(include_usage, continuous_usage_stats). No words: vLLM takes "no" for false, and would leave usage untold."""
    usage, continuous = (
        name in options and bool(_typed(options[name], f"stream_options.{name}", _flag, "true or false"))
        for name in _COUNTED_IN_EVERY_CHUNK
    )
    return usage, continuous


def _parse_form(form: Form, endpoint: Endpoint) -> Request:
    _refuse(form.parts)
    if (extras := form.text(EXTRAS)) is not None:
        _refuse_extras(msgspec.Raw(extras.strip().encode()))
    counts.check_form(form)
    stream = _streams(endpoint, _form_flag(form, "stream"))
    usage, continuous = _form_flag(form, "stream_include_usage"), _form_flag(form, "stream_continuous_usage_stats")
    if (usage or continuous) and not stream:
        name = "stream_include_usage" if usage else "stream_continuous_usage_stats"
        raise InvalidRequest(f"{name!r} goes with `stream` only", param=name)
    return Request(
        body=form.body,
        endpoint=endpoint,
        model=_named(form.text("model")),
        stream=stream,
        wants_usage=usage,
        wants_continuous_usage=usage and continuous,
        choices=counts.beams(form) if _form_flag(form, "use_beam_search") else 1,
        limit=counts.stated_in_form(form),
        content_type=form.content_type,
        form=form,
    )


def _few(fields: Mapping[str, msgspec.Raw], where: str) -> None:
    if len(fields) > MOST_FIELDS:
        raise InvalidRequest(f"expected at most {MOST_FIELDS} fields in {where}, found {len(fields)}")


def _refuse(fields: Mapping[str, Any]) -> None:
    if not REFUSED.keys().isdisjoint(fields):
        name = next(name for name in REFUSED if name in fields)
        raise InvalidRequest(f"the field {name!r} is not taken: {REFUSED[name]}", param=name)


def _refuse_extras(told: msgspec.Raw) -> None:
    """What is no object holds no names, and is the engine's to judge."""
    extras = _typed(told, EXTRAS, _object, "an object") if bytes(told).startswith(b"{") else None
    if extras and not MOVING.isdisjoint(extras):
        name = min(MOVING.intersection(extras))
        raise InvalidRequest(f"{name!r} is not taken in {EXTRAS!r} either: {_MOVED}", param=EXTRAS)


def _refuse_state(fields: Mapping[str, msgspec.Raw]) -> None:
    for name, reason in STATEFUL.items():
        if name in fields and bytes(fields[name]) not in (b"null", b"false"):
            raise InvalidRequest(f"the field {name!r} is not taken: {reason}", param=name)


def _streams(endpoint: Endpoint, stream: bool) -> bool:
    if stream and not endpoint.streams:
        raise InvalidRequest(f"{endpoint.path} does not stream: leave `stream` out", param="stream")
    return stream


def _named(model: str | None) -> str:
    if model is None:
        raise InvalidRequest("missing field 'model': GET /v1/models lists them", param="model")
    return model


def _form_flag(form: Form, name: str) -> bool:
    """A flag in the words that the engine takes for one."""
    told = (form.text(name) or "false").lower()
    if told not in ("true", "t", "yes", "y", "on", "1", "false", "f", "no", "n", "off", "0"):
        raise InvalidRequest(f"the field {name!r} should be true or false", param=name)
    return told in ("true", "t", "yes", "y", "on", "1")


def _without_content(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(" - at ")[0]


def _read(
    fields: Mapping[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], Value], expected: str
) -> Value | None:
    return None if name not in fields else _typed(fields[name], name, decode, expected)


def _typed(raw: msgspec.Raw, name: str, decode: Callable[[msgspec.Raw], Value], expected: str) -> Value:
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the field {name!r} should be {expected}", param=name) from error


def prepare(request: Request, release: Release, served_model: str) -> bytes:
    """The body to forward: the client's own bytes unless the release or metering demands a change."""
    wire, form = request.endpoint.wire, request.form
    changes = _defaults(wire, request.fields if form is None else form.parts, release)
    if served_model != request.model:
        changes["model"] = served_model
    if form is not None:
        if request.stream and not request.wants_continuous_usage:
            changes.update(stream_include_usage="true", stream_continuous_usage_stats="true")
        return form.rewritten({name: str(value) for name, value in changes.items()}) if changes else request.body
    if request.stream and not request.wants_continuous_usage and wire in ("chat", "completions"):
        changes["stream_options"] = {**request.stream_options, **_COUNTED_IN_EVERY_CHUNK}
    if (system := release.system) is not None:
        changes.update(_with_system(wire, request.fields, system))
    return _encode({**request.fields, **changes}) if changes else request.body


def _defaults(wire: Wire, fields: Mapping[str, Any], release: Release) -> dict[str, Any]:
    """The release's sampling for what the request leaves open."""
    changes: dict[str, Any] = {}
    sampling = release.sampling
    if not sampling or wire not in _SAMPLING:
        return changes
    names = _SAMPLING[wire]
    for name, value in sampling.items():
        if name in names and names[name] not in fields:
            changes[names[name]] = value
    if "max_tokens" in changes and "max_completion_tokens" in fields:
        del changes["max_tokens"]
    return changes


def _with_system(wire: Wire, fields: Mapping[str, msgspec.Raw], system: str) -> dict[str, Any]:
    """The release's prompt for a conversation that brings no instructions of its own.

    A count of Anthropic's tokens gets it too, so that it is the count of what would be asked.
    """
    if wire == "chat":
        messages = _bare(fields, "messages")
        return {"messages": [{"role": "system", "content": system}, *messages]} if messages else {}
    if wire in ("messages", "count_tokens"):
        return {"system": system} if "system" not in fields and _bare(fields, "messages") else {}
    if wire != "responses" or "instructions" in fields or "input" not in fields:
        return {}
    text = bytes(fields["input"]).startswith(b'"')
    return {"instructions": system} if text or _bare(fields, "input") else {}


def _bare(fields: Mapping[str, msgspec.Raw], name: str) -> list[msgspec.Raw]:
    """A conversation's items; none when it is not there, or brings its own instructions: the engine judges that."""
    expected = "a list of messages"
    items = _read(fields, name, _list, expected) or []
    roles = [_typed(item, name, shapes.message, expected).role for item in items]
    return [] if "system" in roles or "developer" in roles else items
