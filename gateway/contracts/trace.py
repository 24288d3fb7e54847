"""The trace that a request belongs to: W3C Trace Context in and out, and what is noted of a request that is traced.

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
                 version, trace, span of whoever calls, flags (01: it is recorded)

https://www.w3.org/TR/trace-context/. What is not well formed is as if it was not there.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec

from gateway.contracts.ledger import LedgerRow

MOST_STATE = 512
"""Bytes of a `tracestate` that have to be passed on; a longer one is left out, as the standard allows."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_STATE = re.compile(rb"[\x20-\x7e\t]+")


class Parent(msgspec.Struct, frozen=True):
    """The span of whoever calls. Ids in hexadecimal; `state` is its `tracestate`, b"" without one."""

    trace_id: str
    span_id: str
    sampled: bool
    state: bytes = b""


def parent_of(traceparent: bytes | None, tracestate: bytes | None) -> Parent | None:
    """Read the two headers; None where there is no parent, or none that is well formed."""
    found = None if traceparent is None else _PARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    state = tracestate or b""
    if len(state) > MOST_STATE or not _STATE.fullmatch(state):
        state = b""
    return Parent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & 1), state)


def passed_on(traceparent: bytes, tracestate: bytes | None) -> bytes:
    """The header lines for an engine, unchanged; b"" where the parent is not well formed."""
    parent = parent_of(traceparent, tracestate)
    return b"" if parent is None else _lines(traceparent, parent.state)


def lines(trace_id: str, span_id: str, state: bytes = b"", *, sampled: bool) -> bytes:
    """The header lines of a span of this gateway."""
    return _lines(f"00-{trace_id}-{span_id}-{sampled:02x}".encode(), state)


def _lines(traceparent: bytes, state: bytes) -> bytes:
    text = b"traceparent: %b\r\n" % traceparent
    return text + b"tracestate: %b\r\n" % state if state else text


class Attempt:
    """One call of a replica. Seconds of the trace's own clock; `error` is None for one that went well.

    `with attempt:` notes when it ended, and by which error: an error's `code`, or the name of its class.
    """

    __slots__ = ("begun", "clock", "ended", "error", "replica", "span_id")

    def __init__(self, span_id: str, replica: str, clock: Callable[[], float]) -> None:
        self.span_id = span_id
        self.replica = replica
        self.clock = clock
        self.begun = self.ended = clock()
        self.error: str | None = None

    def __enter__(self) -> Self:
        """It begins."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """It is over."""
        self.ended = self.clock()
        if kind is not None:
            cause = getattr(error, "error", error)  # what made it an attempt to be repeated
            self.error = getattr(cause, "code", None) or kind.__name__


class Trace:
    """A request that is recorded, from `begun` to `ended` in seconds of one clock; `at` is `begun` since the epoch.

    `row` is None for a request that was refused before admission, and `error` its code. `context` are the header lines
    of the attempt that is under way.
    """

    __slots__ = (
        "at", "attempts", "begun", "clock", "context", "ended", "error", "new_span", "parent_id", "path", "request_id",
        "row", "span_id", "state", "status", "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        parent: Parent | None,
        trace_id: str,
        new_span: Callable[[], str],
        clock: Callable[[], float],
        at: float,
        path: str,
        request_id: str,
    ) -> None:
        self.trace_id = trace_id
        self.parent_id = None if parent is None else parent.span_id
        self.state = b"" if parent is None else parent.state
        self.span_id = new_span()
        self.new_span = new_span
        self.clock = clock
        self.at = at
        self.begun = self.ended = clock()
        self.path = path
        self.request_id = request_id
        self.attempts: list[Attempt] = []
        self.row: LedgerRow | None = None
        self.error: str | None = None
        self.status = 0
        self.context = b""

    async def attempt(self, replica: str, work: Awaitable[None]) -> None:
        """Do one attempt's work, under a span of its own. Raises what the work raises."""
        made = Attempt(self.new_span(), replica, self.clock)
        self.attempts.append(made)
        self.context = lines(self.trace_id, made.span_id, self.state, sampled=True)
        with made:
            await work
