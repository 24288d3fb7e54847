"""The books of one hour of one replica: what it cost, and for whom.

    K = Σ price · time        of the pieces of the hour in which the replica was paid for
    K = allocated + overhead + idle

Whoever was there shares the time (`gateway.costs.shares`); time with nobody there is idle. All amounts are integers of
1e-9 of the currency: K is rounded once, and its parts are rounded so that they add up to it.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Generic, NamedTuple

import msgspec

from gateway.costs import methods, shares
from gateway.costs.apportion import apportion
from gateway.costs.methods import Asked
from gateway.costs.shares import N, Phase, Terms
from gateway.settings.profile import StepTime

HOUR_US = 3_600_000_000
NANO = 10**9
Key = tuple[str, int]
"""A request's id, and its number: a request can come twice to the same replica."""
NOTHING = (0, 0, 0)
IDLE: Key = ("", -1)
"""Stands among the requests when K is split; its key is none of a request, whose number is 0 or more."""


class Work(msgspec.Struct, frozen=True):
    """One request, or one attempt that failed, on one replica. Times are integer microseconds since the epoch.

    `first_us` is when its first token came, None where nobody saw it. Token counts: `uncached` and `cached` of the
    prompt, `output` of the answer; all None, or one of them negative: nobody knows, and it has only its part of the
    fixed time. `method` says how its time is known, `overhead` that nobody pays for it by name.
    """

    request_id: str
    begun_us: int
    first_us: int | None
    ended_us: int
    uncached: int | None
    cached: int | None
    output: int | None
    method: str
    overhead: bool = False


class Part(msgspec.Struct, frozen=True):
    """What one request has of an hour, in nano of the currency.

    `shared` by shared time; `by_requests`, `by_tokens` and `by_weight` are the same money split by other methods;
    `loaded` is `shared` with its part of what was idle and overhead.
    """

    shared: int
    by_requests: int
    by_tokens: int
    by_weight: int
    loaded: int


class Split(msgspec.Struct, frozen=True):
    """An hour of a replica: cost = allocated + overhead + idle, in nano; the time paid for and the time with requests.

    `parts` has every request that is no overhead; their `shared` add up to `allocated`, and so does each other method.
    What overhead costs stands in `overhead` alone.
    """

    cost: int
    paid_us: int
    busy_us: int
    allocated: int
    overhead: int
    idle: int
    parts: dict[str, Part]


class Money(NamedTuple, Generic[N]):
    """What each piece of work has, and what nobody has, as price times microseconds; the time with work."""

    of: list[N]
    idle: N
    busy_us: int


def phases(work: Work, player: int, terms: Terms[N], chunk: int) -> list[Phase[N]]:
    """The times of a piece of work with one x each; none where it took no time, or did nothing at all."""
    begun, ended, counts = work.begun_us, work.ended_us, _counts(work)
    if ended <= begun or counts == NOTHING:
        return []
    if counts is None:
        return [Phase(player, begun, ended, terms.base * 0)]
    uncached, cached, output = counts
    if work.first_us is None:
        if not shares.steps(uncached, output, chunk):
            return [Phase(player, begun, ended, terms.base * 0)]
        x = shares.averaged(terms, uncached, uncached + cached, output, chunk)
        return [Phase(player, begun, ended, x)]
    first = min(max(work.first_us, begun), ended)
    return [
        Phase(player, begun, first, shares.prefilling(terms, uncached, chunk)),
        Phase(player, first, ended, shares.decoding(terms, uncached + cached, output)),
    ]


def money(works: Sequence[Work], paid: Sequence[tuple[int, int, N]], terms: Terms[N], chunk: int) -> Money[N]:
    """The price of the time of each piece of work, unrounded: exact on fractions. `paid` as for `split_hour`."""
    zero, busy_us = terms.base * 0, 0
    found = [phase for player, work in enumerate(works) for phase in phases(work, player, terms, chunk)]
    of, idle = [zero] * len(works), zero
    for begin, until, price in paid:
        inside = [
            phase if begin <= phase.begin and phase.end <= until else _cut(phase, begin, until)
            for phase in found
            if phase.begin < until and begin < phase.end
        ]
        seen = shares.share(inside, terms.base, len(works))
        for player, microseconds in enumerate(seen.of):
            of[player] += price * microseconds
        idle += price * (until - begin - seen.busy_us)
        busy_us += seen.busy_us
    return Money(of, idle, busy_us)


def split_hour(works: Sequence[Work], paid: Sequence[tuple[int, int, Decimal]], step: StepTime, chunk: int) -> Split:
    """The books of a replica's hour.

    `paid` are the pieces of the hour in which money left the account: from, until (microseconds), and the price of an
    hour of the whole replica. Work may reach outside of them: there it costs nothing. `chunk` is the engine's
    `max_num_batched_tokens`. The order of the works does not matter. Raises ValueError when pieces overlap or are
    empty, when a price is negative or no number, or for a chunk below 1.
    """
    _check(paid, chunk)
    exact = sum((Fraction(price) * (until - begin) for begin, until, price in paid), Fraction(0))
    cost = round(exact * NANO / HOUR_US)
    terms = Terms(step.base_s, step.prefill_token_s, step.sequence_s, step.context_token_s)
    numbered = {(work.request_id, at): work for at, work in enumerate(sorted(works, key=_order))}
    found = money([*numbered.values()], [(begin, until, float(price)) for begin, until, price in paid], terms, chunk)
    weights = dict(zip(numbered, found.of, strict=True))
    amounts = apportion(cost, {IDLE: found.idle, **weights})
    idle = amounts.pop(IDLE)
    named = {key: amount for key, amount in amounts.items() if not numbered[key].overhead}
    allocated = sum(named.values())
    overhead = cost - idle - allocated
    return Split(
        cost=cost,
        paid_us=sum(until - begin for begin, until, _ in paid),
        busy_us=found.busy_us,
        allocated=allocated,
        overhead=overhead,
        idle=idle,
        parts=_parts(named, idle + overhead, {key: numbered[key] for key in named}, paid),
    )


def _parts(
    named: dict[Key, int], rest: int, works: dict[Key, Work], paid: Sequence[tuple[int, int, Decimal]]
) -> dict[str, Part]:
    """Each request's part; `rest` is what is put on top of the fully loaded ones."""
    allocated = sum(named.values())
    asked = {key: each for key, work in works.items() if (each := _asked(work, paid)) is not None}
    by_requests, by_tokens, by_weight = (
        methods.split(allocated, asked, weigh) if asked else {}
        for weigh in (methods.requests, methods.tokens, methods.weighted)
    )
    loads = apportion(rest, named) if allocated else {}
    parts: dict[str, Part] = {}
    for key, shared in named.items():
        part = Part(
            shared,
            by_requests.get(key, 0),
            by_tokens.get(key, 0),
            by_weight.get(key, 0),
            shared + loads.get(key, 0),
        )
        if (before := parts.get(key[0])) is not None:
            part = _sum(before, part)
        parts[key[0]] = part
    return parts


def _cut(phase: Phase[N], begin: int, until: int) -> Phase[N]:
    return Phase(phase.player, max(phase.begin, begin), min(phase.end, until), phase.x)


def _counts(work: Work) -> tuple[int, int, int] | None:
    """(uncached, cached, output), a count that is not told as 0; None where usage is unknown."""
    uncached, cached, output = work.uncached, work.cached, work.output
    if uncached is None and cached is None and output is None:
        return None
    found = (uncached or 0, cached or 0, output or 0)
    return None if found[0] < 0 or found[1] < 0 or found[2] < 0 else found


def _asked(work: Work, paid: Sequence[tuple[int, int, Decimal]]) -> Asked | None:
    """The work as other methods count it; None where it was not there while the replica was paid for."""
    begun, ended, counts = work.begun_us, work.ended_us, _counts(work)
    inside = 0
    for begin, until, _ in paid:
        if begin <= begun <= ended <= until:  # nearly always
            inside += ended - begun
        else:
            inside += max(0, min(ended, until) - max(begun, begin))
    if not inside or counts == NOTHING:
        return None
    uncached, cached, output = counts or NOTHING
    return Asked(uncached, cached, output, inside / (ended - begun))


def _order(work: Work) -> tuple[object, ...]:
    """Sorts by everything that a share depends on: floats that are added in another order round in another way."""
    counts = tuple(-1 if each is None else each for each in (work.uncached, work.cached, work.output))
    first = -1 if work.first_us is None else work.first_us
    return (work.begun_us, work.ended_us, work.request_id, first, counts, work.overhead)


def _sum(one: Part, other: Part) -> Part:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Part(*(left + right for left, right in pairs))


def _check(paid: Sequence[tuple[int, int, Decimal]], chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"expected a chunk of 1 token or more, found {chunk}")
    last = None
    for begin, until, price in paid:
        if until <= begin or (last is not None and begin < last):
            raise ValueError(f"expected pieces one after the other, found {begin} to {until} after {last}")
        if not price.is_finite() or price < 0:
            raise ValueError(f"expected a price of 0 or more, found {price}")
        last = until
