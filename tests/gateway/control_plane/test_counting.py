"""Rounds of counting: what engines count is written down by one, and held against the ledger."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from gateway.control_plane.counting import LAST_S, LEAST_TOKENS, Counting
from gateway.control_plane.loops import attempt
from gateway.policy.health import Vitals
from gateway.settings.health import Health
from gateway.stores.bundle import open_stores
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.engine.simulator import Engine
from tests.gateway.builders import settled
from tests.gateway.servers import pages, server

SETTINGS = Health(timeout=0.5)
START = 1_000_000.0


def page(prompt: int, output: int, ranks: int = 1) -> tuple[int, bytes]:
    """What an engine has counted."""
    lines = ["process_start_time_seconds 5"]
    for rank in range(ranks):
        lines.append(f'vllm:prompt_tokens_total{{engine="{rank}"}} {prompt + rank}')
        lines.append(f'vllm:generation_tokens_total{{engine="{rank}"}} {output}')
    return 200, "\n".join([*lines, ""]).encode()


class Watch:
    """Counting of some replicas, with a clock that the test moves."""

    def __init__(self, folder: Path, *urls: str, ranks: bool = False) -> None:
        self.now, self.telemetry = START, Telemetry()
        self.stores = open_stores(f"sqlite:///{folder / 'tollgate.db'}")
        self.replicas = [
            Replica(f"r{at}", url, api_key=None, connect_s=1.0, vitals=Vitals(SETTINGS), rank=at if ranks else None)
            for at, url in enumerate(urls)
        ]
        self.counting = self.another()

    def another(self) -> Counting:
        return Counting(lambda: self.replicas, self.stores.counters, SETTINGS, 60.0, self.telemetry, lambda: self.now)

    async def round(self, **options: Any) -> None:
        assert await attempt(lambda: self.counting.round(**options)), "a round ended the loop"

    def written(self) -> list[tuple[str, float, int | None, int | None]]:
        found = self.stores.counters.snapshots(None, None)
        return [(each.replica, each.at - START, each.prompt_tokens, each.generation_tokens) for each in found]

    def gauge(self, kind: str = "prompt") -> float | None:
        labels = {"replica": "r0", "kind": kind}
        return self.telemetry.registry.get_sample_value("tollgate_unaccounted_tokens", labels)


async def test_one_of_many_writes_what_an_engine_counts(tmp_path: Path) -> None:
    answers = {"/metrics": page(10, 3)}
    async with server(pages(answers)) as url:
        watch = Watch(tmp_path, url)
        await watch.round()
        await watch.another().round()
        watch.now += 60.0
        answers["/metrics"] = page(20, 5)
        await watch.round()
        watch.now += 2.0
        await watch.round(apart_s=LAST_S)
    assert watch.written() == [("r0", 0.0, 10, 3), ("r0", 60.0, 20, 5), ("r0", 62.0, 20, 5)]


async def test_an_engine_that_comes_up_is_counted_at_once_and_then_each_minute(tmp_path: Path) -> None:
    answers = {"/metrics": page(0, 0)}
    async with server(pages(answers)) as url:
        watch = Watch(tmp_path, url)
        (replica,) = watch.replicas
        replica.vitals.up = False
        for second in range(0, 124, 2):
            watch.now = START + second
            replica.vitals.up = second > 2
            await watch.round()
    assert [at for _, at, _, _ in watch.written()] == [4.0, 64.0]


async def test_ranks_share_a_page_and_count_apart(tmp_path: Path) -> None:
    async with server(pages({"/metrics": page(10, 3, ranks=2)})) as url:
        watch = Watch(tmp_path, url, url, ranks=True)
        await watch.round()
    assert watch.written() == [("r0", 0.0, 10, 3), ("r1", 0.0, 11, 3)]


async def test_a_simulated_engine_is_read(tmp_path: Path) -> None:
    async with Engine() as engine:
        watch = Watch(tmp_path, engine.url)
        await watch.round()
    assert watch.written() == [("r0", 0.0, 0, 0)]


async def test_what_does_not_answer_or_does_not_count_is_left_out(tmp_path: Path) -> None:
    async with server(pages({"/metrics": (200, b"x 1\n")})) as silent, server(pages({})) as lost:
        watch = Watch(tmp_path, silent, lost, "http://127.0.0.1:1", silent)
        watch.replicas[3].vitals.up = False
        await watch.round()
        assert watch.counting.counted == {"r0": START}, "who does not count is not asked again all the time"
    assert watch.written() == []


async def test_tokens_around_the_gateway_are_told_once_until_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"/metrics": page(0, 0)}
    async with server(pages(answers)) as url:
        watch = Watch(tmp_path, url)
        with caplog.at_level(logging.WARNING, "tollgate"):
            await watch.round()
            value = watch.gauge()
            assert value is not None
            assert math.isnan(value), "nothing can be told yet"
            answers["/metrics"] = page(LEAST_TOKENS, 5)
            for _ in range(4):
                watch.now += 60.0
                await watch.round()
            assert (watch.gauge(), watch.gauge("output")) == (LEAST_TOKENS, 5.0)
            (line,) = caplog.messages
            assert f"'r0': prompt tokens: the engine counted {LEAST_TOKENS}, the ledger has 0" in line
            caplog.clear()
            row = settled("a", replica="r0", started_at=START + 10.0, duration_s=1.0, dispatched_s=0.0)
            watch.stores.ledger.insert([row])
            watch.now += 3600.0
            for _ in range(3):
                watch.now += 60.0
                await watch.round()
            assert (watch.gauge(), caplog.messages, watch.counting.alarms) == (0.0, [], set())


async def test_a_ledger_that_has_it_all_is_no_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = {"/metrics": page(0, 0)}
    async with server(pages(answers)) as url:
        watch = Watch(tmp_path, url)
        await watch.round()
        row = settled("a", input_tokens=5000, output_tokens=700, replica="r0", started_at=START + 10.0, duration_s=1.0)
        watch.stores.ledger.insert([row])
        answers["/metrics"] = page(5000, 700)
        for _ in range(3):
            watch.now += 60.0
            await watch.round()
    assert (watch.gauge(), watch.gauge("output"), caplog.messages) == (0.0, 0.0, [])
