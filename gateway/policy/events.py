"""Server-sent events: a stream cut into whole events, however it comes in pieces.

As in the standard's grammar, with LF or CRLF at the ends of lines: an event ends with an empty line, a line that begins
with a colon is a comment, and the data of an event may stand in several lines.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gateway.contracts.usage import Usage

MAX_EVENT_BYTES = 4 * 1024 * 1024
_END = re.compile(rb"\n\r?\n")

Read = TypeVar("Read")
_any = msgspec.json.Decoder(Any).decode


class Malformed(ValueError):
    """The engine's bytes are not what its endpoint promises."""


def read(decode: Callable[[bytes], Read], data: bytes, otherwise: str) -> Read:
    """Decode JSON; what does not read is Malformed, and `otherwise` says so."""
    try:
        return decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(otherwise) from error


def only_comments(events: bytes) -> bool:
    """Whether whole events are nothing but comments, such as the engine's sign of life while a request is queued."""
    return all(not line or line.startswith(b":") for line in events.splitlines())


def error_object(raw: bytes) -> dict[str, Any]:
    """An error that an engine sent, as an object."""
    error = read(_any, raw, "the error in an event of the stream is not JSON")
    return error if isinstance(error, dict) else {"message": str(error)}


def _is_line(event: bytes, start: int = 0) -> bool:
    """Whether these bytes, from `start` on, are one line of data and the end of an event."""
    return event.startswith(b"data: ", start) and event.endswith(b"\n\n") and event.find(b"\n", start) == len(event) - 2


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined; None when it has none, as a comment."""
    # The two forms that engines send: a line of data alone, or below the name of its event.
    start = event.find(b"\n") + 1 if event.startswith(b"event: ") else 0
    if _is_line(event, start):
        return event[start + 6 : -2]
    lines = [line.removesuffix(b"\r") for line in event.split(b"\n")]
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(data) if data else None


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data, in the place of its first line of data; every other line as it was.

    Data of several lines stay as many: a line without its field's name is one that every reader skips.
    """
    lines = event.split(b"\n")
    first = next(place for place, line in enumerate(lines) if line.startswith(b"data:"))
    end = b"\r" if lines[first].endswith(b"\r") else b""
    data = data.replace(b"\n", end + b"\ndata: ")
    kept = [line for line in lines[first + 1 :] if not line.startswith(b"data:")]
    return b"\n".join([*lines[:first], b"data: " + data + end, *kept])


class EventMeter:
    """Counts one stream, event by event.

    Feed it what the engine sends; it returns what the client gets. `usage` is the best count so far, `finished` whether
    the stream's own end came, `error` the error that the engine sent in its stream: that event and what follows it are
    not for the client. `events` is how many came before it.
    """

    __slots__ = ("_held", "error", "events", "finished", "usage")

    def __init__(self) -> None:
        self._held = bytearray()
        self.events = 0
        self.usage: Usage | None = None
        self.finished = False
        self.error: dict[str, Any] | None = None

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for a piece of the engine's stream; whole events only. Raises Malformed."""
        seen = 0
        if self._held:
            # One array, of which only what is new is looked at: an event that drips costs no more than one at once.
            seen = max(0, len(self._held) - 2)
            self._held += data
            if _END.search(self._held, seen) is None:
                return self._bounded()
            data, self._held = bytes(self._held), bytearray()
        elif _is_line(data) and self.error is None:  # one event for each piece, as a token comes from an engine
            return self._one(data, data[6:-2])
        ends = [match.end() for match in _END.finditer(data, seen)]
        starts = [0, *ends]
        self._held += data[starts[-1] :]
        self._bounded()
        return b"".join([self._next(data[start:end]) for start, end in zip(starts, ends, strict=False)])

    def _bounded(self) -> bytes:
        if len(self._held) > MAX_EVENT_BYTES:
            raise Malformed(f"one event of the stream is larger than {MAX_EVENT_BYTES} bytes")
        return b""

    def _next(self, event: bytes) -> bytes:
        if self.error is not None:
            return b""
        data = data_of(event)
        if data is None:
            return event
        return self._one(event, data)

    def _one(self, event: bytes, data: bytes) -> bytes:
        # What comes after the last event is no part of the answer, and must not make a failure of a whole one: versions
        # of vLLM end Anthropic's messages with `[DONE]` as well, which is not JSON.
        if self.finished:
            return event
        passed = self.event(event, data)
        if self.error is None:
            self.events += 1
        return passed

    def event(self, event: bytes, data: bytes) -> bytes:
        """The client's bytes for one event with data; of a stream that nobody counts, all of them."""
        return event
