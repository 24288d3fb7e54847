"""Tickets, and a pool without engines that serves them in a time of its own."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.policy.fairness import FairQueue, Ticket
from gateway.settings.queue import QueueConfig

FAR = 1e9
PLAIN = QueueConfig(input=1.0, cached=0.125, output=2.0, max_wait=80_000.0, ageing=80_000.0, max_queued=1_000_000)
"""Weights that are exact in binary, and nobody rises or is refused."""


def ticket(
    tenant: str = "a",
    cost: int = 1,
    *,
    at: float = 0.0,
    priority: int = 0,
    weight: float = 1.0,
    cached: int = 0,
    output: float = 0.0,
    deadline: float = FAR,
) -> Ticket:
    """A request of a tenant that takes `cost` tokens of prompt."""
    return Ticket(tenant, priority, weight, cost, cached, output, at, deadline)


def names(queue: FairQueue, count: int, now: float = 0.0) -> str:
    """Whose the next tickets are."""
    popped = [queue.pop(now) for _ in range(count)]
    return "".join("-" if each is None else each.tenant for each in popped)


@dataclass
class Pool:
    """So many slots, and each request holds one for its cost divided by the speed of a slot.

    `served` is what each tenant was served so far, `at` when it was.
    """

    queue: FairQueue
    slots: int = 4
    speed: float = 100.0
    now: float = 0.0
    served: Counter[str] = field(default_factory=Counter)
    at: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    running: list[tuple[float, int, Ticket, int]] = field(default_factory=list)
    real: dict[int, int] = field(default_factory=dict)
    number: int = 0

    def run(self, arrivals: Iterable[tuple[float, Ticket, int]], until: float) -> None:
        """Arrivals in order of time: (when, ticket, what it really costs in prompt tokens)."""
        waiting = list(arrivals)
        coming = sorted(((when, at) for at, (when, _, _) in enumerate(waiting)), reverse=True)
        while True:
            ends = self.running[0][0] if self.running else FAR
            comes = coming[-1][0] if coming else FAR
            self.now = min(ends, comes)
            if self.now > until:
                self.now = until
                return
            if ends <= comes:
                _, _, done, cost = heapq.heappop(self.running)
                self.queue.settle(done, cost, 0, 0.0)
                self.served[done.tenant] += cost
                self.at[done.tenant].append((self.now, cost))
            else:
                _, which = coming.pop()
                _, new, cost = waiting[which]
                self.real[id(new)] = cost
                self.queue.push(new, self.now)
            while len(self.running) < self.slots and (given := self.queue.pop(self.now)) is not None:
                self.number += 1
                cost = self.real.pop(id(given))
                heapq.heappush(self.running, (self.now + cost / self.speed, self.number, given, cost))

    def between(self, tenant: str, begin: float, end: float) -> float:
        """What a tenant was served in a span of time."""
        return sum(cost for when, cost in self.at[tenant] if begin < when <= end)
