"""Traces of requests for OpenTelemetry: what is noted on their way, and spans that are made of it away from it.

    client ──▶ span `chat faq` (server) ──▶ span `chat faq` (client), one for each attempt ──▶ the engine's own spans

Names are those of OpenTelemetry's conventions for HTTP and GenAI, and `tollgate.…` what they have none for. Which
requests are recorded is decided as they come: by the client's own flag, else by the trace's id, as the SDK's
`ParentBased(TraceIdRatioBased(…))` does. A prompt, an answer or a key is in none of it.
"""

import asyncio
import json
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client import Counter

from gateway import __version__
from gateway.client import Client
from gateway.contracts.errors import InputError
from gateway.contracts.ledger import CLIENT_CLOSED, COMPLETED, LedgerRow
from gateway.contracts.trace import Attempt, Trace, lines, parent_of
from gateway.policy.endpoints import ENDPOINTS
from gateway.settings.tracing import TracingConfig

log = logging.getLogger("tollgate")

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

FLUSH_S = 1.0
"""Between two batches."""
MOST_HELD = 10_000
"""Traces that wait for a collector. More of them are dropped, and counted."""
AT_ONCE = 256
"""Traces of one batch."""
OPERATIONS = {
    "chat": "chat", "messages": "chat", "responses": "chat", "completions": "text_completion", "pooling": "embeddings",
}  # fmt: skip
"""The conventions' names of what a wire does; other wires go by their own."""

Export = Callable[[Sequence[Trace]], bool]
"""Send traces, in a thread; False when they could not be."""


class Tracing:
    """Every trace of one process. `monotonic` in seconds; `counted` by what became of them."""

    def __init__(
        self,
        sample: float,
        export: Export,
        monotonic: Callable[[], float],
        draws: random.Random,
        counted: Counter,
    ) -> None:
        self._below = round(sample * 2**64)
        self._export = export
        self._monotonic = monotonic
        self._bits = draws.getrandbits
        self._counted = counted
        self._ended: deque[Trace] = deque()
        self._away = False
        self._flushing = asyncio.Lock()

    def begin(self, client: Client, now: float) -> None:
        """Give a client's request its trace, or only the header lines for its engine where it is not recorded.

        `now` in seconds since the epoch.
        """
        traceparent, tracestate = client.header(b"traceparent"), client.header(b"tracestate")
        parent = None if traceparent is None else parent_of(traceparent, tracestate)
        number = 0 if parent is not None else self._bits(128) or 1
        trace_id = f"{number:032x}" if parent is None else parent.trace_id
        if parent.sampled if parent is not None else (number & (2**64 - 1)) < self._below:
            request_id = client.request_id or ""
            client.trace = Trace(parent, trace_id, self._span, self._monotonic, now, client.path, request_id)
        elif parent is not None:
            client.context = lines(trace_id, parent.span_id, parent.state, sampled=False)
        else:
            client.context = lines(trace_id, self._span(), sampled=False)  # so that no engine begins a trace of its own

    def end(self, trace: Trace) -> None:
        """The request is over."""
        trace.ended = self._monotonic()
        if len(self._ended) < MOST_HELD:
            self._ended.append(trace)
        else:
            self._counted.labels("dropped").inc()

    async def flush(self) -> None:
        """One round of the loop: send what has ended. What a collector does not take is lost, and the rest waits."""
        async with self._flushing:
            while self._ended:
                batch = [self._ended.popleft() for _ in range(min(AT_ONCE, len(self._ended)))]
                sent = await asyncio.to_thread(self._export, batch)
                self._counted.labels("exported" if sent else "failed").inc(len(batch))
                if self._away is sent:
                    self._away = not sent
                    log.warning("the collector takes %s", "traces again" if sent else "no traces: requests go on")
                if not sent:
                    return

    def _span(self) -> str:
        return f"{self._bits(64) or 1:016x}"


def tracing_of(
    config: TracingConfig | None,
    addresses: Callable[[], Mapping[str, str]],
    monotonic: Callable[[], float],
    counted: Counter,
) -> Tracing | None:
    """As it is configured; None: not at all. Raises InputError where OpenTelemetry's SDK is not installed."""
    if config is None:
        return None
    draws = random.Random()  # noqa: S311 (ids of traces guard nothing)
    return Tracing(config.sample, exporter(config, addresses), monotonic, draws, counted)


def exporter(config: TracingConfig, addresses: Callable[[], Mapping[str, str]]) -> Export:
    """What sends traces to a collector. `addresses` gives the URL of each replica that has one, by its name.

    Raises InputError where OpenTelemetry's SDK is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import SpanExportResult
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    except ImportError as error:
        raise InputError(
            f"`tracing` needs OpenTelemetry's SDK ({error}): pip install 'tollgate[otel]', or leave `tracing` out"
        ) from error
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it repeats each second what is told once here
    sender = OTLPSpanExporter(endpoint=config.url, timeout=config.timeout)
    resource = Resource.create({"service.name": config.service, "service.version": __version__})
    scope = InstrumentationScope("tollgate", __version__)

    def export(traces: Sequence[Trace]) -> bool:
        known = addresses()
        spans = [span for trace in traces for span in _spans(trace, known, resource, scope)]
        return sender.export(spans) is SpanExportResult.SUCCESS

    return export


def _spans(trace: Trace, addresses: Mapping[str, str], resource: Any, scope: Any) -> "list[ReadableSpan]":
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

    trace_id, state = int(trace.trace_id, 16), TraceState.from_header([trace.state.decode()] if trace.state else [])

    def context(span_id: str, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(trace_id, int(span_id, 16), is_remote, TraceFlags(TraceFlags.SAMPLED), state)

    def nanoseconds(moment: float) -> int:
        return int((trace.at + moment - trace.begun) * 1e9)

    def failed(error: str | None) -> Status:
        return Status(StatusCode.UNSET if error in (None, CLIENT_CLOSED) else StatusCode.ERROR)

    row, name = trace.row, name_of(trace)
    own, error = context(trace.span_id), failure(trace)
    events = []
    if row is not None and row.first_byte_s is not None:
        events = [Event("tollgate.first_byte", timestamp=nanoseconds(trace.begun + row.first_byte_s))]
    common = {"resource": resource, "instrumentation_scope": scope, "name": name}
    server = ReadableSpan(
        **common,
        context=own,
        parent=None if trace.parent_id is None else context(trace.parent_id, is_remote=True),
        kind=SpanKind.SERVER,
        attributes=attributes(trace),
        events=events,
        status=failed(error),
        start_time=nanoseconds(trace.begun),
        end_time=nanoseconds(trace.ended),
    )
    attempts = [
        ReadableSpan(
            **common,
            context=context(attempt.span_id),
            parent=own,
            kind=SpanKind.CLIENT,
            attributes=attempt_attributes(trace, attempt, addresses),
            status=failed(attempt.error),
            start_time=nanoseconds(attempt.begun),
            end_time=nanoseconds(attempt.ended),
        )
        for attempt in trace.attempts
    ]
    return [server, *attempts]


def operation(trace: Trace) -> str:
    """What the request asks for, in the conventions' words."""
    wire = ENDPOINTS[trace.path].wire
    return OPERATIONS.get(wire, wire)


def name_of(trace: Trace) -> str:
    """`{operation} {model}`, or the operation alone where no model of this gateway was asked for."""
    return operation(trace) if trace.row is None else f"{operation(trace)} {trace.row.model}"


def failure(trace: Trace) -> str | None:
    """The code of what went wrong. A client that leaves is no failure."""
    if trace.row is None or trace.error is not None:
        return trace.error
    return None if trace.row.outcome in (COMPLETED, CLIENT_CLOSED) else trace.row.outcome


def attributes(trace: Trace) -> dict[str, Any]:
    """The server span's. What nobody knows is not there."""
    row = trace.row
    found: dict[str, Any] = {
        "gen_ai.operation.name": operation(trace),
        "http.request.method": None if row is None else "POST",
        "url.path": trace.path,
        "http.response.status_code": (row.status if row is not None else trace.status) or None,
        "error.type": failure(trace),
        "tollgate.request_id": trace.request_id,
    }
    if row is not None:
        found |= _of_row(row)
    return {key: value for key, value in found.items() if value is not None}


def _of_row(row: LedgerRow) -> dict[str, Any]:
    decided = json.loads(bytes(row.decision)) if row.decision else {}
    return {
        "gen_ai.request.model": row.model,
        "gen_ai.request.stream": row.stream,
        "gen_ai.response.time_to_first_chunk": row.first_byte_s,
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": row.reasoning_tokens,
        "tollgate.team": row.team,
        "tollgate.release": row.release,
        "tollgate.release_digest": row.release_digest,
        "tollgate.outcome": row.outcome,
        "tollgate.attempts": row.attempts,
        "tollgate.route.reasons": [route[4] for route in decided.get("routes", ())] or None,
        "tollgate.queued_s": decided.get("queued_s"),
        "tollgate.cost": row.cost,
        "tollgate.currency": None if row.cost is None else row.currency,
    }


def attempt_attributes(trace: Trace, attempt: Attempt, addresses: Mapping[str, str]) -> dict[str, Any]:
    """A client span's."""
    url = addresses.get(attempt.replica)
    address = urlsplit(url or "")
    found = {
        "gen_ai.operation.name": operation(trace),
        "gen_ai.provider.name": None if url is None else "vllm",
        "gen_ai.request.model": None if trace.row is None else trace.row.model,
        "server.address": address.hostname,
        "server.port": None if url is None else address.port or (443 if address.scheme == "https" else 80),
        "error.type": attempt.error,
        "tollgate.replica": attempt.replica,
    }
    return {key: value for key, value in found.items() if value is not None}
