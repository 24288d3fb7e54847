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
)
"""What is almost an endpoint's path."""


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_paths_of_engines_are_denied(tmp_path: Path, method: str) -> None:
    async with Engine(dev_mode=True) as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        for path in ENGINES_OWN:
            body = b"{}" if method == "POST" else b""
            answer = await raw.exchange(gateway.url, method, path, body, {"authorization": f"Bearer {key}"})
            assert (path, answer.status, answer.json["error"]["code"]) == (path, 404, "unknown_url")
        assert engine.requests == []


async def test_near_misses_are_denied(tmp_path: Path) -> None:
    body = b'{"model":"faq","messages":[{"role":"user","content":"hi"}]}'
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        for path in ENDPOINTS:
            near = [form.format(path) for form in NEAR]
            near += [path.upper(), path[:-1], path.replace("/", "\\")]
            for tried in [each for each in near if each not in ENDPOINTS]:
                answer = await raw.post(gateway.url, tried, body, {"authorization": f"Bearer {key}"})
                refused = answer.status == 400 and answer.header("connection") == "close"  # no path at all
                assert refused or (tried, answer.status, answer.json["error"]["code"]) == (tried, 404, "unknown_url")
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
            assert answer.header("allow") == "GET"
        assert engine.requests == []


async def test_an_absolute_url_names_no_other_host(tmp_path: Path) -> None:
    async with Engine() as engine, Engine() as other, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        body = b'{"model":"faq","prompt":"a"}'
        answer = await raw.post(
            gateway.url, f"{other.url}/v1/completions", body, {"authorization": f"Bearer {key}", "host": "elsewhere"}
        )
        assert answer.status == 200
        assert (len(engine.requests), other.requests) == (1, [])


@pytest.mark.parametrize("path", ["/v1/messages/", "/v1/messages/batches", "/v1/models/none"])
async def test_anthropics_clients_are_told_in_anthropics_shape(tmp_path: Path, path: str) -> None:
    async with Engine() as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (gateway, key, _):
        headers = {"anthropic-version": "2023-06-01", "x-api-key": key}
        answer = await raw.exchange(gateway.url, "GET", path, headers=headers)
        assert answer.status == 404
        assert (answer.json["type"], answer.json["error"]["type"]) == ("error", "not_found_error")
