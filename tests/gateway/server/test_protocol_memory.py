"""What is left of a client's connection that ended: nothing, without the collector's help."""

import asyncio
import gc

import pytest

from gateway.server.protocol import HttpProtocol
from tests.gateway.listening import GET, echo, site


def _connections() -> int:
    """Those of other tests may still be held by somebody."""
    return sum(type(each) is HttpProtocol for each in gc.get_objects())


@pytest.mark.parametrize("whole", [True, False])
async def test_a_connection_that_ended_is_no_circle(whole: bool) -> None:
    async with site(echo) as running:
        gc.collect()
        gc.disable()
        before = _connections()
        try:
            for _ in range(3):
                async with running.talk(GET if whole else GET[:-2]) as talk:
                    if whole:
                        await talk.answer()
            await running.empty()
            for _ in range(3):
                await asyncio.sleep(0)
            assert _connections() <= before
        finally:
            gc.enable()
