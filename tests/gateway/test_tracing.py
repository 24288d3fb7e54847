"""Traces of requests, over a real SDK and a real receiver of OTLP."""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter

from gateway.asgi import AsgiClient
from gateway.client import Message
from gateway.contracts.errors import InputError
from gateway.contracts.trace import Trace
from gateway.settings.tracing import TracingConfig
from gateway.tracing import MOST_HELD, Tracing, exporter
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.collector import collecting
from tests.gateway.serving import Gateway, deployment, serving

PATH = "/v1/chat/completions"
PROMPT = "a prompt that nobody else may read"
BODY = {"model": "faq", "messages": [{"role": "user", "content": PROMPT}], "stream": True, "max_tokens": 3}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
SERVER, CLIENT = 2, 3


async def ask(gateway: Gateway, key: str, body: object = BODY, **headers: str) -> raw.Answer:
    """One request's answer."""
    return await raw.post(gateway.url, PATH, json.dumps(body).encode(), {"authorization": f"Bearer {key}", **headers})


async def test_a_request_is_one_server_span_with_a_client_span_for_each_attempt(tmp_path: Path) -> None:
    async with Engine("faq") as engine, collecting() as collector:
        deployed = collector.deployed(deployment({"main": [engine.url]}), sample=0.0)
        async with serving(deployed, tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key, traceparent=SAMPLED, tracestate="vendor=1")
            assert answer.status == 200
            (row,) = await gateway.rows(1)
            server, client = await collector.flushed(gateway)
        sent = engine.received(PATH)[0]
    assert (server.name, server.kind, server.trace_id, server.parent_id) == ("chat faq", SERVER, TRACE, SPAN)
    assert (client.name, client.kind, client.trace_id, client.parent_id) == ("chat faq", CLIENT, TRACE, server.span_id)
    assert server.service == "tollgate"
    assert sent.header("traceparent") == f"00-{TRACE}-{client.span_id}-01"
    assert sent.header("tracestate") == client.state == "vendor=1"
    assert not server.failed
    assert server.events == ["tollgate.first_byte"]
    assert server.begun <= client.begun <= client.ended <= server.ended
    told = server.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "faq"
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (row.input_tokens, 3)
    assert (told["http.response.status_code"], told["tollgate.cost"]) == (200, row.cost)
    assert told["tollgate.request_id"] == row.request_id
    assert "error.type" not in told
    assert client.attributes["server.address"] == "127.0.0.1"
    assert client.attributes["server.port"] == int(engine.url.rsplit(":", 1)[1])
    assert client.attributes["gen_ai.provider.name"] == "vllm"
    # Law 9.
    assert not any(secret.encode() in body for secret in (PROMPT, key) for body in collector.bodies)


async def test_failed_attempts_and_refusals_say_why(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("faq") as two, collecting() as collector:
        await one.stop()
        await two.stop()
        deployed = collector.deployed(deployment({"main": [one.url, two.url]}))
        async with serving(deployed, tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key)).status == 503
            assert (await ask(gateway, key, {**BODY, "model": PROMPT})).status == 404
            failed, first, second, refused = await collector.flushed(gateway)
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
    assert failed.failed
    assert failed.attributes["error.type"] == "upstream_unavailable"
    assert failed.attributes["tollgate.route.reasons"]
    assert {first.attributes["tollgate.replica"], second.attributes["tollgate.replica"]} == {"main-0", "main-1"}
    assert {first.attributes["error.type"], second.attributes["error.type"]} == {"upstream_unavailable"}
    assert (refused.name, refused.attributes["error.type"]) == ("chat", "model_not_found")
    assert refused.attributes["http.response.status_code"] == 404
    assert not any(PROMPT.encode() in body for body in collector.bodies)
    assert 'tollgate_traces_total{result="exported"} 2.0' in page


async def test_who_is_not_recorded_is_passed_on_as_that(tmp_path: Path) -> None:
    async with Engine("faq") as engine, collecting() as collector:
        deployed = collector.deployed(deployment({"main": [engine.url]}), sample=0.0)
        async with serving(deployed, tmp_path) as (gateway, key, _):
            await ask(gateway, key, traceparent=UNSAMPLED)
            await ask(gateway, key)
            assert await collector.flushed(gateway) == []
        theirs, ours = (sent.header("traceparent") or "" for sent in engine.received(PATH))
    assert theirs == UNSAMPLED
    assert ours.endswith("-00")
    assert TRACE not in ours


async def test_without_tracing_a_clients_trace_reaches_the_engine_unchanged(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        await ask(gateway, key, traceparent=SAMPLED, tracestate="vendor=1")
        await ask(gateway, key)
        await ask(gateway, key, traceparent="00-no", tracestate="vendor=1")
        sent = [(each.header("traceparent"), each.header("tracestate")) for each in engine.received(PATH)]
    assert sent == [(SAMPLED, "vendor=1"), (None, None), (None, None)]


async def test_a_collector_that_is_away_costs_traces_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Engine("faq") as engine, collecting() as collector:
        collector.status = 400
        deployed = collector.deployed(deployment({"main": [engine.url]}))
        async with serving(deployed, tmp_path) as (gateway, key, _):
            for _ in range(2):
                assert (await ask(gateway, key)).status == 200
                await collector.flushed(gateway)
            collector.status = 200
            assert (await ask(gateway, key)).status == 200
            assert len(await collector.flushed(gateway)) == 2
            page = (await raw.exchange(gateway.url, "GET", "/metrics")).body.decode()
    assert 'tollgate_traces_total{result="failed"} 2.0' in page
    told = [record.getMessage() for record in caplog.records if "collector" in record.getMessage()]
    assert told == ["the collector takes no traces: requests go on", "the collector takes traces again"]


async def test_a_client_that_leaves_is_no_error(tmp_path: Path) -> None:
    async with Engine("faq") as engine, collecting() as collector:
        engine.hold()
        async with serving(collector.deployed(deployment({"main": [engine.url]})), tmp_path) as (gateway, key, _):
            async with raw.connect(gateway.url) as client:
                await client.send("POST", PATH, BODY, {"authorization": f"Bearer {key}"})
                await engine.wait_for(lambda e: e.running == 1)
            (row,) = await gateway.rows(1)
            server, attempt = await collector.flushed(gateway)
    assert (row.outcome, server.attributes["tollgate.outcome"]) == ("client_closed", "client_closed")
    assert "error.type" not in server.attributes
    assert attempt.attributes["error.type"] == "client_closed"
    assert not server.failed
    assert not attempt.failed


class _Client(AsgiClient):
    def __init__(self) -> None:
        async def receive() -> Message:
            raise AssertionError

        async def send(_: Message) -> None:
            raise AssertionError

        super().__init__({"method": "POST", "path": PATH, "headers": []}, receive, send)


def _tracing(sample: float, sent: list[Trace]) -> Tracing:
    def export(traces: Sequence[Trace]) -> bool:
        sent.extend(traces)
        return True

    counted = Counter("t", "t", ["result"], registry=CollectorRegistry())
    return Tracing(sample, export, lambda: 0.0, random.Random(1), counted)


def test_a_ratio_is_decided_as_the_sdk_does() -> None:
    tracing, sampler, kept = _tracing(0.25, []), TraceIdRatioBased(0.25), 0
    for _ in range(400):
        client = _Client()
        tracing.begin(client, 0.0)
        trace_id = client.trace.trace_id if client.trace else client.context[16:48].decode()
        kept += client.trace is not None
        decision = sampler.should_sample(None, int(trace_id, 16), "t").decision
        assert decision.is_sampled() is (client.trace is not None)
    assert 60 < kept < 140


async def test_traces_that_nobody_takes_are_bounded() -> None:
    sent: list[Trace] = []
    tracing, client = _tracing(1.0, sent), _Client()
    tracing.begin(client, 0.0)
    assert client.trace is not None
    for _ in range(MOST_HELD + 5):
        tracing.end(client.trace)
    await tracing.flush()
    assert len(sent) == MOST_HELD


def test_without_the_sdk_the_gateway_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(InputError, match=r"tollgate\[otel\]"):
        exporter(TracingConfig(endpoint="http://127.0.0.1:1"), dict)
