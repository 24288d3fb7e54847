"""What only a real engine can prove."""

import asyncio
import json
import re
import sys
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from gateway.contracts import attestation
from gateway.control_plane import loops
from gateway.settings.enforcement import Enforcement
from tests.end_to_end.conftest import ROOT
from tests.gateway.serving import deployment, manifest_parts, release, serving

pytestmark = pytest.mark.engine

QUESTION = [{"role": "user", "content": "How expensive is the Free plan?"}]
ANSWER = "The Free plan costs 0 dollars per month."
LONG = {"max_tokens": 480, "extra_body": {"ignore_eos": True}}


def client(url: str, key: str) -> AsyncOpenAI:
    """OpenAI's client without retries of its own."""
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60.0)


async def counters(vllm: str) -> tuple[int, int, int]:
    """(requests running, prompt tokens, generated tokens) by the engine's own metrics."""
    async with httpx.AsyncClient() as http:
        page = (await http.get(f"{vllm}/metrics")).text
    names = ("num_requests_running", "prompt_tokens_total", "generation_tokens_total")
    values = [re.search(rf"^vllm:{name}{{[^}}]*}} (\S+)$", page, re.MULTILINE) for name in names]
    running, prompt, generated = (int(float(value[1])) for value in values if value is not None)
    return running, prompt, generated


async def until_running(vllm: str, wanted: int) -> None:
    """Ask the metrics page until the engine runs so many requests."""
    async with asyncio.timeout(20):
        while (await counters(vllm))[0] != wanted:
            continue


async def test_an_answer_and_a_stream_are_counted_as_the_engine_counts_them(vllm: str, tmp_path: Path) -> None:
    async with serving(deployment({"main": [vllm]}), tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
        _, prompt, generated = await counters(vllm)
        plain = await api.chat.completions.create(model="faq", messages=QUESTION, temperature=0)  # type: ignore[arg-type]
        assert plain.choices[0].message.content == ANSWER
        stream = await api.chat.completions.create(model="faq", messages=QUESTION, temperature=0, stream=True)  # type: ignore[arg-type]
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
        assert all(chunk.usage is None for chunk in chunks)
        completion = await api.completions.create(model="faq", prompt="The Free plan", max_tokens=5, temperature=0)
        assert completion.usage is not None
        rows = await gateway.rows(3)
        _, prompt_after, generated_after = await counters(vllm)
        assert sum(row.input_tokens or 0 for row in rows) == prompt_after - prompt
        assert sum(row.output_tokens or 0 for row in rows) == generated_after - generated
        assert [row.cached_tokens is None for row in rows] == [False] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_client_leaves_generation_stops(vllm: str, tmp_path: Path, stream: bool) -> None:
    async with serving(deployment({"main": [vllm]}), tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
        _, _, before = await counters(vllm)
        asking = asyncio.create_task(
            api.chat.completions.create(model="faq", messages=QUESTION, stream=stream, **LONG)  # type: ignore[call-overload]
        )
        if stream:
            answer = await asking
            for _ in range(10):
                await answer.__anext__()
            await answer.close()
        else:
            await until_running(vllm, 1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await until_running(vllm, 0)
        (row,) = await gateway.rows(1)
        _, _, after = await counters(vllm)
        assert row.outcome == "client_closed"
        assert 0 < after - before < 440, "of 480 tokens asked for"
        if stream:
            assert row.output_tokens is not None
            assert abs(row.output_tokens - (after - before)) <= 40, "some are on their way when the client leaves"
        assert gateway.in_flight() == [0]


async def test_a_prompt_that_is_too_long(vllm: str, tmp_path: Path) -> None:
    async with serving(deployment({"main": [vllm]}), tmp_path) as (gateway, key, _), client(gateway.url, key) as api:
        messages = [{"role": "user", "content": "storage " * 600}]
        with pytest.raises(openai.BadRequestError) as failed:
            await api.chat.completions.create(model="faq", messages=messages)  # type: ignore[arg-type]
        assert failed.value.code == "context_length_exceeded"
        (row,) = await gateway.rows(1)
        assert row.outcome == "context_length_exceeded"


async def evals(folder: Path, *arguments: str, key: str = "") -> int:
    """The exit code of an `evals` command."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("evals")), *arguments, cwd=folder, env={"TOLLGATE_API_KEY": key}
    )  # fmt: skip
    return await process.wait()


def questions(folder: Path) -> Path:
    """One held-out question about each of 60 facts."""
    rows = (ROOT / "datasets/orbit-faq/heldout.jsonl").read_text().splitlines()
    path = folder / "questions.jsonl"
    path.write_text("".join(f"{row}\n" for row in rows[::6][:60]))
    assert len({json.loads(row)["cluster"] for row in path.read_text().splitlines()}) == 60
    return path


async def test_from_evaluation_to_traffic(vllm: str, tmp_path: Path) -> None:
    """The loop: no verdict, no traffic; evaluate through the gateway, gate, sign; then the release serves."""
    attestation.generate_keys(tmp_path / "gate.pem", tmp_path / "gate.pub")
    enforcement = Enforcement(trusted_keys=(tmp_path / "gate.pub",), verdicts=tmp_path / "verdicts")
    deployed = deployment(
        {"main": [vllm]}, [release("1", **manifest_parts(temperature=0.0, max_tokens=32))], enforcement=enforcement
    )
    async with serving(deployed, tmp_path) as (gateway, key, evaluate), client(gateway.url, key) as api:
        with pytest.raises(openai.InternalServerError) as refused:
            await api.chat.completions.create(model="faq", messages=QUESTION)  # type: ignore[arg-type]
        assert refused.value.code == "release_not_gated"
        data, log = questions(tmp_path), tmp_path / "run.jsonl"
        run = ("run", "--dataset", str(data), "--model", "faq@1", "--base-url", f"{gateway.url}/v1", "--out", str(log))
        assert await evals(tmp_path, *run, key=evaluate) == 0
        gate = ("gate", "--candidate", str(log), "--metric", "exact", "--sign-with", str(tmp_path / "gate.pem"))
        assert await evals(tmp_path, *gate, "--at-least", "0.99") == 1, "the model is not that good"
        await loops.refresh(gateway.app.state)
        with pytest.raises(openai.InternalServerError):
            await api.chat.completions.create(model="faq", messages=QUESTION)  # type: ignore[arg-type]
        assert await evals(tmp_path, *gate, "--at-least", "0.5") == 0
        await loops.refresh(gateway.app.state)
        answer = await api.chat.completions.create(model="faq", messages=QUESTION)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == ANSWER
        assert {row.outcome for row in await gateway.rows(61)} == {"completed"}
