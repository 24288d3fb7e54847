"""What can be read of an engine: its models, and whether it sleeps."""

import re
from typing import Any

import pytest

from tests.engine import raw, recordings, replay
from tests.engine.recordings import settled
from tests.engine.simulator import Engine

_ROOT = re.compile(rb'"root":"[^"]*"')


@pytest.mark.parametrize(
    ("name", "options"), [("models", {"max_model_len": 512}), ("models_lora", {"max_model_len": 256})]
)
async def test_models_are_the_recorded_bytes(name: str, options: dict[str, Any]) -> None:
    recording = recordings.load(name)
    loras = "support,billing" if name == "models_lora" else ""
    async with Engine("faq", loras=loras, clock=lambda: 1795365651.0, **options) as engine:
        answer = await replay.ask(engine, recording)
        # Where the weights lie differs, and with it the length.
        assert _ROOT.sub(b"", settled(answer.body)) == _ROOT.sub(b"", settled(recording.body))
        assert [name for name, _ in answer.headers] == [name for name, _ in recording.headers]
        assert answer.header("content-length") == str(len(answer.body))


async def test_only_a_development_engine_says_whether_it_sleeps() -> None:
    recording = recordings.load("is_sleeping")
    async with Engine("faq", dev_mode=True) as engine:
        replay.same(await replay.ask(engine, recording), recording)
    async with Engine("faq") as engine:
        assert (await replay.ask(engine, recording)).status == 404
        assert (await raw.post(engine.url, "/sleep", {})).status == 404


async def _sleep_states(engine: Engine) -> list[str]:
    page = (await raw.exchange(engine.url, "GET", "/metrics")).body.decode()
    return [line.split('sleep_state="')[1] for line in page.splitlines() if line.startswith("vllm:engine_sleep_state{")]


@pytest.mark.parametrize("level", [1, 2])
async def test_sleep_is_told_by_page_and_meter(level: int) -> None:
    async with Engine("faq", dev_mode=True) as engine:
        assert await _sleep_states(engine) == ['awake"} 1.0', 'weights_offloaded"} 0.0', 'discard_all"} 0.0']
        slept = await raw.post(engine.url, f"/sleep?level={level}", None)
        assert slept.json == {"status": "sleeping", "level": level}
        assert (await raw.exchange(engine.url, "GET", "/is_sleeping")).json == {"is_sleeping": True}
        states = [state.endswith("1.0") for state in await _sleep_states(engine)]
        assert states.index(True) == level
        assert sum(states) == 1
        assert (await raw.post(engine.url, "/wake_up", None)).json == {"status": "awake", "tags": None}
        assert (await raw.exchange(engine.url, "GET", "/is_sleeping")).json == {"is_sleeping": False}
