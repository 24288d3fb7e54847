"""Whether a replica is worth a request: a circuit breaker on failures that are the replica's own.

    closed ──LIMIT failures in a row──▶ open ──its time is over──▶ half open: one trial
      ▲                                  ▲                            │        │
      └──────────────success─────────────┼────────────────────────────┘        │
                                         └──────failure, twice the time─────────┘

A failure is an engine that cannot be reached, breaks off, hangs, or answers 500. A client's mistake (4xx) is none, and
neither is an engine that sheds load (429, 503): taking a busy replica away makes the others busier. Times are seconds
of one monotonic clock.
"""

from dataclasses import dataclass

LIMIT = 3
FIRST_S = 1.0
LONGEST_S = 30.0


@dataclass(slots=True)
class Breaker:
    """The state of one replica's breaker. `failures` in a row, `openings` in a row."""

    failures: int = 0
    openings: int = 0
    open_until: float = 0.0
    trial: bool = False

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

    def succeeded(self) -> None:
        """The replica answered."""
        self.failures, self.openings, self.trial = 0, 0, False

    def failed(self, now: float) -> None:
        """The replica failed. What was on its way when the breaker opened does not count again."""
        if not self.closed and not self.trial:
            return
        self.failures += 1
        self.trial = False
        if not self.closed:
            self.open_until = now + min(LONGEST_S, FIRST_S * 2.0**self.openings)
            self.openings += 1

    def ended(self) -> None:
        """A request is over, whether or not it told anything of the replica: another one may be the trial."""
        self.trial = False


def usable(breakers: list[Breaker], now: float) -> list[int]:
    """The positions that may be tried. When none may, all of them: a guess is better than a certain failure."""
    allowed = [position for position, breaker in enumerate(breakers) if breaker.allows(now)]
    return allowed or list(range(len(breakers)))
