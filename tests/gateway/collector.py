"""A collector of OpenTelemetry: takes OTLP over HTTP and keeps the spans."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.config import Deployment
from gateway.settings.tracing import TracingConfig
from tests.gateway.serving import Gateway


@dataclass(frozen=True)
class Span:
    """One span as it arrived. Ids in hexadecimal, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    failed: bool
    begun: int
    ended: int
    state: str
    attributes: dict[str, Any]
    events: list[str]
    service: str


@dataclass
class Collector:
    """`url` is its address; `status` what it answers."""

    url: str = ""
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """One batch."""
        body = await request.read()
        if self.status == 200:
            self.bodies.append(body)
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)

    def deployed(self, made: Deployment, sample: float = 1.0) -> Deployment:
        """A deployment that sends its traces here."""
        tracing = TracingConfig(endpoint=self.url, sample=sample, timeout=1.0)
        return replace(made, config=made.config.model_copy(update={"tracing": tracing}))

    async def flushed(self, gateway: Gateway) -> list[Span]:
        """All spans, once the gateway has sent what it has."""
        tracing = gateway.app.data_plane.tracing
        assert tracing is not None
        await tracing.flush()
        return self.spans


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    found = []
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for span in (each for scope in resource.scope_spans for each in scope.spans):
            ids = [value.hex() for value in (span.trace_id, span.span_id, span.parent_span_id)]
            times = span.start_time_unix_nano, span.end_time_unix_nano
            events = [event.name for event in span.events]
            failed, values = span.status.code == 2, _values(span.attributes)
            found.append(Span(span.name, *ids, span.kind, failed, *times, span.trace_state, values, events, service))
    return found


def _values(attributes: Any) -> dict[str, Any]:
    found = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
