"""The server is tested on both loops that it runs on."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each test runs once on each."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def unfailing(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No application failed, neither before its answer nor after it."""
    yield
    assert [(record.getMessage(), record.exc_info) for record in caplog.get_records("call")] == []
