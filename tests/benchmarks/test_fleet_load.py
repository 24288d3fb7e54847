"""Simulated time, the load and the engines behind real sockets: what is sent arrives, what is bad is seen."""

import asyncio
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet import wire
from benchmarks.fleet.clock import Alarm, Clock
from benchmarks.fleet.load import Plan, ask, wrong
from benchmarks.fleet.model import Happening, Job
from benchmarks.fleet.session import result
from benchmarks.fleet.workload import MODEL
from benchmarks.install import HERE
from benchmarks.machine import free_port
from tests.engine import recordings


@given(st.floats(0, 1e4), st.lists(st.tuples(st.floats(0.01, 50), st.floats(0.1, 100)), max_size=4), st.floats(0, 200))
def test_a_clock_that_changes_its_pace_goes_on_and_back(
    origin: float, changes: list[tuple[float, float]], later: float
) -> None:
    clock, at = Clock(origin, 10.0), origin
    before = clock.simulated(origin + later)
    for step, scale in changes:
        at += step
        clock.rescale(at, scale)
        assert clock.simulated(at) == pytest.approx(clock.simulated(at - 1e-9), abs=1e-3)
    assert clock.real(clock.simulated(origin + later)) == pytest.approx(origin + later, abs=1e-6)
    if changes and later < changes[0][0]:
        assert clock.simulated(origin + later) == before


async def test_an_alarm_goes_off_once_and_not_before_its_moment() -> None:
    rung: asyncio.Queue[float] = asyncio.Queue()
    alarm = Alarm(asyncio.get_running_loop(), lambda: rung.put_nowait(time.monotonic()))
    alarm.set(time.monotonic() + 3600)
    due = time.monotonic() + 0.02
    alarm.set(due)
    assert await asyncio.wait_for(rung.get(), 10) >= due
    alarm.set(0.0)
    await asyncio.wait_for(rung.get(), 10)
    assert rung.empty()


def _stream(words: int, options: wire.Options) -> bytes:
    job = Job(7, 0.0, 7200, words, (), cached_tokens=6000)
    made, told = [], 0
    for tokens in (1, 73, words):
        kind = "last" if tokens == words else "tokens"
        made.append(wire.events(Happening(0.0, job, kind, tokens), told, options))
        told = tokens
    return wire.HEAD + b"".join(made)


def _chunks(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(each) for each in re.findall(rb"data: (\{.*\})\n\n", stream)]


def test_a_stream_is_vllms_but_for_the_size_of_its_chunks() -> None:
    ours = _chunks(_stream(145, wire.Options(include_usage=True, continuous_usage_stats=True)))
    its = _chunks(recordings.load("chat_stream_continuous_usage").body)
    assert [each["usage"]["completion_tokens"] for each in ours] == [0, 1, 73, 145, 145]
    assert "".join(each["choices"][0]["delta"]["content"] for each in ours[:-1]) == " zig" * 145
    for mine, recorded in zip((*ours[:2], *ours[-2:]), (*its[:2], *its[-2:]), strict=True):
        assert recorded.keys() >= mine.keys()
        assert [choice.keys() for choice in mine["choices"]] == [choice.keys() for choice in recorded["choices"]]
    assert ours[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 6000}
    plain = _stream(145, wire.Options())
    assert b"usage" not in plain
    assert wrong(plain, 145) is None
    assert wrong(plain, 144) == "145 of 144 words"
    assert wrong(plain.replace(b"[DONE]", b"[GONE]"), 145) == "no [DONE]"


@pytest.fixture(scope="module")
def ports() -> Iterator[list[int]]:
    command = [sys.executable, "-m", "benchmarks.fleet.server", "2"]
    with subprocess.Popen(command, cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engines:
        assert engines.stdout is not None
        yield json.loads(engines.stdout.readline())["ports"]
        engines.communicate(timeout=10)  # the end of their input is their own
    assert engines.returncode == 0


def _run(plan: Plan) -> dict[str, Any]:
    origin = time.monotonic() + 1.0
    ask(plan.control, "POST", "/_fleet/begin", {"origin": origin, "scale": plan.scale})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet.load"],
        input=f"{json.dumps(asdict(plan))}\n{origin}\n",
        cwd=HERE.parent, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_every_request_is_sent_answered_and_told(ports: list[int]) -> None:
    plan = Plan("unique", 1, ports, 100.0, ports[0], hold_s=20.0)
    told = _run(plan)
    engines = ask(ports[0], "GET", "/_fleet/log")
    found = result(told["requests"], engines)
    assert (found["failed"], found["failure"], engines["open"], found["cached_share"]) == (0, None, 0, 0.0)
    assert found["requests"] == len(told["requests"]) == len(engines["log"]) > found["measured"] > 100
    assert sum(found["work"]) == 7200 * found["measured"]
    # Two engines read a prompt in 0.6 s each, and take it in turns.
    for _number, engine, arrived, started, first, finished, prompt, cached in engines["log"]:
        assert (prompt, cached, engine in (0, 1)) == (7200, 0, True)
        assert arrived <= started
        assert first - started == pytest.approx(0.6)
        assert finished - first == pytest.approx(144 * 0.025)
    seen = {row[0]: row[2] for row in told["requests"]}
    late = sorted(seen[row[0]] - (row[4] - row[2]) for row in engines["log"])
    assert late[0] > 0, "a client sees a token no earlier than the engine tells it"


def test_what_finds_nobody_or_gets_no_end_has_failed(ports: list[int]) -> None:
    plan = Plan("unique", 1, ports, 10.0, ports[0], hurry=1.0, patience_s=0.0, hold_s=1.0)
    nobody = _run(replace(plan, ports=[free_port()]))["requests"]
    assert {row[4].split(":")[0] for row in nobody} == {"no connection"}
    assert result(nobody, ask(ports[0], "GET", "/_fleet/log"))["failed"] == len(nobody)
    # The last answers take 3.6 s, and nobody waits for them.
    assert _run(plan)["requests"][-1][4] == "unfinished"


def test_a_router_is_told_what_it_asks(ports: list[int]) -> None:
    ask(ports[0], "POST", "/_fleet/begin", {"origin": time.monotonic(), "scale": 1000.0})
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Are you there?"}], "max_tokens": 3}
    answer = ask(ports[1], "POST", "/v1/chat/completions", chat)
    assert answer["choices"][0]["message"]["content"] == " zig zig zig"
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert ask(ports[1], "POST", "/tokenize", chat)["count"] == 3
    assert len(ask(ports[1], "POST", "/v1/chat/completions/render", chat)["token_ids"]) == 3
    assert ask(ports[1], "GET", "/v1/models")["data"][0]["id"] == MODEL
    assert ask(ports[1], "GET", "/nowhere") == {"detail": "Not Found"}
    assert "error" in ask(ports[1], "POST", "/v1/completions", {"prompt": "abcd" * 400_000})
    assert "error" in ask(ports[1], "POST", "/v1/completions", ["no object"])
    with closing(http.client.HTTPConnection("127.0.0.1", ports[1])) as connection:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    assert 'vllm:cache_config_info{block_size="48",engine="0",num_gpu_blocks="6402"} 1.0' in page
    assert 'vllm:num_requests_waiting{engine="0",model_name="bench"} 0.0' in page
    assert ask(ports[0], "GET", "/_fleet/log")["unknown"] == {"/nowhere": 1}
