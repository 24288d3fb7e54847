"""What a real engine says of itself, and that being asked costs what the ledger says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.control_plane.probes import ask_asleep, ask_health
from gateway.control_plane.registration import ask_facts
from gateway.policy.decisions import decode
from gateway.policy.signals import read_signals
from gateway.settings.health import Health
from gateway.settings.replicas import AdapterConfig
from gateway.upstreams.vllm import Replica
from tests.end_to_end.conftest import ADAPTER
from tests.end_to_end.test_real_vllm import counters
from tests.engine import raw
from tests.gateway.serving import deployment, release, serving

pytestmark = pytest.mark.engine


async def test_it_says_everything_that_is_wanted(vllm: str) -> None:
    replica = Replica("r", vllm, api_key=None, connect_s=5.0)
    await ask_health(replica, 5.0)
    assert await ask_asleep(replica, 5.0) is False
    facts = await ask_facts(replica, 5.0)
    assert (facts.models, facts.adapters, facts.max_model_len, facts.missing) == (("faq",), (ADAPTER,), 512, ())
    assert facts.version is not None
    assert facts.version[0].isdigit()


async def test_its_load_and_the_size_of_its_cache_are_read(vllm: str) -> None:
    page = (await raw.exchange(vllm, "GET", "/metrics")).body
    signals = read_signals(page, 1.0)
    assert signals.missing == []
    assert (signals.running, signals.waiting, signals.kv_usage, signals.asleep) == (0, 0, 0.0, False)
    assert signals.capacity is not None
    assert signals.capacity > 512
    assert read_signals(page, 1.0, rank=0).waiting == 0
    assert read_signals(page, 1.0, rank=7).waiting is None


async def test_the_cache_that_routing_expects_is_the_one_that_the_engine_has(vllm: str, tmp_path: Path) -> None:
    """Two replicas that are one engine: what was sent to one is expected there, and the engine has it in its cache."""
    text = " ".join(f"How much is plan {number}?" for number in range(35))
    async with serving(deployment({"main": [vllm, vllm]}), tmp_path) as (gateway, key, _):
        for question in ("Free?", "Team?"):
            messages = [{"role": "user", "content": text + question}]
            body = json.dumps({"model": "faq", "messages": messages, "max_tokens": 2}).encode()
            answer = await raw.post(gateway.url, "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
            assert answer.status == 200, answer.body
        rows = sorted(await gateway.rows(2), key=lambda row: row.started_at)
        decided = [decode(gateway.stores.ledger.find(row.request_id)["decision"]) for row in rows]
    assert [each.routes[0].reason.split()[0] for each in decided] == ["load", "prefix"]
    assert rows[0].replica == rows[1].replica
    expected = decided[1].routes[0].candidates[decided[1].routes[0].position].cached
    assert rows[1].cached_tokens is not None
    assert expected > 0
    assert rows[1].cached_tokens >= expected // 2


async def test_the_one_token_for_its_fingerprint_reconciles(vllm: str, tmp_path: Path) -> None:
    _, prompt, generated = await counters(vllm)
    async with serving(deployment({"main": [vllm]}, health=Health(period=0.2)), tmp_path) as (gateway, _, _):
        (row,) = await gateway.rows(1)
        assert (row.purpose, row.outcome, row.output_tokens) == ("probe", "completed", 1)
        _, prompt_after, generated_after = await counters(vllm)
        assert (row.input_tokens, row.output_tokens) == (prompt_after - prompt, generated_after - generated)
        (replica,) = gateway.app.state.serving.pools["main"].replicas
        assert replica.facts is not None
        assert str(replica.facts.fingerprint).startswith("vllm-")


async def test_an_adapter_is_loaded_when_a_request_needs_it(vllm: str, adapter: Path, tmp_path: Path) -> None:
    refunds = AdapterConfig(name="refunds", path=str(adapter))
    made = deployment({"main": [vllm]}, [replace(release("1"), adapter=refunds)], health=Health(period=0.2))
    async with serving(made, tmp_path) as (gateway, key, _):
        (engine,) = gateway.app.state.serving.pools["main"].engines
        await gateway.until(lambda: engine.facts is not None)
        assert "refunds" not in engine.facts.adapters
        body = b'{"model": "faq", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}'
        answer = await raw.post(gateway.url, "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
        assert (answer.status, json.loads(answer.body)["model"]) == (200, "refunds")
    elsewhere = AdapterConfig(name="refunds", path=str(adapter / "2"))
    other = deployment({"main": [vllm]}, [replace(release("1"), adapter=elsewhere)], health=Health(period=0.2))
    (tmp_path / "other").mkdir()
    async with serving(other, tmp_path / "other") as (gateway, key, _):
        (again,) = gateway.app.state.serving.pools["main"].engines
        await gateway.until(lambda: again.facts is not None)
        answer = await raw.post(gateway.url, "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
        assert answer.status == 503, answer.body
        assert f"another one of that name, from {str(adapter)!r}" in json.loads(answer.body)["error"]["message"]
    assert "refunds" in (await ask_facts(Replica("r", vllm, api_key=None, connect_s=5.0), 5.0)).adapters
    unloaded = await raw.post(vllm, "/v1/unload_lora_adapter", b'{"lora_name": "refunds"}')
    assert unloaded.status == 200
