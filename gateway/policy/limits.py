"""Admission: whether a key and its team may have one more request now, and what of their limits it takes.

A limit per minute is a bucket, as `buckets` explains. Those of a key and of its team are asked together, and nothing is
taken of one when the other refuses. Counters live here, by the key's id and the team's name, and limits come with each
request: a changed one counts at once, and what was used stays used. One gateway process counts for itself. Times are
seconds of one monotonic clock.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.buckets import MINUTE_S, Bucket
from gateway.settings.limits import Quota

SLACK = 1e-3
"""Of a request or token: what rounding may take from a bucket must refuse nobody who has waited as long as was said."""
SMOOTHING = 0.1
"""The part of the newest duration in the moving average: about the last twenty count."""
SOONEST_S, LATEST_S = 1, 60
"""The bounds of a Retry-After that is an average, and no promise."""
SWEEP_AT = 1024
"""Holders of counters before the first look for those that are idle; after it, twice as many as were not."""


@dataclass(slots=True)
class Holder:
    """The counters of one key or team. `request_s`: a moving average of how long its requests take."""

    kind: str
    name: str
    quota: Quota
    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    in_flight: int = 0
    request_s: float | None = None

    def admits(self, tokens: int, now: float) -> bool:
        """Whether every limit has room for one more request of so many tokens."""
        quota = self.quota
        if quota.concurrency is not None and self.in_flight >= quota.concurrency:
            return False
        if quota.rpm is not None and self.requests.room(quota.rpm, now) < 1.0 - SLACK:
            return False
        return quota.tpm is None or self.tokens.room(quota.tpm, now) >= tokens - SLACK

    def take(self, tokens: int) -> float | None:
        """Take one request of so many tokens: where it ends in the bucket of tokens, None without a limit of them."""
        quota = self.quota
        self.in_flight += 1
        if quota.rpm is not None:
            self.requests.charged += 1.0
            self.requests.left -= 1.0
        if quota.tpm is None:
            return None
        self.tokens.left -= tokens
        self.tokens.charged += tokens
        return self.tokens.charged

    def look(self, now: float) -> None:
        """See how much room its limits have."""
        if self.quota.rpm is not None:
            self.requests.room(self.quota.rpm, now)
        if self.quota.tpm is not None:
            self.tokens.room(self.quota.tpm, now)

    def settle(self, reservation: "Reservation", end: float | None, tokens: int | None, now: float) -> None:
        """One of its requests is over."""
        self.in_flight -= 1
        took_s, mean = now - reservation.at, self.request_s
        self.request_s = took_s if mean is None else mean + SMOOTHING * (took_s - mean)
        if end is not None and tokens is not None:
            self.tokens.true_up(end, reservation.tokens, tokens, now)

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing that is limited."""
        return not self.in_flight and self.requests.weight(now) <= 0.0 and self.tokens.weight(now) <= 0.0

    def waits(self, tokens: int, now: float) -> Iterator[tuple[float, str, str]]:
        """(seconds, limit, message) of every limit that refuses; infinite for what can never pass."""
        quota, whose = self.quota, f"{self.kind} {self.name!r}"
        if quota.concurrency is not None and self.in_flight >= quota.concurrency:
            # Little's law: L requests that take W seconds each end at L / W per second.
            soon = SOONEST_S if self.request_s is None else self.request_s / self.in_flight
            told = f"{whose} may have {quota.concurrency} requests in flight, and has them: wait until one has ended"
            yield min(max(soon, SOONEST_S), LATEST_S), f"{self.kind}.concurrency", told
        if quota.rpm is not None and (lacking := 1.0 - SLACK - self.requests.room(quota.rpm, now)) > 0.0:
            told = f"{whose} is limited to {quota.rpm} requests per minute, and they are used up"
            yield lacking * MINUTE_S / quota.rpm, f"{self.kind}.requests", told
        if quota.tpm is not None and (lacking := tokens - SLACK - (room := self.tokens.room(quota.tpm, now))) > 0.0:
            told = f"{whose} is limited to {quota.tpm} tokens per minute, and this request may take {tokens}"
            if tokens > quota.tpm:
                yield math.inf, f"{self.kind}.tokens", f"{told}: it can never pass, ask for fewer tokens"
            else:
                left = max(0, math.floor(room))
                yield lacking * MINUTE_S / quota.tpm, f"{self.kind}.tokens", f"{told}, of which {left} are left now"


class Reservation(msgspec.Struct, gc=False):
    """What one admitted request holds, until it is settled. `tokens` at most, since `at`."""

    tokens: int
    at: float
    key: Holder | None = None
    key_end: float | None = None
    team: Holder | None = None
    team_end: float | None = None
    open: bool = True


UNLIMITED = Reservation(0, 0.0, open=False)
"""That of every request whose key and team have no limits. There is nothing to settle."""


class Holders:
    """The counters of all keys, or of all teams. Those that are idle are forgotten: memory is bounded by who asks."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._held: dict[str, Holder] = {}
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self._held)

    def of(self, name: str, quota: Quota | None, now: float) -> Holder | None:
        """The counters of one, under its limits of now; None without limits."""
        if quota is None:
            return None
        found = self._held.get(name)
        if found is None:
            if len(self._held) >= self._sweep_at:
                self.sweep(now)
            found = self._held[name] = Holder(self._kind, name, quota)
        found.quota = quota
        return found

    def sweep(self, now: float) -> None:
        """Forget those that are idle."""
        self._held = {name: holder for name, holder in self._held.items() if not holder.idle(now)}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._held))


class Admission:
    """All counters of one gateway. They outlive refreshes and reloads: one of it, made by the composition root."""

    def __init__(self) -> None:
        self.keys, self.teams = Holders("key"), Holders("team")

    def admit(self, principal: Principal, tokens: int, now: float) -> Reservation:
        """Take one request of at most so many tokens from the limits of its key and team: from all, or from none.

        Settle it exactly once, whatever becomes of it. Raises RateLimited, with the longest of the waits when several
        limits refuse. Asked again after that, it passes, unless others of the key or team were there first.
        """
        if principal.quota is None and principal.team_quota is None:
            return UNLIMITED
        key = self.keys.of(principal.key_id, principal.quota, now)
        team = self.teams.of(principal.team, principal.team_quota, now)
        if (key is not None and not key.admits(tokens, now)) or (team is not None and not team.admits(tokens, now)):
            raise _refusal([holder for holder in (key, team) if holder is not None], tokens, now)
        key_end = None if key is None else key.take(tokens)
        return Reservation(tokens, now, key, key_end, team, None if team is None else team.take(tokens))

    def settle(self, reservation: Reservation, tokens: int | None, now: float) -> None:
        """The request is over, and took so many tokens; None: as many as were reserved, since nobody knows better.

        Only the first time counts. A request that no engine saw took 0; it stays a request of the minute.
        """
        if not reservation.open:
            return
        reservation.open = False
        if reservation.key is not None:
            reservation.key.settle(reservation, reservation.key_end, tokens, now)
        if reservation.team is not None:
            reservation.team.settle(reservation, reservation.team_end, tokens, now)

    def told(self, principal: Principal, now: float) -> bytes:
        """The header lines that say what is left: OpenAI's `x-ratelimit-*`, of the limit that has the least left.

        Of key and team, that is, for requests and tokens each; nothing where there is no such limit. `reset` is the
        time until all of it is there again, in Go's notation of durations as OpenAI sends it (`1m2.5s`, `20ms`).
        """
        if principal.quota is None and principal.team_quota is None:
            return b""
        key = self.keys.of(principal.key_id, principal.quota, now)
        team = self.teams.of(principal.team, principal.team_quota, now)
        for holder in (key, team):
            if holder is not None:
                holder.look(now)
        return told(key, team)


def told(key: Holder | None, team: Holder | None) -> bytes:
    """The same, as far as their limits were looked at already: those of a request that was just admitted were."""
    requests = tokens = limited = metered = None
    for holder in (key, team):
        if holder is None:
            continue
        if (limit := holder.quota.rpm) is not None and (requests is None or holder.requests.left < requests):
            requests, limited = holder.requests.left, limit
        if (limit := holder.quota.tpm) is not None and (tokens is None or holder.tokens.left < tokens):
            tokens, metered = holder.tokens.left, limit
    lines = b""
    if requests is not None and limited is not None:
        lines = _REQUESTS % (limited, _whole(requests), _reset(limited, requests))
    if tokens is not None and metered is not None:
        lines += _TOKENS % (metered, _whole(tokens), _reset(metered, tokens))
    return lines


def _refusal(holders: Sequence[Holder], tokens: int, now: float) -> RateLimited:
    waits = [each for holder in holders for each in holder.waits(tokens, now)]
    seconds, limit, told = max(waits)
    if seconds == math.inf:
        return RateLimited(told, limit=limit, passes=False)
    wait = max(SOONEST_S, math.ceil(seconds))
    return RateLimited(f"{told}: ask again in {wait} s", limit=limit, retry_after=wait)


_LINES = "x-ratelimit-limit-{0}: %d\r\nx-ratelimit-remaining-{0}: %d\r\nx-ratelimit-reset-{0}: %b\r\n"
_REQUESTS, _TOKENS = _LINES.format("requests").encode(), _LINES.format("tokens").encode()


def _whole(room: float) -> int:
    return int(room + SLACK) if room > 0.0 else 0


def _reset(limit: int, room: float) -> bytes:
    return _duration(math.ceil((limit - room) * (MINUTE_S * 1000.0) / limit - SLACK))


@lru_cache(maxsize=4096)
def _duration(milliseconds: int) -> bytes:
    """`0s`, `20ms`, `2.5s`, `1m2.5s`."""
    if milliseconds <= 0:
        return b"0s"
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, milliseconds = divmod(milliseconds, 60_000)
    start = b"%dm" % minutes if minutes else b""
    return b"%b%gs" % (start, milliseconds / 1000.0)
