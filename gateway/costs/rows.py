"""What a ledger row says of the work that its request was to replicas.

Times of a row are seconds from its start. A request is on a replica from when that was asked, or from when the engine
began with it where the engine tells how long it queued, until its end.
"""

from typing import Protocol

import msgspec

from gateway.contracts.errors import GatewayStopping, InternalError, UpstreamFailed, UpstreamTimeout
from gateway.contracts.ledger import CLIENT_CLOSED, COMPLETED, GATEWAY_LOST
from gateway.costs.hour import Work

TIMED = "timed"
"""The engine told how long the request queued and how long its prompt took."""
STREAMED = "streamed"
"""The gateway saw its first token."""
AVERAGED = "averaged"
"""An answer in one piece: its work is spread evenly over its time."""
PRESENT = "present"
"""Its tokens are unknown: it has its part of the fixed time alone."""
ABSENT = "absent"
"""No engine worked for it: none was asked, or the one that was refused it. It cost no GPU money."""

TOOK_PART = frozenset(
    {
        COMPLETED,
        CLIENT_CLOSED,
        GATEWAY_LOST,
        UpstreamTimeout.code,
        UpstreamFailed.code,
        GatewayStopping.code,
        InternalError.code,
    }
)
"""Outcomes of requests that an engine may have worked for though it told no usage. It refuses with any other one."""

_tries = msgspec.json.Decoder(list[tuple[str, float, float]])


class Row(Protocol):
    """The fields that are read: a `LedgerRow` has them."""

    @property
    def request_id(self) -> str:
        """Whose."""

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""

    @property
    def duration_s(self) -> float:
        """From the start to the end."""

    @property
    def dispatched_s(self) -> float | None:
        """From the start until the replica was asked; None: it was not, or nobody knows."""

    @property
    def first_byte_s(self) -> float | None:
        """From the start to the first byte."""

    @property
    def stream(self) -> bool:
        """Whether the answer came in pieces."""

    @property
    def outcome(self) -> str:
        """How it ended."""

    @property
    def replica(self) -> str | None:
        """Who was asked last."""

    @property
    def input_tokens(self) -> int | None:
        """Of the prompt, cached ones included."""

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt, given by the cache."""

    @property
    def output_tokens(self) -> int | None:
        """Of the answer."""

    @property
    def engine_queue_s(self) -> float | None:
        """The engine's own word of its queue."""

    @property
    def engine_prefill_s(self) -> float | None:
        """The engine's own word of its prefill."""

    @property
    def tries(self) -> str | None:
        """Attempts before the last: JSON."""


def work_of(row: Row) -> Work | None:
    """What the request was to the replica that it ended on; None when no engine worked for it, or in its tries alone.

    Where the engine did not say what its cache held, its whole prompt counts as computed.
    """
    unknown = row.input_tokens is None or row.output_tokens is None
    if row.replica is None or (unknown and (row.dispatched_s is None or row.outcome not in TOOK_PART)):
        return None
    started = row.started_at
    ended = int((started + row.duration_s) * 1e6)
    begun = min(int((started + (row.dispatched_s or 0.0)) * 1e6), ended)
    method, first = AVERAGED, None
    if row.stream and row.first_byte_s is not None:
        method, first = STREAMED, min(max(int((started + row.first_byte_s) * 1e6), begun), ended)
    if row.engine_prefill_s is not None:
        begun = min(begun + int(max(row.engine_queue_s or 0.0, 0.0) * 1e6), ended)
        method, first = TIMED, min(begun + int(max(row.engine_prefill_s, 0.0) * 1e6), ended)
    if row.input_tokens is None or row.output_tokens is None:
        return Work(row.request_id, begun, first, ended, None, None, None, PRESENT)
    cached = min(row.cached_tokens or 0, row.input_tokens)
    return Work(row.request_id, begun, first, ended, row.input_tokens - cached, cached, row.output_tokens, method)


def tries_of(row: Row) -> list[tuple[str, Work]]:
    """Attempts that failed, each with its replica: nobody pays for them by name."""
    if row.tries is None:
        return []
    found = []
    for replica, since, until in _tries.decode(row.tries):
        begun = int((row.started_at + since) * 1e6)
        ended = max(begun, int((row.started_at + until) * 1e6))
        found.append((replica, Work(row.request_id, begun, None, ended, None, None, None, PRESENT, overhead=True)))
    return found


def works(row: Row) -> list[tuple[str, Work]]:
    """Everything that a request was to replicas, each with its replica."""
    work = work_of(row)
    return [*tries_of(row), *([] if work is None or row.replica is None else [(row.replica, work)])]
