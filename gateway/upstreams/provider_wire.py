"""What a provider's answers look like on vLLM's wire: whole answers as plain values, streams as server-sent events."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from gateway.upstreams.http1 import ExchangeError

_encode = msgspec.json.Encoder().encode


def dumped(answer: Any) -> dict[str, Any]:
    """A whole answer as plain values."""
    fields = dict(answer) if isinstance(answer, dict) else answer.model_dump(warnings=False)
    return {**fields, "usage": counted(fields.get("usage"))}


def counted(usage: Any) -> dict[str, Any] | None:
    """Usage as the provider counted it. LiteLLM writes zeros where it did not, and prices of its own beside it."""
    if not isinstance(usage, dict) or not any(isinstance(value, int) and value for value in usage.values()):
        return None
    return {name: value for name, value in usage.items() if name != "cost"}


def _event(fields: Any, name: str | None = None) -> bytes:
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return head + b"data: " + _encode(fields) + b"\n\n"


_ENDS = ("response.completed", "response.incomplete")


async def ended(stream: Any) -> AsyncIterator[Any]:
    """LiteLLM's chat stream, up to an end that the provider made: LiteLLM makes one up where a stream just stops."""
    async for chunk in stream:
        if any(choice.finish_reason for choice in chunk.choices):
            _check_end(stream)
        yield chunk


def _check_end(stream: Any) -> None:
    if (stream.received_finish_reason or stream.intermittent_finish_reason) is None:
        raise ExchangeError("the provider's stream ended in the middle")


async def message_events(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Anthropic's events. LiteLLM writes an error of its own into them where its source fails.

    It also begins them before the provider has said anything. That is held back: until the client has a byte another
    one may still answer, and its first byte is the provider's.
    """
    start = b""
    async for event in events:
        if event.startswith(b"event: error\n"):
            raise ExchangeError("the provider broke its stream off")
        if event.startswith(b"event: message_start\n"):
            start = event
        else:
            yield start + event
            start = b""


async def chat_events(stream: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Chunks, the usage in one of its own without choices, and the end."""
    last: dict[str, Any] = {}
    usage = None
    async for chunk in stream:
        last = chunk.model_dump(exclude_none=True, warnings=False)
        usage = counted(last.pop("usage", None)) or usage
        choices = [{"finish_reason": None, **choice} for choice in last.get("choices", ())]
        if any(choice["finish_reason"] or choice.get("delta") for choice in choices):
            yield _event({**last, "choices": choices})
    if usage is not None:
        yield _event({**last, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


async def response_events(stream: Any) -> AsyncIterator[bytes]:
    """Events of the Responses API, numbered. Where LiteLLM makes them of a chat, up to the provider's end."""
    number, chat = 0, getattr(stream, "litellm_custom_stream_wrapper", None)
    async for event in stream:
        fields = event.model_dump(exclude_unset=True, mode="json", warnings=False)
        if chat is not None and fields["type"] in _ENDS:
            _check_end(chat)
        if isinstance(inner := fields.get("response"), dict) and inner.get("usage") is not None:
            fields["response"] = {**inner, "usage": counted(inner["usage"])}
        yield _event({**fields, "sequence_number": number}, str(fields["type"]))
        number += 1
