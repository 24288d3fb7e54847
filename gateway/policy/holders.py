"""The counters of one key or team under its limits, and those of all of them, by name.

Limits come with each request: a changed one counts at once, and what was used stays used. Times are seconds of one
monotonic clock.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.policy.buckets import MINUTE_S, Bucket
from gateway.settings.limits import Quota

SLACK = 1e-3
"""Of a request or token: what rounding may take from a bucket must refuse nobody who has waited as long as was said."""
_LEAST = -SLACK
SOONEST_S, LATEST_S = 1, 60
"""The bounds of a Retry-After that is an average, and no promise."""
SMOOTHING = 0.1
"""The part of the newest duration in the moving average: about the last twenty count."""
SWEEP_AT = 1024
"""Holders of counters before the first look for those that are idle; after it, twice as many as were not."""
TICKS = 6000
"""A minute's, of 10 ms each: when a limit is there again is rounded up to one, so that few of them differ."""
UNMETERED = -1.0
"""The end of a request that no limit of tokens counts."""


@dataclass(slots=True)
class Holder:
    """The counters of one key or team, and its limits as of the newest request.

    `request_s`: a moving average of how long its requests take. `most_requests` and `most_tokens` are `rpm` and `tpm`
    as floats, 0.0 without them, since arithmetic of one kind is faster; `request_ticks` and `token_ticks` are how many
    ticks it takes to refill one. `requests_line` and `tokens_line` begin what clients are told of them, and `both` says
    that there are both.
    """

    kind: str
    name: str
    quota: Quota
    rpm: int | None = None
    tpm: int | None = None
    rpm_s: float = 0.0
    tpm_s: float = 0.0
    most_requests: float = 0.0
    most_tokens: float = 0.0
    request_ticks: float = 0.0
    token_ticks: float = 0.0
    both: bool = False
    requests_line: bytes = b""
    tokens_line: bytes = b""
    concurrency: int | None = None
    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    in_flight: int = 0
    request_s: float | None = None

    def under(self, quota: Quota, now: float) -> None:
        """Count by these limits from now on; what was used stays used, and what was refilled was so at the old rate."""
        self.requests.weight(now)
        self.tokens.weight(now)
        self.limit(quota)
        self.rpm_s, self.tpm_s = self.most_requests / MINUTE_S, self.most_tokens / MINUTE_S
        self.requests.limit = self.rpm or self.requests.limit
        self.tokens.limit = self.tpm or self.tokens.limit

    def limit(self, quota: Quota) -> None:
        """Note what its limits are."""
        self.quota = quota
        self.rpm, self.tpm, self.concurrency = quota.rpm, quota.tpm, quota.concurrency
        self.most_requests, self.most_tokens = float(self.rpm or 0), float(self.tpm or 0)
        self.request_ticks, self.token_ticks = TICKS / (self.rpm or TICKS), TICKS / (self.tpm or TICKS)
        self.both = self.rpm is not None and self.tpm is not None
        self.requests_line, self.tokens_line = _line("requests", self.rpm or 0), _line("tokens", self.tpm or 0)

    def take(self, tokens: float, now: float) -> float | None:
        """Take one request of so many tokens from every limit: where it ends in the bucket of tokens.

        `UNMETERED` without a limit of tokens; None, and nothing is taken, where a limit has no room. `Bucket.room` is
        written out, since every request comes by: the bucket of requests never has holes, and what is refilled since a
        moment need be noted when the bucket is full only, since until then it grows evenly. A `now` from before that
        moment, of a request that took long to arrive, refills nothing.
        """
        in_flight, end = self.in_flight, UNMETERED
        if self.concurrency is not None and in_flight >= self.concurrency:
            return None
        tpm, most = self.tpm, self.most_requests
        if tpm is not None:
            bucket = self.tokens
            charged = bucket.charged
            if bucket.holes:
                left = bucket.room(tpm, now) - tokens
            else:
                left, paid = self.most_tokens - tokens, bucket.paid + (now - bucket.at) * self.tpm_s
                if paid >= charged:
                    bucket.paid, bucket.at = charged, now
                else:
                    left -= charged - (paid if paid > bucket.paid else bucket.paid)
            if left < _LEAST:
                return None
            end = charged + tokens
        if most:
            requests = self.requests
            asked, paid, room = requests.charged, requests.paid + (now - requests.at) * self.rpm_s, most - 1.0
            if paid >= asked:
                requests.paid, requests.at = asked, now
            else:
                room -= asked - (paid if paid > requests.paid else requests.paid)
            if room < _LEAST:
                return None
            requests.left = room
            requests.charged = asked + 1.0
        if tpm is not None:
            bucket.left, bucket.charged = left, end
        self.in_flight = in_flight + 1
        return end

    def put_back(self, tokens: int) -> None:
        """Undo `take`, before anything else happens. The next look sees what is left."""
        self.in_flight -= 1
        if self.rpm is not None:
            self.requests.charged -= 1.0
        if self.tpm is not None:
            self.tokens.charged -= tokens

    def settle(self, end: float, spare: int, took_s: float, now: float) -> None:
        """One of its requests is over: of its reservation, which ends at `end`, so many tokens are spare, or lack."""
        self.in_flight -= 1
        mean, bucket = self.request_s, self.tokens
        self.request_s = took_s if mean is None else mean + SMOOTHING * (took_s - mean)
        # What is refilled already cannot go back: most requests end here, unless their bucket is nearly used up. It is
        # noted when the bucket is next looked at, and is hence reckoned.
        if spare > 0:
            if end > bucket.paid + (now - bucket.at) * self.tpm_s:
                bucket.true_up(end, spare, now)
        elif spare < 0 <= end:
            bucket.true_up(end, spare, now)

    def look(self, now: float) -> None:
        """See how much room its limits have."""
        if self.rpm is not None:
            self.requests.room(self.rpm, now)
        if self.tpm is not None:
            self.tokens.room(self.tpm, now)

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing that is limited."""
        return not self.in_flight and self.requests.weight(now) <= 0.0 and self.tokens.weight(now) <= 0.0

    def waits(self, tokens: int, now: float) -> Iterator[tuple[float, str, str]]:
        """(seconds, limit, message) of every limit that refuses; infinite for what can never pass."""
        whose = f"{self.kind} {self.name!r}"
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            # Little's law: L requests that take W seconds each end at L / W per second.
            soon = SOONEST_S if self.request_s is None else self.request_s / self.in_flight
            told = f"{whose} may have {self.concurrency} requests in flight, and has them: wait until one has ended"
            yield min(max(soon, SOONEST_S), LATEST_S), f"{self.kind}.concurrency", told
        if self.rpm is not None and (lacking := 1.0 - SLACK - self.requests.room(self.rpm, now)) > 0.0:
            told = f"{whose} is limited to {self.rpm} requests per minute, and they are used up"
            yield lacking * MINUTE_S / self.rpm, f"{self.kind}.requests", told
        if self.tpm is not None and (lacking := tokens - SLACK - (room := self.tokens.room(self.tpm, now))) > 0.0:
            told = f"{whose} is limited to {self.tpm} tokens per minute, and this request may take {tokens}"
            if tokens > self.tpm:
                yield math.inf, f"{self.kind}.tokens", f"{told}: it can never pass, ask for fewer tokens"
            else:
                left = max(0, math.floor(room))
                yield lacking * MINUTE_S / self.tpm, f"{self.kind}.tokens", f"{told}, of which {left} are left now"


class Holders:
    """The counters of all keys, or of all teams. Those that are idle are forgotten: memory is bounded by who asks."""

    def __init__(self, kind: str, make: Callable[[str, str, Quota], Holder] = Holder) -> None:
        self._kind, self._make = kind, make
        self.held: dict[str, Holder] = {}
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self.held)

    def of(self, name: str, quota: Quota | None, now: float) -> Holder | None:
        """The counters of one, under its limits of now; None without limits."""
        if quota is None:
            return None
        found = self.held.get(name)
        if found is None:
            if len(self.held) >= self._sweep_at:
                self.sweep(now)
            found = self.held[name] = self._make(self._kind, name, quota)
            found.under(quota, now)
        elif found.quota is not quota:
            found.under(quota, now)
        return found

    def sweep(self, now: float) -> None:
        """Forget those that are idle."""
        self.held = {name: holder for name, holder in self.held.items() if not holder.idle(now)}
        self._sweep_at = max(SWEEP_AT, 2 * len(self.held))


def _line(kind: str, limit: int) -> bytes:
    """OpenAI's names of a limit and of what is left of it."""
    return f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: ".encode()
