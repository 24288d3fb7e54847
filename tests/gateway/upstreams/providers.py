"""Providers that answer on loopback, and a whole exchange with one."""

import json
from typing import Any

import pytest

from gateway.policy.endpoints import ENDPOINTS
from gateway.upstreams.litellm import Provider
from tests.engine.server import Engine
from tests.gateway.upstreams.provider_server import KEY, ProviderServer

CHAT, MESSAGES, RESPONSES, EMBEDDINGS = (
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1/embeddings",
)
HELLO = [{"role": "user", "content": "hello there you all"}]
S = 60.0
"""LiteLLM loads more of itself at the first ask, for which a busy machine takes its time."""
WARNINGS = [
    # LiteLLM's own types, built as they are first used, and its own use of pydantic.
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


def openai(engine: Engine, brand: str = "openai", key: str = KEY) -> Provider:
    return Provider("p", f"{brand}/m", api_key=key, base_url=engine.url + "/v1", connect_s=S, total_s=S)


def at(api: ProviderServer, model: str = "anthropic/claude-sonnet-4-5", key: str = KEY) -> Provider:
    base = api.url + ("/v1" if model.startswith("openai/") else "")
    return Provider("p", model, api_key=key, base_url=base, connect_s=S, total_s=S)


async def ask(provider: Provider, path: str, **body: Any) -> tuple[int, bytes, bytes]:
    answer = provider.begin(ENDPOINTS[path], json.dumps({"model": "faq", **body}).encode(), b"application/json", "r")
    try:
        status = await answer.head(S)
        pieces = []
        while piece := await answer.read(S):
            pieces.append(piece)
        return status, answer.headers[b"content-type"], b"".join(pieces)
    finally:
        provider.end(answer)
