"""What is not an endpoint is denied, however near it comes to one; no engine hears of it."""

from pathlib import Path

import pytest

from gateway.policy.endpoints import ENDPOINTS
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.serving import deployment, serving

ENGINES_OWN = (
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/chat/completions/batch",
    "/v1/chat/completions/render",
    "/v1/responses/resp_0123456789abcdef",
    "/v1/responses/resp_0123456789abcdef/cancel",
    "/v1/messages/batches",
    "/v1/realtime",
    "/v1/decisions",
    "/v1/embed",
    "/v2/embed",
    "/cohere/v2/chat",
    "/inference/v1/generate",
    "/inference/v1/abort_requests",
    "/generative_scoring",
    "/invocations",
    "/ping",
    "/version",
    "/load",
    "/server_info",
    "/sleep",
    "/wake_up",
    "/is_sleeping",
    "/reset_prefix_cache",
    "/collective_rpc",
    "/pause",
    "/update_weights",
    "/abort_requests",
    "/scale_elastic_ep",
    "/kv_event_sources",
    "/fault_tolerance/status",
    "/docs",
    "/openapi.json",
    "/_fault",
)
"""Paths that engines have, some of them without asking for a key."""
NEAR = (
    "{0}/",
    "/{0}",
    "{0}//",
    "{0}/x",
    "{0}%2f",
    "{0}%00",
    "{0};x=1",
    "{0}/.",
    "/.{0}",
    "/x/..{0}",
    "/v1{0}",
    "http://engine{0}",
)
"""What is almost an endpoint's path."""


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_paths_of_engines_are_denied(tmp_path: Path, method: str) -> None:
    async with Engine(dev_mode=True) as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        for path in ENGINES_OWN:
            answer = await raw.exchange(gateway.url, method, path, b"{}", {"authorization": f"Bearer {key}"})
            assert (path, answer.status, answer.json["error"]["code"]) == (path, 404, "unknown_url")
        assert engine.requests == []


async def test_near_misses_are_denied(tmp_path: Path) -> None:
    body = b'{"model":"faq","messages":[{"role":"user","content":"hi"}]}'
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        async with raw.connect(gateway.url) as client:
            for path in ENDPOINTS:
                near = [form.format(path) for form in NEAR]
                for tried in [*near, path.upper(), path[:-1], path.replace("/", "\\")]:
                    await client.send("POST", tried, body, {"authorization": f"Bearer {key}"})
                    answer = await client.answer()
                    if answer.status == 400 and answer.header("connection") == "close":
                        await client.close()
                        client = await raw.Client.open(gateway.url)
                        continue
                    assert (tried, answer.status) == (tried, 404)
                    assert answer.json["error"]["message"]
        assert engine.requests == []
        assert await gateway.rows(0) == []


async def test_pages_of_the_gateway_are_its_own(tmp_path: Path) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, _, _):
        metrics = await raw.exchange(gateway.url, "GET", "/metrics")
        assert b"tollgate_" in metrics.body
        assert b"vllm:" not in metrics.body
        assert (await raw.exchange(gateway.url, "GET", "/health")).json["status"] == "ok"
        for path in ("/metrics", "/health", "/ready", "/v1/models"):
            answer = await raw.post(gateway.url, path, b"{}")
            assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
        assert engine.requests == []


@pytest.mark.parametrize("path", ["/v1/messages/", "/v1/messages/batches", "/v1/messages/count_tokens/x"])
async def test_beside_anthropics_paths_it_is_said_in_anthropics_shape(tmp_path: Path, path: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, _, _):
        answer = await raw.post(gateway.url, path, b"{}")
        assert answer.status == 404
        assert (answer.json["type"], answer.json["error"]["type"]) == ("error", "not_found_error")
