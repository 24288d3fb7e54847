"""One attempt on one replica: bytes as they came, kept connections, slow clients."""

import asyncio
import json
import math
import socket
from pathlib import Path

import pytest

from gateway.config import Timeouts
from gateway.settings.health import Health
from tests.engine import raw, recordings
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import server
from tests.gateway.serving import Gateway, deployment, serving
from tests.polling import tick

BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}


async def ask(gateway: Gateway, key: str, **fields: object) -> bytes:
    """The body of an answer, byte for byte."""
    headers = {"authorization": f"Bearer {key}"}
    answer = await raw.post(gateway.url, "/v1/chat/completions", json.dumps(BODY | fields).encode(), headers)
    assert answer.status == 200
    return answer.body


@pytest.mark.parametrize("http", [None, "h11"], ids=["own server", "another"])
async def test_a_plain_answer_passes_byte_for_byte(tmp_path: Path, http: str | None) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path, http=http) as (
        gateway, key, _,
    ):  # fmt: skip
        through = await ask(gateway, key)
        direct = await raw.post(engine.url, "/v1/chat/completions", json.dumps(BODY).encode())
        assert recordings.settled(through) == recordings.settled(direct.body)


async def test_when_an_engine_wants_to_be_asked_again_its_client_is_told(tmp_path: Path) -> None:
    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 X\r\nretry-after: 37\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(busy, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
        headers = {"authorization": f"Bearer {key}"}
        answer = await raw.post(gateway.url, "/v1/chat/completions", json.dumps(BODY).encode(), headers)
    assert (answer.status, answer.header("retry-after")) == (503, "37")


@pytest.mark.parametrize(
    "options",
    [None, {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}],
    ids=["nothing", "usage", "continuous"],
)
async def test_a_stream_is_what_the_engine_sends_to_one_that_asks_the_same(
    tmp_path: Path, options: dict[str, bool] | None
) -> None:
    fields = {"stream": True} | ({} if options is None else {"stream_options": options})
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        through = await ask(gateway, key, **fields)
        direct = await raw.post(engine.url, "/v1/chat/completions", json.dumps(BODY | fields).encode())
    assert recordings.settled(through) == recordings.settled(direct.body)


@pytest.mark.parametrize("kind", ["split", "drip", "coalesce", "ping"])
async def test_chunk_boundaries_do_not_matter(tmp_path: Path, kind: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        whole = recordings.settled(await ask(gateway, key, stream=True))
        engine.faults.append(Fault(kind))  # type: ignore[arg-type]
        cut = recordings.settled(await ask(gateway, key, stream=True))
        if kind == "ping":
            cut = cut.replace(b": ping\n\n", b"")
        assert cut == whole
        rows = await gateway.rows(2)
        assert {row.output_tokens for row in rows} == {3}


async def test_connections_are_kept(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        for _ in range(5):
            await ask(gateway, key)
        assert engine.connections_made == 1


async def test_a_kept_connection_that_the_engine_closed_costs_nothing(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        await ask(gateway, key)
        await engine.stop()
        await engine.start()
        await ask(gateway, key)
        rows = await gateway.rows(2)
        assert {(row.outcome, row.attempts) for row in rows} == {("completed", 1)}


async def test_a_client_that_does_not_read_is_cut_and_its_engine_freed(tmp_path: Path) -> None:
    async with Engine(answer=lambda _: ["x" * 2000] * 5000) as engine:
        deployed = deployment({"main": [engine.url]}, timeouts=Timeouts(client=0.2))
        async with serving(deployed, tmp_path) as (gateway, key, _):
            with socket.create_connection(("127.0.0.1", gateway.port)) as lazy:
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                body = json.dumps(BODY | {"stream": True, "max_tokens": 4000}).encode()
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                lazy.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
                (row,) = await asyncio.wait_for(gateway.rows(1), 10)
            assert row.outcome == "client_closed"
            await engine.wait_for(lambda e: e.running == 0)
            assert gateway.in_flight() == [0]


async def test_a_dead_replica_is_left_out_and_comes_back(tmp_path: Path) -> None:
    async with (
        Engine() as flaky,
        Engine() as steady,
        serving(deployment({"main": [flaky.url, steady.url]}, health=Health(probes=False, slow_start=0)), tmp_path) as (
            gateway,
            key,
            _,
        ),
    ):
        await flaky.stop()
        broken = gateway.app.state.serving.pools["main"].replicas[0].breaker
        for _ in range(20):
            await ask(gateway, key)
            if not broken.closed:
                broken.open_until = math.inf  # on a slow machine its trial would come due
        rows = await gateway.rows(20)
        assert {(row.outcome, row.replica) for row in rows} == {("completed", "main-1")}
        assert sum(row.attempts == 2 for row in rows) == 3, "after three failures it is not asked any more"
        await flaky.start()
        assert not broken.closed
        broken.open_until = 0.0
        for _ in range(4):
            await ask(gateway, key)
        assert broken.closed
        assert len(flaky.received("/v1/chat/completions")) >= 2


@pytest.mark.parametrize("kind", ["refuse", "error_200_nested"])
async def test_load_and_mistakes_do_not_break_a_replica(tmp_path: Path, kind: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        engine.faults.append(Fault(kind, times=10))  # type: ignore[arg-type]
        for _ in range(10):
            answer = await raw.post(
                gateway.url, "/v1/chat/completions", json.dumps(BODY).encode(), {"authorization": f"Bearer {key}"}
            )
            assert answer.status in (400, 503)
        assert gateway.app.state.serving.pools["main"].replicas[0].breaker.closed
        await ask(gateway, key)


@pytest.mark.parametrize("after", [0, 2])
async def test_an_error_event_is_one_error_and_the_last_event(tmp_path: Path, after: int) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        engine.faults.append(Fault("error_event", after=after, times=0))
        answer = await raw.post(
            gateway.url,
            "/v1/chat/completions",
            json.dumps(BODY | {"stream": True}).encode(),
            {"authorization": f"Bearer {key}"},
        )
        (row,) = await gateway.rows(1)
    assert row.outcome == "upstream_failed"
    assert b"[DONE]" not in answer.body
    if after == 0:
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_failed")
    else:
        *_, last = answer.body.strip().split(b"\n\n")
        assert answer.body.count(b'"error"') == 1
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_failed"


async def test_an_error_with_status_200_in_place_of_a_stream_is_that_error(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        engine.faults.append(Fault("error_200_flat", message="no such thing"))
        body = json.dumps(BODY | {"stream": True}).encode()
        answer = await raw.post(gateway.url, "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
        assert "no such thing" in answer.json["error"]["message"]


async def test_an_endpoint_that_the_engine_does_not_have_is_the_requests_fault(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        body = json.dumps({"model": "faq", "input": "a"}).encode()
        answer = await raw.post(gateway.url, "/v1/embeddings", body, {"authorization": f"Bearer {key}"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
        assert gateway.app.state.serving.pools["main"].replicas[0].breaker.closed


async def test_an_answer_that_drips_ends_with_the_total(tmp_path: Path) -> None:
    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 600\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await tick()

    timeouts = Timeouts(idle=5.0, total=0.5)
    async with (
        server(engine) as url,
        serving(deployment({"main": [url]}, timeouts=timeouts), tmp_path) as (gateway, key, _),
    ):
        answer = await raw.post(gateway.url, "/v1/chat/completions", BODY, {"authorization": f"Bearer {key}"})
        assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
        (row,) = await gateway.rows(1)
        assert (row.outcome, row.duration_s < 5.0) == ("upstream_timeout", True)
        assert sum(gateway.in_flight()) == 0
