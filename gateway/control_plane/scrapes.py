"""The load that engines tell of themselves: their `/metrics`, read again and again for routing."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.control_plane.probes import JITTER, ProbeFailed, ask, waits
from gateway.policy.prefixes import BLOCK_BYTES
from gateway.policy.signals import Signals, read_signals
from gateway.serving import ReplicaPool
from gateway.settings.health import Health
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class Scrapes:
    """The loop's round. `pools` are those of now; clock and random generator are arguments.

    `seen` is how often each replica had come back when it was last looked at, by its identity; `silent` are those that
    lack metrics, which is told once.
    """

    pools: Callable[[], Iterable[ReplicaPool]]
    settings: Health
    telemetry: Telemetry
    monotonic: Callable[[], float]
    random: random.Random
    seen: dict[tuple[object, ...], int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    """The addresses whose page is waited for. Another round does not wait for it, and asks them nothing."""

    async def round(self) -> None:
        """Look at each engine once, and soon at who said nothing yet. The ranks behind one address share a page."""
        pools = list(self.pools())
        self._compare(pools)
        places: dict[str, list[tuple[ReplicaPool, Replica]]] = {}
        for pool in pools:
            for replica in pool.engines:
                if replica.vitals.up:
                    places.setdefault(replica.url, []).append((pool, replica))
        asked = zip(places.values(), waits(len(places), self.settings.scrape, self.random), strict=True)
        await asyncio.gather(*(
            self._scrape(members, wait if members[0][1].signals else wait * JITTER) for members, wait in asked
        ))  # fmt: skip

    async def _scrape(self, members: list[tuple[ReplicaPool, Replica]], wait_s: float) -> None:
        """One page. An engine that does not answer has said nothing: what it said before lapses."""
        await asyncio.sleep(wait_s)
        replica = members[0][1]
        if replica.url in self.asked:
            return
        self.asked.add(replica.url)
        try:
            status, page = await ask(replica, "/metrics", self.settings.timeout)
        except ProbeFailed as error:
            log.debug("replica %r does not tell its load: %s", replica.name, error)
        else:
            now = self.monotonic()
            for pool, each in members:
                self._take(pool, each, read_signals(page if status == 200 else b"", now, each.rank))
        finally:
            self.asked.discard(replica.url)
        self._show(members)

    def _take(self, pool: ReplicaPool, replica: Replica, signals: Signals) -> None:
        before, replica.signals = replica.signals, signals
        if before is not None and before.started_at not in (None, signals.started_at):
            pool.index.forget(replica.name)  # another process: its caches are empty
        if signals.capacity is not None:
            blocks = int(signals.capacity / (pool.estimator.tokens_per_byte * BLOCK_BYTES))
            pool.index.resize(replica.name, 0 if signals.caches is False else max(1, blocks))
        if signals.missing and replica.name not in self.silent:
            self.silent.add(replica.name)
            log.warning(
                "replica %r does not say %s: the score leaves out for its whole pool what one replica does not say",
                replica.name,
                ", ".join(signals.missing),
            )

    def _show(self, members: Iterable[tuple[ReplicaPool, Replica]]) -> None:
        now = self.monotonic()
        for pool, replica in members:
            signals = replica.signals
            if signals is None or signals.at < now - pool.stale_s:
                self.telemetry.said(replica.name, None, None)
            else:
                self.telemetry.said(replica.name, signals.kv_usage, signals.waiting)

    def _compare(self, pools: Iterable[ReplicaPool]) -> None:
        """Caches do not outlive an engine, nor its sleep: whoever came back since the last round has nothing left."""
        before = dict(self.seen)
        self.seen.clear()
        for pool in pools:
            for replica in pool.engines:
                arrivals = self.seen[replica.identity] = replica.vitals.arrivals
                if before.get(replica.identity, arrivals) != arrivals or replica.vitals.asleep:
                    pool.index.forget(replica.name)
