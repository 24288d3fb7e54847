"""What of a client's body reaches an external provider: the fields listed here, and no other.

The library between takes addresses, keys, headers, retries, caches and test doubles through the same call as the
fields of a request, and more of them with every version. So nothing passes that is not listed, and nothing is dropped
in silence: a field that is not listed is an error that names it.

Not listed, on purpose: what names state that the provider keeps for the holder of its key (`previous_response_id`,
`conversation`, `container`), what runs at the provider or is billed at another rate than its tokens (server tools,
`service_tier`, audio), and what the library would drop without a word (`metadata`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.contracts.errors import InvalidRequest

_SAMPLING = {"temperature", "top_p", "stream", "tools", "tool_choice"}
_OPENAI = {"parallel_tool_calls", "prompt_cache_key", "safety_identifier", "store", "top_logprobs", "user"}

FIELDS: Mapping[str, frozenset[str]] = {
    "/v1/chat/completions": frozenset(
        {"messages", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop", "seed", "response_format"}
        | {"presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "reasoning_effort", "verbosity"}
        | _SAMPLING
        | _OPENAI
    ),
    "/v1/responses": frozenset(
        {"input", "instructions", "max_output_tokens", "reasoning", "text", "truncation", "include"}
        | _SAMPLING
        | _OPENAI
    ),
    "/v1/messages": frozenset(
        {"messages", "system", "max_tokens", "stop_sequences", "top_k", "thinking", "metadata"} | _SAMPLING
    ),
    "/v1/embeddings": frozenset({"input", "dimensions", "encoding_format", "user"}),
}
"""The paths that a provider serves, and the fields that pass there. `model` is the operator's choice."""

_INSIDE = {
    "metadata": frozenset({"user_id"}),
    "stream_options": frozenset({"include_usage", "continuous_usage_stats"}),
}
"""Objects of which only these members pass."""
_TOOLS = ("function", "custom")


class _Shape(msgspec.Struct):
    """The parts of a body that the library walks through before anybody has checked them."""

    messages: list[dict[str, Any]] | None = None
    input: str | list[Any] | None = None
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None
    stream: bool | None = None


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def arguments(path: str, body: bytes) -> dict[str, Any]:
    """The fields of a body as the library's arguments, nulls left out. Raises InvalidRequest, naming the field."""
    if path not in FIELDS:
        raise InvalidRequest(f"a provider does not serve {path}: it serves {', '.join(sorted(FIELDS))}")
    fields = {name: value for name, value in _decode(body).items() if value is not None and name != "model"}
    for name in fields.keys() - FIELDS[path]:
        raise _refused(name)
    try:
        shape = msgspec.convert(fields, _Shape)
    except msgspec.ValidationError as error:
        where = str(error).partition(" - at `$.")[2].partition("`")[0] or None
        raise InvalidRequest(f"a field has another type than the API's: {error}", param=where) from error
    for name, members in _INSIDE.items():
        for member in fields.get(name, {}).keys() - members:
            raise _refused(f"{name}.{member}")
    for index, tool in enumerate(shape.tools or ()):
        if tool.get("type", "custom") not in _TOOLS:
            raise InvalidRequest(
                f"tools[{index}] runs at the provider, where its cost is not in tokens: functions alone pass",
                param="tools",
            )
    if path == "/v1/chat/completions" and shape.stream:
        # LiteLLM ends the first choice alone: a client would wait for the others' `finish_reason` in vain.
        if fields.get("n", 1) != 1:
            raise InvalidRequest("a provider streams one choice: leave `n` out, or `stream`", param="n")
        fields["stream_options"] = {"include_usage": True}
    return fields


def _refused(name: str) -> InvalidRequest:
    return InvalidRequest(f"the field {name!r} does not go to a provider: leave it out", param=name)
