"""Whether a replica is worth a request, how much of the traffic it gets, and when asking again may help.

Two things speak of a replica. Real traffic moves its circuit breaker:

    closed ──LIMIT failures in a row──▶ open ──its time is over──▶ half open: one trial
      ▲                                  ▲                            │        │
      └──────────────success─────────────┼────────────────────────────┘        │
                                         └──────failure, twice the time─────────┘

A failure is an engine that cannot be reached, breaks off, hangs, answers 500, or does not take the gateway's own key or
know the model. A client's mistake (4xx) is none, and neither is an engine that sheds load (429, 503): taking a busy
replica away makes the others busier.

Probes say whether it is up and awake. They close no breaker: an engine may answer /health and fail at every prompt.
A replica that is down stays out until a probe succeeds. Times are seconds of one monotonic clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.contracts.errors import UpstreamUnavailable
from gateway.settings.health import Health

LIMIT = 3
FIRST_S = 1.0
LONGEST_S = 30.0
DOUBLINGS = 10
"""More than it takes to reach the longest: a replica may be away for weeks, and 2.0**1024 is no number."""
COLD_WEIGHT = 0.1
"""The weight that slow start begins with: enough to warm the caches, too little to be waited for."""
SMOOTHING = 0.1
"""The part of the newest duration in the moving average: about the last twenty count."""
SOONEST_S, LATEST_S = 1, 60
"""The bounds of a Retry-After."""


@dataclass(slots=True)
class Breaker:
    """The state of one replica's breaker. `failures` in a row, `openings` in a row."""

    failures: int = 0
    openings: int = 0
    open_until: float = 0.0
    trial: bool = False
    recovered_at: float = -math.inf
    """When it closed again; never while it is not closed."""

    @property
    def closed(self) -> bool:
        """Whether requests pass without a question."""
        return self.failures < LIMIT

    def allows(self, now: float) -> bool:
        """Whether a request may go to the replica now."""
        return self.closed or (now >= self.open_until and not self.trial)

    def begin(self) -> None:
        """A request is on its way; while the breaker is not closed it is the trial."""
        self.trial = not self.closed

    def succeeded(self, now: float) -> None:
        """The replica answered."""
        if self.failures >= LIMIT:
            self.recovered_at = now
        self.failures, self.openings, self.trial = 0, 0, False

    def failed(self, now: float) -> None:
        """The replica failed. What was on its way when the breaker opened does not count again."""
        if not self.closed and not self.trial:
            return
        self.failures += 1
        self.trial = False
        if not self.closed:
            self.recovered_at = math.inf
            self.open_until = now + min(LONGEST_S, FIRST_S * 2.0**self.openings)
            self.openings = min(self.openings + 1, DOUBLINGS)

    def ended(self) -> None:
        """A request is over, whether or not it told anything of the replica: another one may be the trial."""
        self.trial = False


@dataclass(slots=True)
class Vitals:
    """What is known of one replica.

    Until its first probe a replica counts as up: at the gateway's start the engines have most likely run for long, and
    nothing is gained by refusing what would have been answered. For the same reason there is no slow start then; it is
    a matter of shares, and replicas that are all new have equal ones.
    """

    settings: Health = field(default_factory=Health)
    draining: bool = False
    up: bool = True
    asleep: bool = False
    failed_probes: int = 0
    arrivals: int = 0
    """How often a probe found it up that was not, or was not known: each may be another build."""
    registered: int = 0
    """The arrival at which it was last asked what it is."""
    request_s: float | None = None
    """The moving average of what a request takes here, from the first byte sent to the last one read."""
    returned_at: float = -math.inf
    """When it could last be used again; never while it cannot."""
    breaker: Breaker = field(default_factory=Breaker)

    whole_from: float = field(init=False, default=-math.inf)
    """From when on it gets its full share, which every request asks: it may be used, and slow start is over."""

    def __post_init__(self) -> None:
        self._moved(-math.inf)

    def heed(self, settings: Health) -> None:
        """Go by these settings from now on."""
        self.settings = settings
        self._reckon()

    @property
    def known(self) -> bool:
        """Whether probes have told anything yet."""
        return self.arrivals > 0 or not self.up

    @property
    def accepts(self) -> bool:
        """Whether it may ever be tried as it is: asleep it would hang or break, draining it shall get nothing new."""
        return not (self.asleep or self.draining)

    def probed(self, now: float, *, asleep: bool | None) -> None:
        """A probe succeeded. `asleep` None: the engine did not say, and what was known of it stays."""
        if not self.known or not self.up:
            self.arrivals += 1
        self.failed_probes = 0
        self.up = True
        self.asleep = self.asleep if asleep is None else asleep
        self._moved(now)

    def missed(self) -> None:
        """A probe failed; so many in a row and the replica is down."""
        self.failed_probes += 1
        if self.failed_probes >= self.settings.failures:
            self.up = False
            self._moved(math.inf)

    def drain(self, on: bool, now: float) -> None:
        """Begin to drain, or take requests again."""
        self.draining = on
        self._moved(now)

    def warm_up(self, now: float) -> None:
        """The replica is new in a pool that has others: slow start begins."""
        self.returned_at = math.inf
        self._moved(now)

    def answered(self, now: float, duration_s: float) -> None:
        """A request was answered here, in so long. A busy engine may be late for a probe: it is not down meanwhile."""
        if self.up:
            self.failed_probes = 0
        mean = self.request_s
        self.request_s = duration_s if mean is None else mean + SMOOTHING * (duration_s - mean)
        if self.breaker.failures:
            self.succeeded(now)

    def succeeded(self, now: float) -> None:
        """It is no failure of this replica, whatever it answered: what its breaker wants to know."""
        self.breaker.succeeded(now)
        self._reckon()

    def failed(self, now: float) -> None:
        """It failed: what its breaker wants to know."""
        self.breaker.failed(now)
        self._reckon()

    def weight(self, now: float) -> float:
        """Its share of traffic against a warm replica's: from 0.1 to 1, linear in the time since it came back.

        A half-open replica has the weight of a warm one: its one trial should come soon, and has a second chance
        elsewhere.
        """
        since = max(self.returned_at, self.breaker.recovered_at)
        if since == math.inf or now >= self.whole_from:
            return 1.0
        passed = max(0.0, now - since) / self.settings.slow_start
        return min(1.0, COLD_WEIGHT + (1.0 - COLD_WEIGHT) * passed)

    def _moved(self, now: float) -> None:
        """Keep `returned_at` true: `now` is when the replica came back, if it just did."""
        if not (self.up and self.accepts):
            self.returned_at = math.inf
        elif self.returned_at == math.inf:
            self.returned_at = now
        self._reckon()

    def _reckon(self) -> None:
        self.whole_from = max(self.returned_at, self.breaker.recovered_at) + self.settings.slow_start


class Watched(Protocol):
    """A replica as decisions about health see it."""

    name: str
    in_flight: int
    vitals: Vitals


def candidates(replicas: Sequence[Watched], now: float, guess: bool = True) -> tuple[Sequence[int], Sequence[float]]:
    """(positions that may be tried now, the weight of each; no weights when every one has its full share).

    Those that are up, awake, not draining, and have their breaker closed or a trial due. When there are none, and with
    `guess`, those that are down or broken: for who has nowhere else to go that is better than a certain failure. A
    replica that sleeps or drains is never among them, so there may be none at all.
    """
    for replica in replicas:
        if replica.vitals.whole_from > now:
            break
    else:
        return range(len(replicas)), ()
    all_vitals = [replica.vitals for replica in replicas]
    accepting = [position for position, vitals in enumerate(all_vitals) if vitals.accepts]
    worthy = [at for at in accepting if all_vitals[at].up and all_vitals[at].breaker.allows(now)]
    positions = worthy or (accepting if guess else [])
    return positions, [all_vitals[position].weight(now) for position in positions]


def away(replicas: Sequence[Watched], now: float) -> UpstreamUnavailable:
    """Why none of the replicas may be tried, for a client: names, never addresses."""
    states = ", ".join(f"{replica.name!r} is {_state(replica.vitals)}" for replica in replicas)
    return UpstreamUnavailable(f"no replica takes requests: {states}", retry_after=retry_after(replicas, now))


def _state(vitals: Vitals) -> str:
    if vitals.draining or vitals.asleep:
        return "draining" if vitals.draining else "asleep"
    return "failing" if vitals.up else "down"


def retry_after(replicas: Sequence[Watched], now: float) -> int:
    """Whole seconds, 1 to 60, after which one of the replicas may answer: the soonest of

    - a slot of those that work: by Little's law (L = λW) a replica with L requests in flight that take W seconds each
      ends λ = L / W of them per second, so the next slot of all is free in 1 / Σ(L / W) seconds. What other gateways
      have in flight is not seen, and would make it sooner;
    - the next trial of one whose breaker is open;
    - the next probe of one that is down or asleep.
    """
    waits, ending_per_s = [float(LATEST_S)], 0.0
    for replica in replicas:
        vitals = replica.vitals
        if vitals.draining:
            continue
        if vitals.asleep or not vitals.up:
            waits.append(vitals.settings.period)
        elif not vitals.breaker.closed:
            waits.append(vitals.breaker.open_until - now)
        elif vitals.request_s:
            ending_per_s += max(1, replica.in_flight) / vitals.request_s
        else:
            waits.append(SOONEST_S)
    if ending_per_s:
        waits.append(1.0 / ending_per_s)
    return max(SOONEST_S, math.ceil(min(waits)))
