"""The log as JSON: one line an event, with its request and trace, and nothing that a client wrote."""

import io
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.asgi import AsgiClient
from gateway.contracts.trace import lines
from gateway.logs import FORMAT, JsonLines, formatter, named
from tests.engine.simulator import Engine
from tests.gateway.process import serving

PROMPT = "the secret prompt"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of its own, and what it wrote."""
    text, logger = io.StringIO(), logging.Logger("tollgate")
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    yield logger, text
    handler.close()


def _client() -> AsgiClient:
    async def never() -> Any:
        raise AssertionError

    async def nowhere(_: Any) -> None:
        raise AssertionError

    client = AsgiClient({"method": "POST", "path": "/", "headers": []}, never, nowhere)
    client.request_id = "tg-1"
    return client


def test_an_event_is_one_line(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, text = log
    logger.warning("replica %r is down:\n%s", "main-0", "\u2028 it is gone")
    (line,) = text.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == "replica 'main-0' is down:\n\u2028 it is gone"
    assert (event["level"], event["logger"]) == ("WARNING", "tollgate")
    assert event["at"].endswith("Z")
    assert "request_id" not in event


def test_an_error_is_told_without_its_text(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, text = log
    try:
        raise ValueError(PROMPT)
    except ValueError:
        logger.exception("a defect ended request %s", "tg-1", extra=named(_client()))
    event = json.loads(text.getvalue())
    assert PROMPT not in text.getvalue()
    assert (event["error"], event["request_id"]) == ("ValueError", "tg-1")
    assert "test_an_error_is_told_without_its_text" in event["where"][-1]


def test_an_event_of_a_request_names_its_trace() -> None:
    client = _client()
    assert named(client) == {"request_id": "tg-1", "trace_id": None}
    client.context = lines(TRACE, "00f067aa0ba902b7", sampled=False)
    assert named(client)["trace_id"] == TRACE


def test_text_is_the_default() -> None:
    assert [isinstance(formatter(each), JsonLines) for each in ({FORMAT: "json"}, {FORMAT: "text"}, {})] == [
        True,
        False,
        False,
    ]


async def test_a_gateway_that_is_told_so_writes_json(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(tmp_path, engine, "--log-format", "json") as gateway:
        (tmp_path / "gateway.yaml").write_text("pools: 7")
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.logged('"level": "ERROR"')
        await gateway.ended(signal.SIGTERM)
        events = [json.loads(line) for line in gateway.errors.splitlines()]
    assert any("the configuration is refused" in event["event"] for event in events)
