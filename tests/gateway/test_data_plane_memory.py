"""What is left of a request that ended, however it ended: nothing, at once, without the collector's help."""

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.relay import Exchange
from tests.engine import raw
from tests.engine.simulator import Engine, Fault
from tests.gateway.serving import deployment, serving

PATH = "/v1/chat/completions"
BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}
RESPONSES = {"model": "faq", "input": "one two three"}


REFUSED = Fault("refuse", times=0)

pytestmark = pytest.mark.usefixtures("no_collector")


def _exchanges() -> int:
    return sum(type(each) is Exchange for each in gc.get_objects())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [None, Fault("close", times=0), Fault("close", after=1, times=0), Fault("refuse", times=0)]
)
@pytest.mark.parametrize("path", [PATH, "/v1/responses"])
async def test_a_request_that_ended_is_gone(tmp_path: Path, fault: Fault | None, stream: bool, path: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        if fault is not None:
            engine.faults.append(fault)
        body = json.dumps((BODY if path == PATH else RESPONSES) | {"stream": stream}).encode()
        for _ in range(3):
            await raw.post(gateway.url, path, body, {"authorization": f"Bearer {key}"})
        await gateway.rows(3)
        assert _exchanges() == 0


async def test_one_that_reaches_no_engine_is_gone(tmp_path: Path) -> None:
    async with serving(deployment({"main": ["http://127.0.0.1:9"]}), tmp_path) as (gateway, key, _):
        for _ in range(3):
            answer = await raw.post(gateway.url, PATH, json.dumps(BODY).encode(), {"authorization": f"Bearer {key}"})
            assert answer.status == 503
        await gateway.rows(3)
        assert _exchanges() == 0


async def test_under_another_server_too_the_end_of_the_gateway_is_told(tmp_path: Path) -> None:
    sent: list[Any] = []
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": json.dumps(BODY).encode()})

    async def send(message: Any) -> None:
        sent.append(message)

    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        engine.hold()
        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "http", "path": PATH, "raw_path": PATH.encode(), "method": "POST", "headers": headers}
        running = asyncio.create_task(gateway.app(scope, incoming.get, send))
        await engine.wait_for(lambda e: e.running == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (row,) = await gateway.rows(1)
    assert (row.outcome, row.status, sent[0]["status"]) == ("gateway_stopping", 503, 503)
    assert b"gateway_stopping" in sent[1]["body"]
