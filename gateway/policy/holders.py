"""The counters of one key or team under its limits, and those of all of them, by name.

Limits come with each request: a changed one counts at once, and what was used stays used. Times are seconds of one
monotonic clock.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from gateway.policy.buckets import MINUTE_S, Bucket
from gateway.settings.limits import Quota

SLACK = 1e-3
"""Of a request or token: what rounding may take from a bucket must refuse nobody who has waited as long as was said."""
SOONEST_S, LATEST_S = 1, 60
"""The bounds of a Retry-After that is an average, and no promise."""
SMOOTHING = 0.1
"""The part of the newest duration in the moving average: about the last twenty count."""
SWEEP_AT = 1024
"""Holders of counters before the first look for those that are idle; after it, twice as many as were not."""
TICKS = 6000
"""A minute's, of 10 ms each: when a limit is there again is rounded up to one, so that few of them differ."""
AT_ONCE = 1e300
"""A second: what is refilled so fast is no limit."""


@dataclass(slots=True)
class Holder:
    """The counters of one key or team, and its limits as of the newest request.

    What is refilled is known until `at`. `asked` requests weigh: a bucket that never has holes. What may weigh at once,
    `requests_most` and `tokens_most`, is all of a limit or this gateway's share of it; `bound` is that with the slack,
    and `whole` what clients are told of when nothing weighs. Each is infinite without a limit.

    `requests_line` and `tokens_line` begin what clients are told, `request_ticks` and `token_ticks` are how many ticks
    it takes to refill one, and `both` says that both are limited. `requests_text` and `tokens_text` are what was told
    last, when so much was left: `requests_told` and `tokens_told`. `request_s` is a moving average of how long its
    requests take. All are floats, since arithmetic of one kind is faster.
    """

    HERE: ClassVar[str] = ""
    """Where it is counted, in what clients are told."""
    LONGEST_S: ClassVar[float] = math.inf
    """The most that is said of the wait for a request."""

    kind: str
    name: str
    quota: Quota
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    slots: int = sys.maxsize
    requests_most: float = math.inf
    requests_bound: float = math.inf
    requests_whole: float = math.inf
    tokens_most: float = math.inf
    tokens_bound: float = math.inf
    tokens_whole: float = math.inf
    requests_s: float = AT_ONCE
    tokens_s: float = AT_ONCE
    requests_limit: float = 0.0
    tokens_limit: float = 0.0
    request_ticks: float = 0.0
    token_ticks: float = 0.0
    both: bool = False
    requests_line: bytes = b""
    tokens_line: bytes = b""
    requests_told: float = math.nan
    requests_text: bytes = b""
    tokens_told: float = math.nan
    tokens_text: bytes = b""
    at: float = 0.0
    asked: float = 0.0
    tokens: Bucket = field(default_factory=Bucket)
    in_flight: int = 0
    request_s: float | None = None

    def under(self, quota: Quota, now: float) -> None:
        """Count by these limits from now on; what was used stays used, and what was refilled was so at the old rate."""
        self.look(now)
        self.limit(quota)
        self.allow(quota.rpm, quota.tpm, quota.concurrency)

    def limit(self, quota: Quota) -> None:
        """Note what its limits are. What was not limited until now has used nothing of them."""
        if self.rpm is None:
            self.asked = 0.0
        if self.tpm is None:
            self.tokens.refill(math.inf)
        self.quota = quota
        self.rpm, self.tpm, self.concurrency = quota.rpm, quota.tpm, quota.concurrency
        self.requests_limit, self.tokens_limit = float(self.rpm or 0), float(self.tpm or 0)
        self.request_ticks, self.token_ticks = TICKS / (self.rpm or TICKS), TICKS / (self.tpm or TICKS)
        self.both = self.rpm is not None and self.tpm is not None
        self.requests_line, self.tokens_line = _line("requests", self.rpm or 0), _line("tokens", self.tpm or 0)
        self.requests_told = self.tokens_told = math.nan

    def allow(self, requests: int | None, tokens: int | None, slots: int | None) -> None:
        """Let so much weigh at once from now on, and be refilled each minute; None: whatever comes."""
        self.slots = sys.maxsize if slots is None else slots
        self.requests_most, self.requests_s = _float(requests), AT_ONCE if requests is None else requests / MINUTE_S
        self.tokens_most, self.tokens_s = _float(tokens), AT_ONCE if tokens is None else tokens / MINUTE_S
        self.requests_bound, self.tokens_bound = self.requests_most + SLACK, self.tokens_most + SLACK
        self.requests_whole, self.tokens_whole = self.requests_most, self.tokens_most

    def take(self, tokens: float, now: float) -> float | None:
        """Take one request of so many tokens from every limit: where it ends in the bucket of tokens.

        None, and nothing is taken, where a limit has no room. `look` and `Bucket` are written out, since every request
        comes by. A `now` from before the last look, of a request that took long to arrive, refills nothing.
        """
        in_flight = self.in_flight
        if in_flight >= self.slots:
            return None
        bucket = self.tokens
        if bucket.holes:
            self.look(now)
        passed = now - self.at
        if passed < 0.0:
            now, passed = self.at, 0.0
        weight = bucket.weight - passed * self.tokens_s
        weight = weight + tokens if weight > 0.0 else tokens
        asked = self.asked - passed * self.requests_s
        asked = asked + 1.0 if asked > 0.0 else 1.0
        if weight > self.tokens_bound or asked > self.requests_bound:
            return None
        self.at = now
        self.asked = asked
        self.in_flight = in_flight + 1
        bucket.weight = weight
        bucket.charged = end = bucket.charged + tokens
        return end

    def put_back(self, tokens: float) -> None:
        """Undo `take`, before anything else happens."""
        self.in_flight -= 1
        self.asked -= 1.0
        self.tokens.take(-tokens)

    def settle(self, end: float, spare: int, took_s: float, now: float) -> None:
        """One of its requests is over: of its reservation, which ends at `end`, so many tokens are spare, or lack."""
        self.in_flight -= 1
        mean = self.request_s
        self.request_s = took_s if mean is None else mean + SMOOTHING * (took_s - mean)
        bucket, refilled = self.tokens, (now - self.at) * self.tokens_s
        # Both are what `look` and `Bucket.true_up` do. What is refilled already cannot go back, and most requests end
        # there, unless their bucket is nearly used up; what lacks is not refilled by what came before it.
        if spare > 0:
            if bucket.weight > refilled and end > bucket.paid + refilled:
                self.look(now)
                bucket.true_up(end, spare)
        elif spare:
            if bucket.holes:
                self.look(now)
                bucket.true_up(end, spare)
            else:
                bucket.weight = max(bucket.weight, refilled) - spare
                bucket.charged -= spare

    def look(self, now: float) -> None:
        """See what is refilled by now."""
        passed = now - self.at
        if passed > 0.0:
            self.at = now
            self.asked = max(0.0, self.asked - passed * self.requests_s)
            self.tokens.refill(passed * self.tokens_s)

    def idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing that is limited."""
        self.look(now)
        return not (self.in_flight or self.asked or self.tokens.weight)

    def waits(self, tokens: int, now: float) -> Iterator[tuple[float, str, str]]:
        """(seconds, limit, message) of every limit that refuses; infinite for what can never pass."""
        self.look(now)
        whose = f"{self.kind} {self.name!r}"
        if self.concurrency is not None and self.in_flight >= self.slots:
            # Little's law: L requests that take W seconds each end at L / W per second.
            soon = SOONEST_S if self.request_s is None else self.request_s / max(self.in_flight, self.concurrency)
            told = f"{whose} may have {self.concurrency} requests in flight, and has them: wait until one has ended"
            yield min(max(soon, SOONEST_S), LATEST_S), f"{self.kind}.concurrency", told
        if self.rpm is not None and (lacking := self.asked + 1.0 - self.requests_bound) > 0.0:
            told = f"{whose} is limited to {self.rpm} requests per minute, and they are used up"
            yield min(lacking * MINUTE_S / self.rpm, self.LONGEST_S), f"{self.kind}.requests", told
        if self.tpm is not None and (lacking := self.tokens.weight + tokens - self.tokens_bound) > 0.0:
            told = f"{whose} is limited to {self.tpm} tokens per minute, and this request may take {tokens}"
            if tokens > self.tpm:
                yield math.inf, f"{self.kind}.tokens", f"{told}: it can never pass, ask for fewer tokens"
            else:
                left = max(0, math.floor(self.tokens_most - self.tokens.weight))
                yield (
                    lacking * MINUTE_S / self.tpm,
                    f"{self.kind}.tokens",
                    f"{told}, of which {left} are left {self.HERE}now",
                )


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


def _float(limit: int | None) -> float:
    return math.inf if limit is None else float(limit)


def _line(kind: str, limit: int) -> bytes:
    """OpenAI's names of a limit and of what is left of it."""
    return f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: ".encode()
