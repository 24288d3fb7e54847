"""Admission: whether a key and its team may have one more request now, and what of their limits it takes.

A limit per minute is a bucket, as `buckets` explains. Those of a key and of its team are asked together, and nothing is
taken of one when the other refuses. Counters live on, by the key's id and the team's name, and limits come with each
request: a changed one counts at once, and what was used stays used. One gateway process counts for itself, or by its
shares of the limits (`shares`). Times are seconds of one monotonic clock.
"""

import math
from collections.abc import Callable, Sequence
from math import floor
from operator import itemgetter

import msgspec

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.holders import SLACK, SOONEST_S, TICKS, Holder, Holders
from gateway.settings.limits import Quota

WHOLE = 2.0**52
"""From here on floats are whole: what it is added to and taken from again is rounded, in half the time of `// 1.0`."""
_UP = 0.5 - SLACK
"""What rounds up then, but for `SLACK`."""


class Reservation(msgspec.Struct, gc=False):
    """What one admitted request holds, until it is settled. `tokens` at most, since `at`."""

    tokens: int
    at: float
    key: Holder | None = None
    key_end: float = 0.0
    team: Holder | None = None
    team_end: float = 0.0
    open: bool = True


UNLIMITED = Reservation(0, 0.0, open=False)
"""That of every request whose key and team have no limits. There is nothing to settle."""


class Admission:
    """All counters of one gateway. They outlive refreshes and reloads: one of it, made by the composition root."""

    def __init__(self, make: Callable[[str, str, Quota], Holder] = Holder) -> None:
        self.keys, self.teams = Holders("key", make), Holders("team", make)

    def admit(self, principal: Principal, tokens: int, now: float) -> Reservation:
        """Take one request of at most so many tokens from the limits of its key and team: from all, or from none.

        Settle it exactly once, whatever becomes of it. Raises RateLimited, with the longest of the waits when several
        limits refuse. Asked again after that, it passes, unless others of the key or team were there first.
        """
        quota, shared = principal.quota, principal.team_quota
        if quota is None and shared is None:
            return UNLIMITED
        key = team = None
        if quota is not None:
            key = self.keys.held.get(principal.key_id)
            if key is None or key.quota is not quota:
                key = self.keys.of(principal.key_id, quota, now)
        if shared is not None:
            team = self.teams.held.get(principal.team)
            if team is None or team.quota is not shared:
                team = self.teams.of(principal.team, shared, now)
        amount = float(tokens)
        key_end = 0.0 if key is None else key.take(amount, now)
        if key_end is not None:
            team_end = 0.0 if team is None else team.take(amount, now)
            if team_end is not None:
                return Reservation(tokens, now, key, key_end, team, team_end)
            if key is not None:
                key.put_back(amount)
        raise _refusal([holder for holder in (key, team) if holder is not None], tokens, now)

    def settle(self, reservation: Reservation, tokens: int | None, now: float) -> None:
        """The request is over, and took so many tokens; None: as many as were reserved, since nobody knows better.

        Only the first time counts. A request that no engine saw took 0; it stays a request of the minute.
        """
        if not reservation.open:
            return
        reservation.open = False
        took_s, spare = now - reservation.at, 0 if tokens is None else reservation.tokens - tokens
        if (key := reservation.key) is not None:
            key.settle(reservation.key_end, spare, took_s, now)
        if (team := reservation.team) is not None:
            team.settle(reservation.team_end, spare, took_s, now)

    def told(self, principal: Principal, now: float) -> bytes:
        """The header lines that say what is left: OpenAI's `x-ratelimit-*`, of the limit that has the least left.

        Of key and team, that is, for requests and tokens each; nothing where there is no such limit. `reset` is the
        time until all of it is there again, rounded up to 10 ms, in Go's notation of durations as OpenAI sends it
        (`1m2.5s`, `20ms`).
        """
        if principal.quota is None and principal.team_quota is None:
            return b""
        key = self.keys.of(principal.key_id, principal.quota, now)
        team = self.teams.of(principal.team, principal.team_quota, now)
        for holder in (key, team):
            if holder is not None:
                holder.look(now)
        return _some(key, team)


def told(key: Holder | None, team: Holder | None) -> bytes:
    """The same for a request that was just admitted: its limits were looked at, and had room."""
    # Written out for keys that have both limits, since every request of theirs comes by; `_some` says the same of all.
    # What was told last is told again of what has as much left: who is far from a limit has it whole each time.
    if key is None or not key.both or (team is not None and not team.both):
        return _some(key, team)
    limited = metered = key
    requests, tokens = key.requests_whole - key.asked, key.tokens_whole - key.tokens.weight
    if team is not None:
        if (left := team.requests_whole - team.asked) < requests:
            limited, requests = team, left
        if (left := team.tokens_whole - team.tokens.weight) < tokens:
            metered, tokens = team, left
    if requests != limited.requests_told:
        reset = _resets_requests[(limited.requests_limit - requests) * limited.request_ticks + _UP + WHOLE - WHOLE]
        limited.requests_text = _ONE % (limited.requests_line, floor(requests + SLACK), reset)
        limited.requests_told = requests
    if tokens != metered.tokens_told:
        reset = _resets_tokens[(metered.tokens_limit - tokens) * metered.token_ticks + _UP + WHOLE - WHOLE]
        metered.tokens_text = _ONE % (metered.tokens_line, floor(tokens + SLACK), reset)
        metered.tokens_told = tokens
    return limited.requests_text + metered.tokens_text


def _some(*holders: Holder | None) -> bytes:
    """The same of limits that were looked at: some may have no room, and some no limit of requests, or of tokens."""
    requests = [
        (each.requests_whole - each.asked, each.requests_limit, each.request_ticks, each.requests_line)
        for each in holders
        if each is not None and each.rpm is not None
    ]
    tokens = [
        (each.tokens_whole - each.tokens.weight, each.tokens_limit, each.token_ticks, each.tokens_line)
        for each in holders
        if each is not None and each.tpm is not None
    ]
    return _least(requests, _resets_requests) + _least(tokens, _resets_tokens)


def _least(limits: Sequence[tuple[float, float, float, bytes]], resets: "_Resets") -> bytes:
    """What is told of the one of (room, limit, ticks to refill one, how it begins) that has the least room."""
    if not limits:
        return b""
    left, limit, ticks, line = min(limits, key=itemgetter(0))
    return _ONE % (line, max(0, floor(left + SLACK)), resets[(limit - left) * ticks + _UP + WHOLE - WHOLE])


def _refusal(holders: Sequence[Holder], tokens: int, now: float) -> RateLimited:
    waits = [each for holder in holders for each in holder.waits(tokens, now)]
    seconds, limit, told = max(waits)
    if seconds == math.inf:
        return RateLimited(told, limit=limit, passes=False)
    wait = max(SOONEST_S, math.ceil(seconds))
    return RateLimited(f"{told}: ask again in {wait} s", limit=limit, retry_after=wait)


# Whole numbers by `floor`, which takes half as long as int(), and %d less for them than for floats.
_ONE = b"%b%d%b"


class _Resets(dict[float, bytes]):
    """What ends the lines of a limit, by the ticks after which all of it is there again; found once a tick.

    A plain look into a dictionary takes half the time of `lru_cache`. In debt there are more ticks than a minute's:
    those are not kept.
    """

    def __init__(self, kind: str) -> None:
        self._start = f"\r\nx-ratelimit-reset-{kind}: ".encode()

    def __missing__(self, ticks: float) -> bytes:
        told = b"%b%b\r\n" % (self._start, _duration(ticks))
        if 0.0 <= ticks <= TICKS:
            self[ticks] = told
        return told


def _duration(ticks: float) -> bytes:
    """`0s`, `20ms`, `2.5s`, `1m2.5s`. The ticks are whole."""
    if ticks <= 0:
        return b"0s"
    if ticks < 100:
        return b"%d0ms" % ticks
    minutes, ticks = divmod(ticks, TICKS)
    start = b"%dm" % minutes if minutes else b""
    return b"%b%gs" % (start, ticks / 100.0)


_resets_requests, _resets_tokens = _Resets("requests"), _Resets("tokens")
