"""Nothing that a client writes chooses whom the gateway asks, and nothing of a client's credentials goes there."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.servers import says, server
from tests.gateway.serving import deployment, serving
from tests.security.front import CHAT, HELLO, Front

FIELDS = (
    "api_base", "base_url", "api_key", "api_version", "azure_endpoint", "organization", "custom_llm_provider",
    "model_list", "fallbacks", "user_config", "callback_url", "webhook", "success_callback", "url", "host",
    "endpoint", "upstream", "proxy", "extra_headers", "default_headers", "litellm_params", "mock_response",
    "guardrails", "provider", "target",
)  # fmt: skip
HEADERS = (
    "x-portkey-custom-host", "x-portkey-config", "helicone-target-url", "x-litellm-api-base", "x-target-host",
    "x-upstream", "x-base-url", "x-forwarded-host", "x-host", "x-original-url", "x-rewrite-url", "forwarded", "host",
    "proxy", "via", "x-api-base", "openai-organization", "x-data-parallel-rank", "x-request-id", "baggage", "te",
    "x-session-id", "cookie", "proxy-authorization", "x-kv-transfer-params", "keep-alive", "trailer",
)  # fmt: skip
INSIDE = (
    "http://127.0.0.1:{0}/x", "http://localhost:{0}/x", "http://[::1]:{0}/x", "http://[::ffff:127.0.0.1]:{0}/x",
    "http://0.0.0.0:{0}/x", "http://0177.0.0.1:{0}/x", "http://2130706433:{0}/x", "http://127.1:{0}/x",
)  # fmt: skip
"""Ways to write this machine's own address: whoever follows one is heard by the engine that listens there."""
FORWARDED = {"host", "content-type", "content-length", "x-request-id"}


def test_no_field_of_a_body_leads_elsewhere(house: Front) -> None:
    for place in INSIDE:
        url = place.format(house.other.port)
        for nested in (url, [url], {"api_base": url, "url": url}):
            assert (
                house.chat(**dict.fromkeys(FIELDS, nested), metadata={"api_base": url}, extra_body={"a": url}).status
                == 200
            )
    assert set(house.heard()) == {CHAT}
    assert house.other.connections_made == 0


def test_no_header_leads_elsewhere_and_none_of_a_clients_passes(house: Front) -> None:
    url = house.other.url
    for value in (url, f"127.0.0.1:{house.other.port}", json.dumps({"custom_host": url, "base_url": url})):
        assert house.chat(headers=dict.fromkeys(HEADERS, value)).status == 200
    for received in house.engine.requests:
        assert {name.lower() for name, _ in received.headers} == FORWARDED
        assert house.key.encode() not in received.head + received.body
        assert b"custom_host" not in received.head
    assert set(house.heard()) == {CHAT}
    assert house.other.connections_made == 0


def test_the_gateway_itself_fetches_no_media(house: Front) -> None:
    """Whether the engine does is a matter of its network and of its flags: docs/security.md says which."""
    for place in INSIDE:
        url = place.format(house.other.port)
        parts: list[Any] = [{"type": "text", "text": "look"}]
        parts += [{"type": kind, kind: {"url": url}} for kind in ("image_url", "video_url", "audio_url")]
        house.chat(messages=[{"role": "user", "content": parts}])
    assert set(house.heard()) <= {CHAT}
    assert house.other.connections_made == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_engines_redirect_is_not_followed(tmp_path: Path, status: int) -> None:
    async with Engine() as other:
        moved = f"HTTP/1.1 {status} Moved\r\nlocation: {other.url}{CHAT}\r\ncontent-length: 0\r\n\r\n".encode()
        async with server(says(moved)) as url, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
            answer = await raw.post(gateway.url, CHAT, HELLO, {"authorization": f"Bearer {key}"})
            assert (answer.status, answer.header("location")) == (502, None)
        assert other.connections_made == 0


async def test_an_engines_headers_do_not_reach_the_client(tmp_path: Path) -> None:
    """Of an engine's answer its status, its type and its body count: it sets no cookie and frames no message."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: a=b\r\nx-evil: 1\r\nlocation: /\r\n"
    body = b'{"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    said = head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    async with server(says(said)) as url, serving(deployment({"main": [url]}), tmp_path) as (gateway, key, _):
        answer = await asyncio.wait_for(raw.post(gateway.url, CHAT, HELLO, {"authorization": f"Bearer {key}"}), 10)
        names = {name.lower() for name, _ in answer.headers}
        assert (answer.status, answer.body) == (200, body)
        assert not names & {"set-cookie", "x-evil", "location"}
