"""Rounds of scrapes: what engines say of their load, when it lapses, and when their caches are empty."""

import logging
import random
from dataclasses import replace

import pytest

from gateway.control_plane.loops import attempt
from gateway.control_plane.probes import Probes
from gateway.control_plane.scrapes import Scrapes
from gateway.policy.health import Vitals
from gateway.policy.routing import score
from gateway.policy.signals import Signals
from gateway.serving import ReplicaPool
from gateway.settings.health import Health
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import pages, server

SETTINGS = Health(timeout=0.5, failures=1, scrape=1.0)


def page(usage: str = "0.5", waiting: str = "3", started: int = 1, caching: str = "True") -> bytes:
    """What an engine says."""
    lines = []
    for rank in range(2):
        config = f'block_size="16",engine="{rank}",num_gpu_blocks="64",enable_prefix_caching="{caching}"'
        lines += [
            f'vllm:kv_cache_usage_perc{{engine="{rank}"}} {usage}',
            f'vllm:num_requests_waiting{{engine="{rank}"}} {waiting}',
            f"vllm:cache_config_info{{{config}}} 1.0",
        ]
    return "\n".join([*lines, f"process_start_time_seconds {started}", ""]).encode()


class Watch:
    """Scrapes of one pool, with a clock that the test moves."""

    def __init__(self, *urls: str, ranks: bool = False) -> None:
        self.now, self.telemetry = 100.0, Telemetry()
        self.replicas = [
            Replica(f"r{at}", url, api_key=None, connect_s=1.0, vitals=Vitals(SETTINGS), rank=at if ranks else None)
            for at, url in enumerate(urls)
        ]
        self.pool = ReplicaPool("main", self.replicas, score, None, engines=self.replicas, stale_s=5.0)
        at_once = SETTINGS.model_copy(update={"scrape": 1e-9})
        self.scrapes = Scrapes(lambda: [self.pool], at_once, self.telemetry, lambda: self.now, random.Random(1))

    async def round(self) -> None:
        assert await attempt(self.scrapes.round), "a round ended the loop"

    def gauge(self, name: str, replica: str = "r0") -> float | None:
        return self.telemetry.registry.get_sample_value(f"tollgate_replica_{name}", {"replica": replica})

    def held(self, replica: str = "r0") -> int:
        """How many of three blocks the replica is expected to hold."""
        return self.pool.index.matched(replica, [1, 2, 3])

    def signals(self, at: int = 0) -> Signals:
        found = self.replicas[at].signals
        assert found is not None
        return found


async def test_what_an_engine_says_is_known_and_shown() -> None:
    answers = {"/metrics": (200, page())}
    async with server(pages(answers)) as url:
        watch = Watch(url)
        await watch.round()
        assert (watch.signals().at, watch.signals().kv_usage, watch.signals().waiting) == (100.0, 0.5, 6)
        assert (watch.gauge("kv_usage"), watch.gauge("waiting")) == (0.5, 6.0)
        answers["/metrics"] = (200, page("0.25", "0"))
        watch.now = 101.0
        await watch.round()
        assert (watch.signals().at, watch.gauge("kv_usage"), watch.gauge("waiting")) == (101.0, 0.25, 0.0)


async def test_a_real_page_is_read() -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        await watch.round()
        assert (watch.signals().kv_usage, watch.signals().waiting, watch.signals().asleep) == (0.0, 0, False)


async def test_an_engine_that_answers_no_more_has_said_nothing_after_a_while() -> None:
    async with Engine() as engine, Engine() as other:
        watch = Watch(engine.url, other.url)
        await watch.round()
        engine.faults.append(Fault("close", path="/metrics", times=9))
        watch.now = 104.0
        await watch.round()
        assert (watch.signals(0).at, watch.signals(1).at) == (100.0, 104.0)
        assert watch.gauge("kv_usage") == 0.0, "it is not old enough yet"
        watch.now = 105.1
        await watch.round()
        value = watch.gauge("kv_usage")
        assert value is not None
        assert value != value, "unknown is no number"
        assert watch.gauge("kv_usage", "r1") == 0.0


async def test_an_engine_that_is_down_is_not_asked() -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        watch.replicas[0].vitals.missed()
        await watch.round()
        assert engine.received("/metrics") == []


async def test_the_ranks_behind_one_address_share_a_page() -> None:
    asked = []
    answers = {"/metrics": (200, page().replace(b'usage_perc{engine="1"} 0.5', b'usage_perc{engine="1"} 0.75'))}
    handler = pages(answers)

    async def counted(reader: object, writer: object) -> None:
        asked.append(1)
        await handler(reader, writer)  # type: ignore[arg-type]

    async with server(counted) as url:
        watch = Watch(url, url, ranks=True)
        await watch.round()
    assert len(asked) == 1
    assert [(each.signals.kv_usage, each.signals.waiting) for each in watch.replicas if each.signals] == [
        (0.5, 3),
        (0.75, 3),
    ]


async def test_what_an_engine_does_not_say_is_told_once_and_shown_as_no_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with server(pages({"/metrics": (200, b"other 1\n")})) as url:
        watch = Watch(url)
        with caplog.at_level(logging.WARNING, "tollgate"):
            await watch.round()
            await watch.round()
        (record,) = caplog.records
        for name in ("kv_cache_usage_perc", "num_requests_waiting", "cache_config_info", "'r0'"):
            assert name in record.getMessage()
        value = watch.gauge("waiting")
        assert value is not None
        assert value != value


async def test_another_process_at_the_same_address_has_empty_caches() -> None:
    answers = {"/metrics": (200, page(started=1))}
    async with server(pages(answers)) as url:
        watch = Watch(url)
        await watch.round()
        watch.pool.index.add("r0", [1, 2, 3])
        await watch.round()
        assert watch.held() == 3
        answers["/metrics"] = (200, page(started=2))
        await watch.round()
        assert watch.held() == 0


async def test_an_engine_that_comes_back_or_sleeps_has_empty_caches() -> None:
    watch = Watch("http://127.0.0.1:1", "http://127.0.0.1:2")
    one, two = watch.replicas
    one.vitals.probed(0.0, asleep=None)
    for replica in (one, two):
        watch.pool.index.add(replica.name, [1, 2, 3])
    await watch.round()
    assert (watch.held("r0"), watch.held("r1")) == (3, 3)
    one.vitals.missed()
    one.vitals.probed(1.0, asleep=None)
    await watch.round()
    assert (watch.held("r0"), watch.held("r1")) == (0, 3)
    two.vitals.probed(1.0, asleep=True)
    await watch.round()
    assert watch.held("r1") == 0


async def test_the_index_is_as_large_as_the_engines_cache_in_blocks_of_this_pools_prompts() -> None:
    answers = {"/metrics": (200, page())}
    async with server(pages(answers)) as url:
        watch = Watch(url)
        watch.pool.index.add("r0", list(range(100)))
        await watch.round()
        assert watch.pool.index.size("r0") == 2 * 64 * 16 // 128
        answers["/metrics"] = (200, page(caching="False"))
        await watch.round()
        assert watch.pool.index.size("r0") == 0
        watch.pool.index.add("r0", [1, 2, 3])
        assert watch.held() == 0, "an engine without a prefix cache holds nothing"


async def test_a_page_that_was_just_read_is_not_asked_for_again_by_the_probes() -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        probes = Probes(
            lambda: watch.replicas,
            SETTINGS.model_copy(update={"period": 1e-9}),
            watch.telemetry,
            lambda: watch.now,
            random.Random(1),
        )
        await watch.round()
        await probes.round()
        assert (len(engine.received("/metrics")), len(engine.received("/health"))) == (1, 1)
        assert watch.replicas[0].vitals.asleep is False
        watch.replicas[0].signals = replace(watch.signals(), asleep=True)
        await probes.round()
        assert watch.replicas[0].vitals.asleep is True
        watch.now += 1
        await probes.round()
        assert len(engine.received("/metrics")) == 2
        assert watch.replicas[0].vitals.asleep is False
