"""What a real engine tells of its tokens and its time, against what the ledger has."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.control_plane.counting import Counting
from gateway.costs.counted import reconcile_tokens, told
from gateway.costs.reconcile import TokenFinding
from gateway.settings.health import Health
from tests.gateway.serving import Gateway, deployment, serving

pytestmark = pytest.mark.engine

LATER_S = 5.0
"""Clocks of the snapshots are so far from the requests that none reaches over one."""
ASKED: Sequence[tuple[str, dict[str, Any]]] = (
    ("chat/completions", {"messages": [{"role": "user", "content": "How much is the Team plan?"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "stream": True}),
    ("completions", {"prompt": "The Free plan", "max_tokens": 5}),
    ("completions", {"prompt": "The Free plan " * 20, "max_tokens": 7, "stream": True}),
    ("responses", {"input": "Hello", "max_output_tokens": 6}),
    ("responses", {"input": "Hello", "max_output_tokens": 6, "stream": True}),
    ("messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 6}),
)
SEVERAL: Sequence[tuple[str, dict[str, Any]]] = (
    *ASKED,
    ("chat/completions", {"messages": [{"role": "user", "content": "Hello " * 50}], "n": 3, "temperature": 1}),
    ("completions", {"prompt": ["The Free", "A Team plan"], "max_tokens": 5, "n": 2, "temperature": 1, "stream": True}),
    ("responses", {"input": "Hello", "max_output_tokens": 6, "n": 4}),
)
"""Beside those: several choices, of several prompts, and on a wire that does not read how many."""


async def ask(url: str, key: str, times: int = 1, asked: Sequence[tuple[str, dict[str, Any]]] = ASKED) -> None:
    """Everything that is to be asked, all at the same time."""
    async with httpx.AsyncClient(base_url=f"{url}/v1/", timeout=60.0) as http:
        headers = {"authorization": f"Bearer {key}"}
        answers = await asyncio.gather(
            *(
                http.post(path, json={"model": "faq", "temperature": 0, **body}, headers=headers)
                for path, body in list(asked) * times
            )
        )
    assert {answer.status_code for answer in answers} == {200}


async def count(gateway: Gateway, apart_s: float) -> None:
    """Write down what the engine counts, at a moment that far from now."""
    pool = gateway.app.state.serving.pools["main"]
    now = time.time() + apart_s
    counting = Counting(
        lambda: pool.engines, gateway.stores.counters, Health(), 3600.0, gateway.app.data_plane.telemetry, lambda: now
    )
    await counting.round(apart_s=0.0)


def compared(gateway: Gateway) -> list[TokenFinding]:
    """All of it."""
    return reconcile_tokens(gateway.stores.counters, None, None, settled_by=float("inf"), longest_s=60.0)


async def test_the_ledger_has_what_the_engine_counted_and_what_goes_around_is_told(vllm: str, tmp_path: Path) -> None:
    async with serving(deployment({"main": [vllm]}), tmp_path) as (gateway, key, _):
        await count(gateway, -LATER_S)
        await ask(gateway.url, key, 3, SEVERAL)
        rows = await gateway.rows(3 * len(SEVERAL))
        await count(gateway, LATER_S)
        prompt, output = compared(gateway)
        read = sum((row.input_tokens or 0) * (row.choices or 1) for row in rows)
        assert (prompt.verdict, prompt.gap, prompt.engine) == ("agrees", 0, read)
        assert sorted(row.choices for row in rows if row.choices is not None) == [2, 2, 2, 3, 3, 3]
        assert (output.verdict, output.gap, output.engine) == ("agrees", 0, sum(row.output_tokens or 0 for row in rows))
        assert prompt.engine > 0
        await ask(vllm, "none", 1, SEVERAL)
        await count(gateway, 2 * LATER_S)
        around = compared(gateway)
        assert [each.verdict for each in around] == ["around", "around"]
        assert around[0].gap == prompt.engine // 3, "the same requests once more"
        assert len(told(around)) == 2


async def test_the_engines_own_times_are_in_the_rows(vllm: str, tmp_path: Path) -> None:
    async with serving(deployment({"main": [vllm]}), tmp_path) as (gateway, key, _):
        await ask(gateway.url, key)
        rows = await gateway.rows(len(ASKED))
        for row in rows:
            if row.endpoint == "/v1/messages":
                assert (row.engine_queue_s, row.engine_prefill_s) == (None, None), "vLLM translates it, and tells none"
                continue
            assert row.dispatched_s is not None
            assert row.engine_queue_s is not None
            assert row.engine_prefill_s is not None
            assert row.dispatched_s + row.engine_queue_s + row.engine_prefill_s < row.duration_s
            assert row.cached_tokens is not None
        told_of = gateway.stores.counters.told(["main-0"], 0.0)["main-0"]
        assert (told_of.times, told_of.cached) == (True, True)
