"""What the tests of providers answer from."""

from collections.abc import AsyncIterator

import pytest

from gateway.upstreams.litellm import library
from tests.engine.server import Engine
from tests.gateway.upstreams.provider_server import KEY, ProviderServer


@pytest.fixture
async def _closed() -> AsyncIterator[None]:
    """LiteLLM keeps its clients for the life of a process; here each test has a loop of its own."""
    yield
    await library().close_litellm_async_clients()
    library().in_memory_llm_clients_cache.flush_cache()


@pytest.fixture
async def engine(_closed: None) -> AsyncIterator[Engine]:
    async with Engine("m", api_key=KEY, max_model_len=50) as started:
        yield started


@pytest.fixture
async def api(_closed: None) -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as started:
        yield started
