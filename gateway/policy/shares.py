"""One gateway's shares of the limits of a key or a team, where several gateways share them.

A limit L per minute is a bucket (see `buckets`) of which every gateway has a part: its share c, with as much weight w
of its own, refilled at c per minute. Shares move between gateways, through whoever keeps them (`stores.redis_shares`),
and only as room: of c - w, and never with weight. So at every moment

    sum of all shares + what is nobody's = L        and        w <= c of each, unless L was made smaller,

and what is admitted in t seconds over all gateways is at most L + L / 60 * t, as of one process. A share of slots is a
number that in-flight requests stay below. What a gateway gives up counts as given before it is said, and what it gets
counts once it is heard: a message that is lost makes the sum smaller, never larger.

A gateway keeps room for a second ahead, less where others lack some, and none for those who do not ask. Times are
seconds of one monotonic clock.
"""

import math
from collections.abc import Iterator

import msgspec

from gateway.policy.buckets import MINUTE_S
from gateway.policy.holders import LATEST_S, SLACK, Holder
from gateway.settings.limits import Quota

AHEAD_S = 1.0
"""The use for which room is kept."""
PRESSED_S = 0.1
"""The same, while another gateway lacks room for the same key or team."""
MEMORY_S = 2.0
"""The time constant of the rate of use."""
QUIET_S = 10.0
"""So long after its last request a holder's room for one more is kept."""
AGAIN_S = 60.0
"""What is held is said again after so long, though nothing has changed."""
PART = 8
"""Room that is an eighth of a share or more goes back when nobody presses, less is not worth a message."""
DRY_S = 0.1
"""After a refusal by the keeper of shares nobody asks it again for so long."""
NONE = (0, 0, 0)

Three = tuple[int, int, int]
"""Of requests per minute, tokens per minute, requests in flight."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What is said of a holder: its limits (0: none), what this gateway has, needs now, and would like beyond that."""

    holder: str
    limits: Three
    has: Three
    need: Three = NONE
    ahead: Three = NONE


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What this gateway has from now on, and what is nobody's."""

    has: Three
    free: Three


class SharedHolder(Holder):
    """The counters of one key or team on one of several gateways. `has` is its share of each limit."""

    __slots__ = (
        "_lacks", "_rates", "_taken", "_typical", "dry_until", "free", "gateways", "has", "hot", "looked_at", "pressed",
        "said_at", "used_at",
    )  # fmt: skip
    HERE = "here "
    LONGEST_S = LATEST_S
    """Others may have room."""

    def __init__(self, kind: str, name: str, quota: Quota) -> None:
        Holder.__init__(self, kind, name, quota)
        self.has: Three = NONE
        self.free: Three = NONE
        self.dry_until = self.said_at = self.used_at = -math.inf
        self.pressed = self.hot = False
        self.looked_at: float | None = None
        self._taken, self._rates, self._lacks = [0, 0, 0], [0.0, 0.0, 0.0], [0, 0, 0]
        self._typical = self.gateways = 1

    @property
    def id(self) -> str:
        """Its name among keys and teams."""
        return f"{self.kind}:{self.name}"

    @property
    def limits(self) -> Three:
        """Its limits over all gateways; 0 for none."""
        return self.rpm or 0, self.tpm or 0, self.concurrency or 0

    def under(self, quota: Quota, now: float) -> None:
        """Count by these limits from now on. A share is never larger than its limit."""
        self.look(now)
        self.limit(quota)
        self.hold(self.has, now)

    def hold(self, has: Three, now: float) -> None:
        """Have these shares from now on: what was refilled until now was at the old rate."""
        self.look(now)
        self.has = _three(min(pair) for pair in zip(has, self.limits, strict=True))
        limited = self.rpm is not None, self.tpm is not None, self.concurrency is not None
        self.allow(*(share if limit else None for share, limit in zip(self.has, limited, strict=True)))
        self.requests_whole += self.free[0]
        self.tokens_whole += self.free[1]

    def take(self, tokens: float, now: float) -> float | None:
        """As `Holder.take`, of the shares."""
        end = Holder.take(self, tokens, now)
        if end is not None:
            taken, self._typical = self._taken, math.ceil(tokens)
            taken[0] += 1
            taken[1] += self._typical
            taken[2] += 1
            self.used_at = now
        return end

    def waits(self, tokens: int, now: float) -> Iterator[tuple[float, str, str]]:
        """As `Holder.waits`, but others have their parts of what is refilled, which move as whole requests only.

        So until its own share has room, or until every gateway's part may have as much as this request takes.
        """
        for seconds, limit, told in Holder.waits(self, tokens, now):
            for kind, name, wanted in ((0, "requests", 1), (1, "tokens", tokens)):
                if limit == f"{self.kind}.{name}" and seconds < math.inf:
                    most, share = self.limits[kind], self.has[kind]
                    alone = seconds * most / share if share >= wanted else math.inf
                    seconds = min(alone, seconds + self.gateways * wanted * MINUTE_S / most, max(seconds, LATEST_S))
            yield seconds, limit, told

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing: it holds no share."""
        return self.has == NONE and Holder.idle(self, now)

    def has_room(self, tokens: int, now: float) -> bool:
        """Whether its shares have room for one request of so many tokens."""
        return all(room >= wanted - SLACK for wanted, room in zip((1, tokens, 1), self._rooms(now), strict=True))

    def lack(self, tokens: int, now: float) -> None:
        """Note what a request needs beyond the room, and all that it needs where others wait for that room already."""
        for kind, (wanted, room) in enumerate(zip((1, tokens, 1), self._rooms(now), strict=True)):
            if room < math.inf:
                taken = room if not self._lacks[kind] else 0.0
                self._lacks[kind] += max(0, math.ceil(wanted - taken - SLACK))

    def plan(self, now: float) -> Ask | None:
        """What is to be said; None: nothing. What it gives up is given up from now on."""
        elapsed = 0.0 if self.looked_at is None else now - self.looked_at
        self.looked_at = now
        rooms, needs, self._lacks = self._rooms(now), self._lacks, [0, 0, 0]
        has, ahead = list(self.has), [0, 0, 0]
        for kind, limit in enumerate(self.limits):
            if not limit:
                has[kind] = 0
                continue
            keep = self._keep(kind, now, elapsed)
            if needs[kind]:
                ahead[kind] = math.ceil(max(keep, self._taken[kind]))
            elif rooms[kind] - keep >= (1.0 if self.pressed else max(1.0, keep, has[kind] / PART)):
                has[kind] -= math.floor(rooms[kind] - keep)
            elif rooms[kind] < keep / 2.0 and now >= self.dry_until:
                ahead[kind] = math.ceil(keep - rooms[kind])
        self._taken = [0, 0, 0]
        self.pressed = False
        changed = any(needs) or any(ahead) or _three(has) != self.has
        if not changed and (self.has == NONE or now < self.said_at + AGAIN_S):
            return None
        self.hold(_three(has), now)
        self.said_at = now
        return Ask(self.id, self.limits, self.has, _three(needs), _three(ahead))

    def heard(self, ask: Ask, answer: Answer, now: float) -> bool:
        """Have what was answered. Whether that is all that was needed."""
        self.free = _three(max(0, each) for each in answer.free)
        self.hold(answer.has, now)
        got = all(
            after - before >= need for before, after, need in zip(ask.has, answer.has, ask.need, strict=True) if need
        )
        if not got:
            self.dry_until = now + DRY_S
        return got

    def at_least(self, gateways: int, now: float) -> None:
        """Nobody keeps the shares now: have what is held, or the part that each of so many gateways would get."""
        parts = _three(max(has, -(-limit // gateways)) for has, limit in zip(self.has, self.limits, strict=True))
        if parts != self.has or self.free != NONE:
            self.free = NONE
            self.hold(parts, now)

    def _rooms(self, now: float) -> tuple[float, float, float]:
        """What its shares have room for; infinite without a limit."""
        self.look(now)
        slots = math.inf if self.concurrency is None else float(self.slots - self.in_flight)
        return self.requests_most - self.asked, self.tokens_most - self.tokens.weight, slots

    def _keep(self, kind: int, now: float, elapsed: float) -> float:
        """The room that is kept: of the use to come, or for one request."""
        part = min(1.0, elapsed / MEMORY_S)
        used = self._taken[kind] / elapsed if elapsed > 0.0 else self._rates[kind]
        self._rates[kind] += part * (used - self._rates[kind])
        if self.pressed:
            return float(math.floor(self._rates[kind] * PRESSED_S))
        one = 0 if now > self.used_at + QUIET_S else self._typical if kind == 1 else 1
        return max(float(math.floor(self._rates[kind] * AHEAD_S)), one)


def _three(values: Iterator[int] | list[int]) -> Three:
    first, second, third = values
    return first, second, third
