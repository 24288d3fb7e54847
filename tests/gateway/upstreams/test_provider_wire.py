"""A provider's answers on vLLM's wire. The streams themselves are tested through LiteLLM, in test_litellm.py."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.provider_wire import counted, dumped, message_events


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "details": None}, None),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"prompt_tokens": 0, "completion_tokens": 1}, {"prompt_tokens": 0, "completion_tokens": 1}),
        ({"input_tokens": 3, "output_tokens": 0, "cost": 0.25}, {"input_tokens": 3, "output_tokens": 0}),
    ],
)
def test_zeros_are_no_count_and_prices_are_the_gateways_own(usage: Any, expected: Any) -> None:
    assert counted(usage) == expected
    assert dumped({"id": "a", "usage": usage}) == {"id": "a", "usage": expected}


async def test_an_error_among_anthropics_events_ends_them() -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b'event: ping\ndata: {"type": "ping"}\n\n'
        yield b'event: error\ndata: {"type": "error", "error": {"message": "litellm.Secret"}}\n\n'

    read = message_events(events())
    assert (await anext(read)).startswith(b"event: ping")
    with pytest.raises(ExchangeError) as caught:
        await anext(read)
    assert caught.value.reason == "the provider broke its stream off"


async def test_what_litellm_makes_up_as_a_start_waits_for_the_provider() -> None:
    async def events(*kinds: bytes) -> AsyncIterator[bytes]:
        for kind in kinds:
            yield b"event: %b\ndata: {}\n\n" % kind

    said = [event async for event in message_events(events(b"message_start", b"content_block_start", b"message_stop"))]
    assert b"".join(said) == b"".join(
        [event async for event in events(b"message_start", b"content_block_start", b"message_stop")]
    )
    assert said[0].startswith(b"event: message_start\n")
    with pytest.raises(ExchangeError):
        await anext(message_events(events(b"message_start", b"error")))
