"""The tokens that engines count themselves: written down every minute, and held against the ledger.

Every worker and every gateway does this, and the first one of each minute writes. What it finds is one hour's, up to
where every request has ended: see `costs.reconcile`.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.control_plane.probes import ProbeFailed, ask
from gateway.costs.counted import reconcile_tokens, told
from gateway.costs.reconcile import TokenFinding
from gateway.policy.signals import read_tally
from gateway.settings.health import Health
from gateway.stores.counters import Counters, Snapshot
from gateway.telemetry import Telemetry
from gateway.upstreams.vllm import Replica

PERIOD_S = 60.0
LOOK_S = 2.0
"""How soon an engine that came up is counted for the first time: what it does before that is not compared."""
APART_S = 30.0
"""Two snapshots of a replica are at least so far apart, but for the last one of a gateway that stops."""
LAST_S = 1.0
STAGGER_S = 0.002
"""Between the questions to two engines: requests that come meanwhile are not kept waiting by hundreds of answers."""
WINDOW_S = 3600.0
LEAST_TOKENS = 1000
"""A smaller gap is no alarm: it may be a request or two that a count of aborted ones misses."""

log = logging.getLogger("tollgate")


@dataclass(frozen=True)
class Counting:
    """The loop's round. `replicas` are those of now, and no request of theirs lasts over `longest_s`.

    `alarms` are those that were told: each is told once, until it is over. `counted` is when each replica was last.
    """

    replicas: Callable[[], Iterable[Replica]]
    counters: Counters
    settings: Health
    longest_s: float
    telemetry: Telemetry
    clock: Callable[[], float]
    alarms: set[tuple[str, str]] = field(default_factory=set)
    counted: dict[str, float] = field(default_factory=dict)

    async def round(self, apart_s: float = APART_S) -> None:
        """Write down what each engine counts that is due, and look whether it is what the ledger has."""
        places: dict[str, list[Replica]] = {}
        period_s, now = min(PERIOD_S, 2 * apart_s), self.clock()
        for replica in self.replicas():
            passed_s = now - self.counted.get(replica.name, -math.inf)
            if replica.vitals.up and not 0 <= passed_s < period_s:
                places.setdefault(replica.url, []).append(replica)
        pages = await asyncio.gather(
            *(self._ask(members, STAGGER_S * at) for at, members in enumerate(places.values()))
        )
        snapshots = [snapshot for page in pages for snapshot in page]
        if snapshots:
            for findings in await asyncio.to_thread(self._store, snapshots, apart_s):
                self._show(findings)

    async def _ask(self, members: list[Replica], wait_s: float) -> list[Snapshot]:
        """The counters behind one address, whose ranks share a page. An engine that does not answer is skipped."""
        await asyncio.sleep(wait_s)
        try:
            status, page = await ask(members[0], "/metrics", self.settings.timeout)
        except ProbeFailed as error:
            log.debug("replica %r does not tell what it counts: %s", members[0].name, error)
            return []
        if status != 200:
            return []
        now, made = self.clock(), []
        for replica in members:
            tally = read_tally(page, replica.rank)
            self.counted[replica.name] = now
            if tally.prompt is not None or tally.generated is not None:
                made.append(Snapshot(replica.name, now, tally.started_at, tally.prompt, tally.cached, tally.generated))
        return made

    def _store(self, snapshots: list[Snapshot], apart_s: float) -> list[list[TokenFinding]]:
        """What is found of the replicas whose snapshot this process wrote."""
        written = [snapshot for snapshot in snapshots if self.counters.add(snapshot, apart_s)]
        return [
            reconcile_tokens(
                self.counters,
                snapshot.at - self.longest_s - WINDOW_S,
                snapshot.at,
                settled_by=snapshot.at - self.longest_s,
                longest_s=self.longest_s,
                least=LEAST_TOKENS,
                replica=snapshot.replica,
            )
            for snapshot in written
        ]

    def _show(self, findings: list[TokenFinding]) -> None:
        for finding in findings:
            alarms, key = told([finding]), (finding.replica, finding.kind)
            self.telemetry.unaccounted(*key, None if finding.verdict == "unknown" else finding.gap)
            if alarms and key not in self.alarms:
                log.warning("%s", alarms[0])
            (self.alarms.add if alarms else self.alarms.discard)(key)
