"""Active probes: each replica is asked, again and again, whether it is up and awake."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.contracts.errors import RequestError
from gateway.policy.facts import asleep_by_page
from gateway.policy.signals import asleep_by_metrics
from gateway.server.limits import Leaving
from gateway.serving import ReplicaPool
from gateway.settings.health import Health
from gateway.telemetry import Telemetry
from gateway.upstreams.base import Upstream
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import Replica, fetch

JITTER = 0.1
"""The part of a period over which the questions of one round are spread, so that many gateways do not ask in step."""
FEW, SPREAD = 8, 0.8
"""More engines than that are asked one after the other, over this part of a period: 300 that were asked at once kept
each request waiting that came within the next tenth of a second."""

log = logging.getLogger("tollgate")


class ProbeFailed(Exception):
    """The engine is not well, and why."""


async def ask_health(replica: Replica, seconds: float) -> None:
    """Ask whether the engine is up. Raises ProbeFailed."""
    status, _ = await ask(replica, "/health", seconds)
    if status != 200:
        raise ProbeFailed(f"/health answers {status}")


async def ask_asleep(replica: Replica, seconds: float) -> bool | None:
    """Whether the engine sleeps; None when it does not say. Raises ProbeFailed."""
    status, page = await ask(replica, "/metrics", seconds)
    asleep = asleep_by_metrics(page) if status == 200 else None
    if asleep is None:
        status, page = await ask(replica, "/is_sleeping", seconds)
        asleep = asleep_by_page(page) if status == 200 else None
    return asleep


async def ask(replica: Replica, path: str, seconds: float) -> tuple[int, bytes]:
    """(status, body) of one of an engine's pages, within `seconds` in all. Raises ProbeFailed."""
    try:
        async with asyncio.timeout(seconds):
            return await fetch(replica, path, seconds)
    except TimeoutError as error:
        raise ProbeFailed(f"{path} did not answer within {seconds:g} s") from error
    except (ExchangeError, RequestError) as error:
        raise ProbeFailed(str(error)) from error


def waits(count: int, seconds: float, random: random.Random) -> list[float]:
    """How long the question to each of `count` engines waits in a round, of which there is one every `seconds`."""
    if count <= FEW:
        return [random.random() * JITTER * seconds for _ in range(count)]
    return [(place + random.random()) / count * SPREAD * seconds for place in range(count)]


@dataclass(frozen=True)
class Probes:
    """The loop's round. `replicas` are those of now; clock and random generator are arguments."""

    replicas: Callable[[], Iterable[Replica]]
    settings: Health
    telemetry: Telemetry
    monotonic: Callable[[], float]
    random: random.Random
    silent: set[str] = field(default_factory=set)
    """The replicas that do not say whether they sleep, which is told once."""
    asked: set[Replica] = field(default_factory=set)
    """Those whose answer is waited for. Another round does not wait for it, and asks them nothing."""

    async def round(self) -> None:
        """Probe each replica once, and soon those of which nothing is known yet."""
        replicas = list(self.replicas())
        asked = zip(replicas, waits(len(replicas), self.settings.period, self.random), strict=True)
        await asyncio.gather(*(
            self._probe(replica, wait if replica.vitals.known else wait * JITTER) for replica, wait in asked
        ))  # fmt: skip

    async def _probe(self, replica: Replica, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        if replica in self.asked:
            return
        self.asked.add(replica)
        try:
            await self._look(replica)
        finally:
            self.asked.discard(replica)

    async def _look(self, replica: Replica) -> None:
        vitals = replica.vitals
        was_up, was_asleep = vitals.up, vitals.asleep
        try:
            await ask_health(replica, self.settings.timeout)
        except ProbeFailed as error:
            vitals.missed()
            if was_up and not vitals.up:
                log.warning("replica %r is down: %s", replica.name, error)
        else:
            vitals.probed(self.monotonic(), asleep=await self._asleep(replica))
            if not was_up:
                log.warning("replica %r is up again", replica.name)
        if vitals.asleep != was_asleep:
            log.warning("replica %r is %s", replica.name, "asleep" if vitals.asleep else "awake")
        self._show(replica)

    async def _asleep(self, replica: Replica) -> bool | None:
        """An engine that is up, and too slow to say whether it sleeps, is what it was.

        A page that was read for its load within this period says it too, and is not asked for again.
        """
        signals = replica.signals
        fresh = signals is not None and signals.at >= self.monotonic() - self.settings.period
        if fresh and signals is not None and signals.asleep is not None:
            return signals.asleep
        try:
            asleep = await ask_asleep(replica, self.settings.timeout)
        except ProbeFailed:
            return None
        if asleep is None and replica.name not in self.silent:
            self.silent.add(replica.name)
            log.warning(
                "replica %r does not say whether it sleeps: no vllm:engine_sleep_state on /metrics, no /is_sleeping; "
                "it is taken to be awake",
                replica.name,
            )
        return asleep

    def _show(self, replica: Replica) -> None:
        vitals = replica.vitals
        for gauge, value in (
            (self.telemetry.up, vitals.up),
            (self.telemetry.asleep, vitals.asleep),
            (self.telemetry.draining, vitals.draining),
        ):
            gauge.labels(replica.name).set(value)


async def readiness(pools: Iterable[ReplicaPool], seconds: float, leaving: Leaving) -> str | None:
    """None when every pool has a replica that takes requests, by the probes or, where they know nothing, by asking.

    A gateway that is to end says so, whatever its replicas are.
    """
    if leaving.now:
        return "the gateway is about to end: send what is new to another one"
    for pool in pools:
        answers = await asyncio.gather(*(_takes_requests(replica, seconds) for replica in pool.replicas))
        if not any(answers):
            return f"no replica of the pool {pool.name!r} is up, awake and not draining"
    return None


async def _takes_requests(replica: Upstream, seconds: float) -> bool:
    vitals = replica.vitals
    if vitals.known or not vitals.accepts:
        return vitals.up and vitals.accepts
    return await replica.healthy(seconds)
