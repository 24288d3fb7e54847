"""Exact usage: from a whole answer, and from a stream that may end at any chunk.

The gateway asks the engine for cumulative usage in every chunk, so that the last chunk seen is the count, however the
stream ends. What the client did not ask for is cut out again, and no other byte is touched.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gateway.contracts.usage import Usage, from_openai

MAX_EVENT_BYTES = 4 * 1024 * 1024
_END = b"\n\n"

Read = TypeVar("Read")


class _Answer(msgspec.Struct):
    usage: Any = None
    error: Any = None
    object: Any = None
    message: Any = None
    code: Any = None


class _Choice(msgspec.Struct):
    index: int = 0


class _Chunk(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"")
    choices: list[_Choice] = msgspec.field(default_factory=list)
    error: msgspec.Raw = msgspec.Raw(b"")


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Malformed(ValueError):
    """The engine's bytes are not what its endpoint promises."""


def _read(decode: Callable[[bytes], Read], data: bytes, otherwise: str) -> Read:
    try:
        return decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(otherwise) from error


def read_answer(body: bytes) -> tuple[Usage | None, dict[str, Any] | None]:
    """(usage, error) of a whole answer. An engine may send an error object with status 200. Raises Malformed."""
    answer = _read(_decode_answer, body, "the answer is not a JSON object")
    if answer.object == "error":
        return None, {"message": answer.message, "code": answer.code}
    if answer.error is not None:
        return None, answer.error if isinstance(answer.error, dict) else {"message": str(answer.error)}
    return from_openai(answer.usage), None


class StreamMeter:
    """Counts one stream and cuts out the usage that its client did not ask for.

    Feed it what the engine sends; it returns what the client gets. `usage` is the last cumulative count, `finished`
    whether `[DONE]` came, `error` the error that the engine sent in its stream: that event and what follows it are
    not for the client.
    """

    __slots__ = ("_held", "_keep_all", "_keep_last", "_outputs", "error", "finished", "usage")

    def __init__(self, *, wants_usage: bool, wants_continuous_usage: bool) -> None:
        self._keep_all = wants_continuous_usage
        self._keep_last = wants_usage
        self._held = b""
        self._outputs: dict[int, int] = {}
        self.usage: Usage | None = None
        self.finished = False
        self.error: dict[str, Any] | None = None

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for a piece of the engine's stream; whole events only. Raises Malformed."""
        if self._held:
            data = self._held + data
        whole = data.rfind(_END)
        if whole < 0:
            self._hold(data)
            return b""
        whole += len(_END)
        self._hold(data[whole:])
        events = data[:whole].split(_END)
        events.pop()
        return b"".join([kept for event in events if (kept := self._event(event))])

    def _hold(self, rest: bytes) -> None:
        if len(rest) > MAX_EVENT_BYTES:
            raise Malformed(f"one event of the stream is larger than {MAX_EVENT_BYTES} bytes")
        self._held = rest

    def _event(self, event: bytes) -> bytes:
        if self.error is not None:
            return b""
        if not event.startswith(b"data:"):
            comment, newline, data = event.partition(b"\n")
            return comment + newline + self._event(data) if event.startswith(b":") and data else event + _END
        payload = event[5:].strip()
        if payload == b"[DONE]":
            self.finished = True
            return event + _END
        chunk = _read(_decode_chunk, payload, "an event of the stream is not a chunk in JSON")
        if chunk.error and bytes(chunk.error) != b"null":
            error = _read(msgspec.json.decode, chunk.error, "the error in an event of the stream is not JSON")
            self.error = error if isinstance(error, dict) else {"message": str(error)}
            return b""
        return self._metered(event, chunk)

    def _metered(self, event: bytes, chunk: _Chunk) -> bytes:
        raw = bytes(chunk.usage)
        if raw in (b"", b"null"):
            return event + _END
        usage = _read(msgspec.json.decode, raw, "the usage in an event of the stream is not JSON")
        self._count(from_openai(usage), chunk.choices)
        if self._keep_all:
            return event + _END
        if not chunk.choices:
            return event + _END if self._keep_last else b""
        return _without_usage(event, raw) + _END

    def _count(self, usage: Usage | None, choices: list[_Choice]) -> None:
        """The last chunk counts the whole request; one before it counts the output of its own choice alone."""
        if usage is not None and choices:
            self._outputs[choices[0].index] = usage.output_tokens
            usage = Usage(usage.input_tokens, sum(self._outputs.values()), usage.cached_tokens)
        self.usage = usage or self.usage


def _without_usage(event: bytes, raw: bytes) -> bytes:
    """The event without its `usage` member and one of the commas beside it."""
    member = b'"usage":' + raw
    start = event.rfind(member)
    if start < 0:
        member = b'"usage": ' + raw
        start = event.rfind(member)
    if start < 0:
        raise Malformed("an event of the stream spaces its JSON in an unknown way")
    before, after = event[:start].rstrip(b" "), event[start + len(member) :]
    if before.endswith(b","):
        return before[:-1] + after
    rest = after.lstrip(b" ")
    return before + (rest[1:].lstrip(b" ") if rest.startswith(b",") else after)
