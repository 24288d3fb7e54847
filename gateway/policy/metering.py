"""Exact usage: from a whole answer, and from a stream that may end at any chunk.

The gateway asks the engine for cumulative usage in every chunk, so that the last chunk seen is the count, however the
stream ends. What the client did not ask for is cut out again, and no other byte is touched.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gateway.contracts.usage import Usage, from_anthropic, from_openai, from_responses, is_count, with_times
from gateway.policy import shapes
from gateway.policy.endpoints import CHAT, Endpoint
from gateway.policy.events import EventMeter, data_of, error_object, read, with_data
from gateway.policy.shapes import Chunk, Request
from gateway.policy.typed_events import MessagesMeter, ResponsesMeter

_JSON = {b"content-type": b"application/json"}
_ONE_PROMPT = 2**31
"""More choices than a prompt can have."""


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Meter(Protocol):
    """What counts one stream: see `EventMeter`."""

    usage: Usage | None
    finished: bool
    error: dict[str, Any] | None
    events: int

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for a piece of the engine's stream. Raises Malformed."""


def meter(request: Request) -> Meter:
    """A new meter for the stream that answers a request."""
    match request.endpoint.wire:
        case "messages":
            return MessagesMeter()
        case "responses":
            return ResponsesMeter()
    return StreamMeter(
        wants_usage=request.wants_usage,
        wants_continuous_usage=request.wants_continuous_usage,
        choices=request.choices if request.endpoint.wire == "completions" else _ONE_PROMPT,
        named=request.endpoint.wire != "audio",
    )


def read_answer(
    body: bytes, endpoint: Endpoint = CHAT, headers: Mapping[bytes, bytes] = _JSON
) -> tuple[Usage | None, dict[str, Any] | None]:
    """(usage, error) of a whole answer. An engine may send an error object with status 200. Raises Malformed.

    `headers` are the answer's, with lower-case names. Usage is None where the engine counts none: transcripts are told
    in seconds, if at all, and as plain text not even so.
    """
    if not headers.get(b"content-type", b"").startswith(b"application/json"):
        if endpoint.wire == "pooling":
            return _from_metadata(headers), None
        if endpoint.wire == "audio":
            return None, None
    answer = read(shapes.answer, body, "the answer is not a JSON object")
    if answer.object == "error":
        return None, {"message": answer.message, "code": answer.code}
    # A response that failed is an answer that says so, with the usage that it cost.
    if answer.error is not None and answer.object != "response":
        return None, answer.error if isinstance(answer.error, dict) else {"message": str(answer.error)}
    match endpoint.wire:
        case "responses":
            return with_times(from_responses(answer.usage), answer.metrics), None
        case "messages":
            return from_anthropic(answer.usage), None
        case "count_tokens" | "tokenize":
            # The engine's tokenizer answers these on its own: the model computes nothing, so zero is the true count.
            return Usage(0, 0, 0), None
    usage = from_openai(answer.usage)
    return usage if answer.metrics is None else with_times(usage, answer.metrics), None


def _from_metadata(headers: Mapping[bytes, bytes]) -> Usage | None:
    """vLLM answers `encoding_format: bytes` with vectors, and tells the rest in a header; `bytes_only` does without."""
    raw = headers.get(b"metadata")
    return None if raw is None else from_openai(read(shapes.metadata, raw, "the answer's metadata are not JSON").usage)


class StreamMeter(EventMeter):
    """Counts a stream of chunks, and cuts out the usage that its client did not ask for.

    Every value that stays keeps its bytes. `choices` is how many choices each prompt of the request has; a conversation
    is one prompt. `finished` is whether `[DONE]` came.

    vLLM puts its `system_fingerprint` into the last chunk that it sends. Where that is the count that is cut out, it
    moves back to the chunk that ends the last choice, as if nobody had asked for usage: so a chunk with a
    `finish_reason` waits for the event after it, which the engine sends at once. Streams that are not `named` have no
    fingerprint, and nothing waits.
    """

    __slots__ = ("_choices", "_keep_all", "_keep_last", "_outputs", "_prompts", "_waiting", "_waits")

    def __init__(
        self, *, wants_usage: bool, wants_continuous_usage: bool, choices: int = _ONE_PROMPT, named: bool = True
    ) -> None:
        super().__init__()
        self._waits = named and not wants_usage
        self._keep_all = wants_continuous_usage
        self._keep_last = wants_usage
        self._choices = choices
        self._outputs: dict[int, Usage] = {}
        self._prompts: dict[int, int] = {}
        self._waiting = b""

    def event(self, event: bytes, data: bytes) -> bytes:
        """The event without the usage that was not asked for; nothing for one that has nothing else."""
        if data.strip() == b"[DONE]":
            self.finished = True
            return self._released() + event
        chunk = read(shapes.chunk, data, "an event of the stream is not a chunk in JSON")
        if chunk.error and bytes(chunk.error) != b"null":
            self.error = error_object(bytes(chunk.error))
            return self._released()
        released = self._released() if self._waiting else b""
        raw = bytes(chunk.usage)
        if raw and raw != b"null":
            self._count(read(shapes.counts, raw, "the usage in an event of the stream is not an object").usage(), chunk)
            if not self._keep_all:
                if not chunk.choices:
                    return released + event if self._keep_last else _with_fingerprint(released, data)
                event = _without_usage(event, data, raw)
        if self._waits and chunk.choices and chunk.choices[0].finish_reason is not None:
            self._waiting = event
            return released
        return released + event

    def _released(self) -> bytes:
        waiting, self._waiting = self._waiting, b""
        return waiting

    def _count(self, usage: Usage | None, chunk: Chunk) -> None:
        """The last chunk counts the whole request; one before it counts its own prompt and the output of its own
        choice alone."""
        if usage is None:
            return
        if chunk.choices:
            index = chunk.choices[0].index
            self._outputs[index] = usage
            self._prompts[index // self._choices] = usage.input_tokens
            if len(self._outputs) > 1:
                outputs = self._outputs.values()
                read, written = sum(self._prompts.values()), sum(each.output_tokens for each in outputs)
                if not is_count(read) or not is_count(written):
                    return
                thought = [each.reasoning_tokens for each in outputs if each.reasoning_tokens is not None]
                usage = Usage(read, written, usage.cached_tokens, sum(thought) if thought else None)
        elif chunk.metrics is not None:
            self.usage = with_times(usage, chunk.metrics)
            return
        self.usage = usage


def _without_usage(event: bytes, data: bytes, raw: bytes) -> bytes:
    """The event without its chunk's own `usage`."""
    last = b',"usage":' + raw + b"}\n\n"
    if event.endswith(last):  # as vLLM writes it; the brace closes the chunk, so this is no usage further in
        return event[: -len(last)] + b"}\n\n"
    members = read(_members, data, "an event of the stream is not a chunk in JSON")
    del members["usage"]
    return with_data(event, _encode(members))


def _with_fingerprint(event: bytes, last: bytes) -> bytes:
    """The event with the fingerprint that the stream's last chunk has, unless it has one of its own."""
    data = data_of(event)
    fingerprint = _fingerprint(last)
    if data is None or not fingerprint or _fingerprint(data):
        return event
    return with_data(event, data.rstrip()[:-1] + b',"system_fingerprint":' + fingerprint + b"}")


def _fingerprint(chunk: bytes) -> bytes:
    raw = bytes(read(shapes.last, chunk, "an event of the stream is not a chunk in JSON").system_fingerprint)
    return b"" if raw == b"null" else raw
