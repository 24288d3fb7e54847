"""Rounds of probes over simulated engines: who is up, who sleeps, and what is said of it."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control_plane.loops import attempt
from gateway.control_plane.probes import FEW, JITTER, SPREAD, Probes, readiness, waits
from gateway.policy.health import Vitals, candidates
from gateway.policy.routing import round_robin
from gateway.server.limits import Leaving
from gateway.serving import ReplicaPool
from gateway.settings.health import Health
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica
from tests.engine import recordings
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import pages, server

METRICS = recordings.load("metrics").body
ASLEEP = METRICS.replace(b'sleep_state="awake"} 1.0', b'sleep_state="awake"} 0.0')
SILENT = METRICS.replace(b"vllm:engine_sleep_state", b"vllm:other")
SETTINGS = Health(timeout=0.5, failures=2, slow_start=10)


class AtOnce(random.Random):
    """No jitter."""

    def random(self) -> float:
        """The least."""
        return 0.0


class Watch:
    """Probes of some replicas, with a clock that the test moves."""

    def __init__(self, *urls: str) -> None:
        self.now, self.telemetry = 0.0, Telemetry()
        self.replicas = [
            Replica(f"r{at}", url, api_key=None, connect_s=1.0, vitals=Vitals(SETTINGS)) for at, url in enumerate(urls)
        ]
        self.probes = Probes(lambda: self.replicas, SETTINGS, self.telemetry, lambda: self.now, AtOnce())

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            assert await attempt(self.probes.round), "a round ended the loop"

    @property
    def up(self) -> list[bool]:
        return [replica.vitals.up for replica in self.replicas]

    def gauge(self, name: str, replica: str = "r0") -> float | None:
        return self.telemetry.registry.get_sample_value(f"tollgate_replica_{name}", {"replica": replica})


@given(st.integers(min_value=0, max_value=400), st.floats(min_value=0.1, max_value=60), st.randoms())
def test_few_are_asked_soon_and_many_one_after_the_other(count: int, seconds: float, draw: random.Random) -> None:
    told = waits(count, seconds, draw)
    assert len(told) == count
    if count <= FEW:
        assert all(0 <= wait <= JITTER * seconds for wait in told)
        return
    slot = SPREAD * seconds / count
    for place, wait in enumerate(told):
        assert place * slot <= wait * (1 + 1e-9)
        assert wait <= (place + 1) * slot * (1 + 1e-9)


async def test_who_is_not_known_yet_does_not_wait_for_its_turn_among_many() -> None:
    watch = Watch(*["http://127.0.0.1:1"] * 20)
    watch.probes = replace(watch.probes, settings=SETTINGS.model_copy(update={"period": 0.5}))
    loop, ends = asyncio.get_running_loop(), list[float]()
    for _ in range(SETTINGS.failures + 1):
        await watch.rounds()
        ends.append(loop.time())
    assert watch.up == [False] * 20
    assert ends[-1] - ends[-2] >= 19 / 20 * SPREAD * 0.5
    assert ends[-2] - ends[-3] < ends[-1] - ends[-2]


async def test_an_engine_that_dies_is_left_out_and_comes_back_slowly(caplog: pytest.LogCaptureFixture) -> None:
    async with Engine() as one, Engine() as other:
        watch = Watch(one.url, other.url)
        await watch.rounds()
        assert candidates(watch.replicas, watch.now) == (range(2), ())
        await one.stop()
        await watch.rounds()
        assert watch.up == [True, True], "one failed probe is none"
        await watch.rounds()
        assert (watch.up, watch.gauge("up"), watch.gauge("up", "r1")) == ([False, True], 0.0, 1.0)
        assert candidates(watch.replicas, watch.now)[0] == [1]
        assert "replica 'r0' is down: the engine refused the connection" in caplog.text
        watch.now = 100.0
        await one.start()
        await watch.rounds()
        assert candidates(watch.replicas, 100.0) == ([0, 1], [0.1, 1.0])
        assert candidates(watch.replicas, 110.0) == (range(2), ())
        assert watch.gauge("up") == 1.0
        assert "replica 'r0' is up again" in caplog.text


@pytest.mark.parametrize("kind", ["close", "garbage", "reset", "stall", "error"])
async def test_whatever_is_wrong_with_its_answer_it_is_down_and_the_round_ends_well(kind: str) -> None:
    async with Engine() as engine:
        engine.faults.append(Fault(kind, path="/health", times=2))  # type: ignore[arg-type]
        watch = Watch(engine.url)
        await watch.rounds(2)
        assert watch.up == [False]
        await watch.rounds()
        assert watch.up == [True]
        await engine.wait_for(lambda e: not e.connections)


async def test_an_engine_that_says_it_is_not_well() -> None:
    async with Engine() as engine:
        watch, engine.healthy = Watch(engine.url), False
        await watch.rounds(2)
        assert watch.up == [False]


async def test_a_sleeper_is_skipped_until_it_wakes(caplog: pytest.LogCaptureFixture) -> None:
    answers = {"/health": (200, b""), "/metrics": (200, ASLEEP)}
    async with server(pages(answers)) as url, Engine() as other:
        watch = Watch(url, other.url)
        await watch.rounds()
        assert candidates(watch.replicas, 0.0) == ([1], [1.0])
        assert (watch.gauge("up"), watch.gauge("asleep")) == (1.0, 1.0)
        assert "replica 'r0' is asleep" in caplog.text
        answers["/metrics"] = (200, METRICS)
        watch.now = 50.0
        await watch.rounds()
        assert candidates(watch.replicas, 50.0) == ([0, 1], [0.1, 1.0])
        assert "replica 'r0' is awake" in caplog.text


async def test_without_the_metric_the_page_of_the_development_mode_is_asked() -> None:
    answers = {"/health": (200, b""), "/metrics": (200, SILENT), "/is_sleeping": (200, b'{"is_sleeping":true}')}
    async with server(pages(answers)) as url:
        watch = Watch(url)
        await watch.rounds()
        assert watch.replicas[0].vitals.asleep


async def test_what_no_page_says_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with server(pages({"/health": (200, b""), "/metrics": (200, SILENT)})) as url:
        watch = Watch(url)
        await watch.rounds(3)
        assert watch.up == [True]
        assert caplog.text.count("does not say whether it sleeps") == 1


async def test_an_engine_too_slow_to_say_whether_it_sleeps_is_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    answers = {"/health": (200, b""), "/metrics": (200, ASLEEP)}
    async with server(pages(answers)) as url:
        watch = Watch(url)
        await watch.rounds()
        replica = watch.replicas[0]
        async with Engine() as slow:
            slow.faults.append(Fault("stall", path="/metrics"))
            watch.replicas = [Replica("r0", slow.url, api_key=None, connect_s=1.0, vitals=replica.vitals)]
            await watch.rounds()
        assert replica.vitals.asleep
        assert "does not say" not in caplog.text


async def test_the_replicas_are_those_of_now() -> None:
    async with Engine() as one, Engine() as other:
        watch = Watch(one.url)
        await watch.rounds()
        watch.replicas = [Replica("new", other.url, api_key=None, connect_s=1.0)]
        await watch.rounds()
        assert (len(one.received("/health")), len(other.received("/health"))) == (1, 1)


async def test_a_draining_replica_is_shown_and_probed() -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        watch.replicas[0].vitals.drain(True, 0.0)
        await watch.rounds()
        assert (watch.gauge("draining"), watch.gauge("up")) == (1.0, 1.0)
        assert candidates(watch.replicas, 0.0)[0] == []


async def test_one_line_for_each_change_and_none_for_what_stays(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tollgate"):
        async with Engine() as engine:
            watch = Watch(engine.url)
            await watch.rounds()
            before = len(caplog.records)
            await watch.rounds(3)
            assert len(caplog.records) == before
        await watch.rounds(5)
        assert len(caplog.records) == before + 1


def pool(watch: Watch) -> ReplicaPool:
    return ReplicaPool("main", watch.replicas, round_robin, None)


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        (lambda vitals: None, True),
        (lambda vitals: vitals.missed(), True),
        (lambda vitals: [vitals.missed() for _ in range(2)], False),
        (lambda vitals: vitals.probed(0.0, asleep=True), False),
        (lambda vitals: vitals.drain(True, 0.0), False),
    ],
)
async def test_readiness_is_what_the_probes_know(change: Callable[[Vitals], object], ready: bool) -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        await watch.rounds()
        asked = len(engine.requests)
        change(watch.replicas[0].vitals)
        answer = await readiness([pool(watch)], 1.0, Leaving())
        assert (answer is None) == ready
        assert ready or "'main'" in str(answer)
        assert len(engine.requests) == asked


async def test_readiness_asks_where_nothing_is_known_yet() -> None:
    async with Engine() as engine:
        watch = Watch(engine.url)
        assert await readiness([pool(watch)], 1.0, Leaving()) is None
        assert "about to end" in str(await readiness([pool(watch)], 1.0, Leaving(now=True)))
        engine.healthy = False
        assert "'main'" in str(await readiness([pool(watch)], 1.0, Leaving()))
    assert "'main'" in str(await readiness([pool(watch)], 1.0, Leaving()))
