"""What a real engine says of itself, and that being asked costs what the ledger says."""

from pathlib import Path

import pytest

from gateway.control_plane.probes import ask_asleep, ask_health
from gateway.control_plane.registration import ask_facts
from gateway.settings.health import Health
from gateway.upstreams.vllm import Replica
from tests.end_to_end.conftest import ADAPTER
from tests.end_to_end.test_real_vllm import counters
from tests.gateway.serving import deployment, serving

pytestmark = pytest.mark.engine


async def test_it_says_everything_that_is_wanted(vllm: str) -> None:
    replica = Replica("r", vllm, api_key=None, connect_s=5.0)
    await ask_health(replica, 5.0)
    assert await ask_asleep(replica, 5.0) is False
    facts = await ask_facts(replica, 5.0)
    assert (facts.models, facts.adapters, facts.max_model_len, facts.missing) == (("faq",), (ADAPTER,), 512, ())
    assert facts.version is not None
    assert facts.version[0].isdigit()


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
