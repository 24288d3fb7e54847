"""Which replica answers. One signature per policy: the replicas that may be tried and what is asked in, a choice out.

A policy sees `Candidate`s, never none, and one `Ask`. It is pure and keeps no state: random bits and the turn are part
of the ask, so the same candidates and the same ask give the same choice, on another day too. Every policy heeds slow
start: a candidate's `weight` is its share of traffic against a warm one's.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate

import msgspec

GOLDEN = 0.6180339887498949
"""The fractional parts of its multiples are spread evenly over [0, 1) (Weyl's sequence with the least discrepancy)."""
LOAD_CAP = 2.0
"""Of the mean outstanding tokens: a replica beyond it is too busy for what its cache holds to count."""
OUTPUT_WEIGHT = 0.5
"""What an expected output token counts for in `outstanding`, against one of a prompt: an engine decodes many requests
together. At 1 the first token comes 7 % later with llm-d's workload, since who answers now hides who has to read."""
MISS = 3.0
"""What a token that has to be computed counts for, against one that waits already: it also evicts a cached one, which
somebody computes again later. Preble (ICLR 2025) adds the cost of eviction for the same reason. At 1 the caches of a
busy fleet churn; from 2 to 10 its time to the first token hardly changes, and 3 recovers best from empty caches."""
KV_ROOMY = 0.8
"""Of the KV cache in use: up to here nobody waits for room, and its use is load that is counted already, and sooner."""
LOAD_FACTOR = 1.25
"""Of the mean requests in flight, this one counted: the bound of consistent hashing (arXiv 1608.01350)."""
POINTS = 128
"""Of each replica on the ring: shares of the hash space then differ by about a tenth."""
CROWDED, BATCHED = 1.5, 8
"""A session stays where no more are in flight than this times the mean, or so few that an engine hardly feels them."""

_WORD = 2**64 - 1


class Candidate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One replica that may be tried.

    `in_flight` requests of this gateway are on their way there, `outstanding` are their tokens: uncached prompt, until
    the first one comes, and `OUTPUT_WEIGHT` of the expected output. `cached` tokens of this prompt its prefix cache is
    thought to hold. `kv_usage` (0 to 1) and `waiting` requests are the engine's own words, seconds old; None: unsaid.
    """

    name: str
    weight: float = 1.0
    in_flight: int = 0
    outstanding: int = 0
    cached: int = 0
    kv_usage: float | None = None
    waiting: int | None = None


class Ask(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a policy knows of the request.

    `tokens` of its prompt, as estimated; `affinity`, a 64-bit hash of its session, or of its first prompt block where
    there is no session, 0 where there is neither; `turn` grows by one with each request; `draw` are 64 random bits.
    """

    tokens: int = 0
    affinity: int = 0
    turn: int = 0
    draw: int = 0


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A position among the candidates; a score for each, higher is better, none where a policy has none; and why."""

    position: int
    scores: tuple[float, ...]
    reason: str


Policy = Callable[[Sequence[Candidate], Ask], Choice]


def round_robin(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """The next replica in order, whatever its load; with weights, each in proportion to its own."""
    weights = [each.weight for each in candidates]
    if min(weights) == 1.0:
        return Choice(ask.turn % len(weights), (), "turn")
    sums = list(accumulate(weights))
    point = ask.turn * GOLDEN % 1.0 * sums[-1]
    position = next((at for at, reached in enumerate(sums) if point < reached), len(sums) - 1)
    return Choice(position, (), "turn")


def least_in_flight(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """The replica with the fewest requests in flight for its weight, this one counted; ties are taken in turn.

    In turn, so that an idle pool is used evenly.
    """
    scores = [-(each.in_flight + 1) / each.weight for each in candidates]
    return Choice(_highest(scores, ask.turn), tuple(scores), "load")


def least_outstanding(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """The replica with the fewest outstanding tokens for its weight, this prompt counted; ties are taken in turn."""
    own = ask.tokens + 1
    scores = [-(each.outstanding + own) / each.weight for each in candidates]
    return Choice(_highest(scores, ask.turn), tuple(scores), "load")


def power_of_two(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """Of two replicas drawn at random the one with fewer outstanding tokens for its weight (Mitzenmacher 2001).

    It herds less than looking at all of them where several gateways share a pool and see their own requests alone.
    """
    count = len(candidates)
    if count == 1:
        return Choice(0, (), "load")
    high, low = ask.draw >> 32, ask.draw & 0xFFFFFFFF
    first = high * count >> 32
    second = (first + 1 + (low * (count - 1) >> 32)) % count
    one, other, own = candidates[first], candidates[second], ask.tokens + 1
    fewer = (other.outstanding + own) * one.weight < (one.outstanding + own) * other.weight
    return Choice(second if fewer else first, (), "load")


def consistent_hash(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """The first replica on the ring from the ask's affinity on that has not reached its bound (CHWBL).

    Its bound of requests in flight, this one counted, is ceil(1.25 · (all in flight + 1) · its share of the weights).
    So one prefix goes where it went before, from every gateway alike, until that replica is busier than the rest.
    Without affinity: least in flight.
    """
    if ask.affinity == 0:
        return least_in_flight(candidates, ask)
    points, owners = _ring(tuple([each.name for each in candidates]))
    at, total = bisect_right(points, ask.affinity), 1
    share = 0.0
    for each in candidates:
        total += each.in_flight
        share += each.weight
    share = LOAD_FACTOR * total / share
    first = owners[at % len(owners)]
    for step in range(len(owners)):
        owner = owners[(at + step) % len(owners)]
        if candidates[owner].in_flight + 1 <= math.ceil(share * candidates[owner].weight):
            return Choice(owner, (), "hash" if owner == first else "load_cap")
    return least_in_flight(candidates, ask)


def session_affinity(candidates: Sequence[Candidate], ask: Ask) -> Choice:
    """The replica with the highest hash of affinity and name (rendezvous hashing, Thaler and Ravishankar 1998).

    It moves off that one only while it is overloaded: more than `BATCHED` requests in flight and more than `CROWDED`
    times the mean, this one counted. Without affinity: least in flight.
    """
    if ask.affinity == 0:
        return least_in_flight(candidates, ask)
    scores, total, whole = [], 1, 0.0
    for each in candidates:
        total += each.in_flight
        whole += each.weight
        scores.append(_rendezvous(each, ask.affinity))
    best = _highest(scores, 0)
    bound = CROWDED * total / whole
    fit = [at for at, each in enumerate(candidates) if each.in_flight < max(BATCHED, bound * each.weight)]
    if not fit or candidates[best].in_flight < max(BATCHED, bound * candidates[best].weight):
        return Choice(best, tuple(scores), "session")
    return Choice(max(fit, key=scores.__getitem__), tuple(scores), "load_cap")


def score(candidates: Sequence[Candidate], ask: Ask, kv: bool = True, waiting: bool = True) -> Choice:
    """The replica from which the first token should come soonest, counted in tokens; ties are taken in turn.

        cost = outstanding + MISS · (tokens - cached) + tokens · (KV pressure + requests that wait and are not ours)
        score = -(cost + 1) / weight

    What waits there comes first, then what its cache does not hold has to be computed. A full KV cache counts as one
    more prompt like this one, since it has to make room first: pressure is 0 up to `KV_ROOMY`, and 1 where it is full.
    So does each request that waits in the engine beyond those that this gateway has there, which it counts itself, and
    sooner. Where one engine does not say, that term is left out for all, as it is without `kv` or `waiting`: a missing
    word is no zero. The reason says so: `no_kv`, `no_waiting`.

    A prefix does not count on a replica that has more outstanding than `LOAD_CAP` times the mean, this prompt counted,
    and more than this prompt: one hot prefix spreads instead of burying the replica that holds it.
    """
    tokens, cap = ask.tokens, 0.0
    scores, missed = [], MISS * tokens + 1.0
    for each in candidates:
        cost = each.outstanding + missed
        if each.cached and each.outstanding <= (cap := cap or _cap(candidates, tokens)):
            cost -= MISS * each.cached
        if kv:
            if each.kv_usage is None:
                return score(candidates, ask, False, waiting)
            if each.kv_usage > KV_ROOMY:
                cost += tokens * _pressure(each.kv_usage)
        if waiting:
            if each.waiting is None:
                return score(candidates, ask, kv, False)
            if each.waiting > each.in_flight:
                cost += tokens * (each.waiting - each.in_flight)
        scores.append(-cost / each.weight)
    best = _highest(scores, ask.turn)
    reason = _reason(candidates, best, cap) if cap else "load"
    return Choice(best, tuple(scores), reason + _UNSAID[kv][waiting])


def terms(candidates: Sequence[Candidate], ask: Ask) -> list[dict[str, float | str | bool | None]]:
    """How `score` came to each candidate's score, all in tokens but the weight; for explanations, not for each request.

    `score` = -(outstanding + uncached + kv + queue + 1) / weight. A term is None where it was left out for all.
    `capped`: its prefix did not count.
    """
    cap = _cap(candidates, ask.tokens)
    kv = all(each.kv_usage is not None for each in candidates)
    waiting = all(each.waiting is not None for each in candidates)
    found: list[dict[str, float | str | bool | None]] = []
    for each, reached in zip(candidates, score(candidates, ask).scores, strict=True):
        capped = each.cached > 0 and each.outstanding > cap
        found.append(
            {
                "name": each.name,
                "outstanding": each.outstanding,
                "cached": each.cached,
                "capped": capped,
                "uncached": MISS * (ask.tokens - (0 if capped else each.cached)),
                "kv": ask.tokens * _pressure(each.kv_usage) if kv else None,
                "queue": ask.tokens * max(0, (each.waiting or 0) - each.in_flight) if waiting else None,
                "weight": each.weight,
                "score": reached,
            }
        )
    return found


POLICIES: dict[str, Policy] = {
    "score": score,
    "least_outstanding": least_outstanding,
    "least_in_flight": least_in_flight,
    "power_of_two": power_of_two,
    "consistent_hash": consistent_hash,
    "session_affinity": session_affinity,
    "round_robin": round_robin,
}
READS_PREFIXES = frozenset({score})
"""The policies that read `Candidate.cached`."""
READS_AFFINITY = frozenset({consistent_hash, session_affinity})
"""The policies that read `Ask.affinity`."""
_UNSAID = (" no_kv no_waiting", " no_kv"), (" no_waiting", "")  # by whether the use of caches and who waits is known


def _highest(scores: Sequence[float], turn: int) -> int:
    """The position of the highest score; of several, in turn."""
    highest = max(scores)
    position, turn = scores.index(highest), turn % scores.count(highest)
    while turn:
        position, turn = scores.index(highest, position + 1), turn - 1
    return position


def _cap(candidates: Sequence[Candidate], tokens: int) -> float:
    return max(tokens, LOAD_CAP * (tokens + sum([each.outstanding for each in candidates])) / len(candidates))


def _reason(candidates: Sequence[Candidate], best: int, cap: float) -> str:
    """Why `score` chose this one: what is cached counts where no more than `cap` is outstanding."""
    counted = candidates[best].cached if candidates[best].outstanding <= cap else 0
    capped = max([each.cached for each in candidates if each.outstanding > cap], default=0)
    return "load_cap" if capped > counted else "prefix" if counted else "load"


def _pressure(kv_usage: float | None) -> float:
    """How far a KV cache is from having room, 0 to 1."""
    return max(0.0, (kv_usage or 0.0) - KV_ROOMY) / (1.0 - KV_ROOMY)


def _rendezvous(candidate: Candidate, affinity: int) -> float:
    """A weighted rendezvous score: -weight / ln(u) with u uniform in (0, 1) (Schindelhauer and Schomaker 2005)."""
    mixed = (affinity ^ _hash(candidate.name)) * 0x9E3779B97F4A7C15 & _WORD
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _WORD
    return -candidate.weight / math.log(((mixed ^ mixed >> 32) + 0.5) / 2**64)


@lru_cache(maxsize=4096)
def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=4096)
def _points(name: str) -> tuple[int, ...]:
    """A replica's points on the ring."""
    return tuple(_hash(f"{name}#{number}") for number in range(POINTS))


@lru_cache(maxsize=256)
def _ring(names: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """(points in order, the position of the replica that each belongs to)."""
    ring = sorted((point, position) for position, name in enumerate(names) for point in _points(name))
    return [point for point, _ in ring], [position for _, position in ring]
