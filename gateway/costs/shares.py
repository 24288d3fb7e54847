"""Who an engine's time was for, while several requests shared its steps.

A step takes t = t0 + Σ x_i: `t0` whoever is in it, and `x_i` more for each request. The Shapley value of this game, the
one division that treats equals alike, gives nothing to who adds nothing, and adds up, is exactly

    x_i + t0 / |S|

its own part, and an equal part of what all need. A second of wall time holds 1/t steps, so of every dt request i has

    dt · (x_i + t0/|S|) / (t0 + Σ x)

With two sums that run along, A = ∫ dt / (t0 + Σx) and B = ∫ t0 / (|S| (t0 + Σx)) dt, a request whose x does not change
has x·ΔA + ΔB of the time between its begin and its end. So each begin and each end costs the same work, however many
requests there are. Multiplying all terms by one number changes no share: only their ratios matter.

The code is the same for floats, which serve, and for fractions, which are exact and which the laws are proved on.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

N = TypeVar("N", float, Fraction)

REFRESH = 1024
"""After so many events (or as many as there are requests) Σx is added up anew: floats that come and go leave traces."""


class Terms(NamedTuple, Generic[N]):
    """The terms of the time of a step, as `gateway.settings.profile.StepTime` has them, in any one unit."""

    base: N
    prefill_token: N
    sequence: N
    context_token: N


class Phase(NamedTuple, Generic[N]):
    """Time of one player (a number from 0) with one x: from `begin` up to `end`, integer microseconds."""

    player: int
    begin: int
    end: int
    x: N


class Shares(NamedTuple, Generic[N]):
    """Microseconds of each player, and those in which there was any."""

    of: list[N]
    busy_us: int


def prefilling(terms: Terms[N], uncached: int, chunk: int) -> N:
    """x of a step that computes a prompt: its tokens that no cache gave, at most `chunk` of them in one step."""
    return terms.prefill_token * min(uncached, chunk)


def decoding(terms: Terms[N], prompt: int, output: int) -> N:
    """x of a step that writes one token, with the mean context of an answer of `output` tokens."""
    return terms.sequence + terms.context_token * (2 * prompt + output) / 2


def steps(uncached: int, output: int, chunk: int) -> int:
    """The steps that a request takes part in: one for each chunk of its prompt, one for each token of its answer."""
    return -(-uncached // chunk) + output


def averaged(terms: Terms[N], uncached: int, prompt: int, output: int, chunk: int) -> N:
    """The mean x over all steps of a request, for one whose first token nobody saw. Raises ValueError without steps."""
    count = steps(uncached, output, chunk)
    if not count:
        raise ValueError("expected a request with tokens to compute, found none")
    return (terms.prefill_token * uncached + decoding(terms, prompt, output) * output) / count


def share(phases: Sequence[Phase[N]], base: N, players: int) -> Shares[N]:
    """The time of each of so many players; the phases of one do not overlap.

    Raises ValueError when a phase ends before it begins, or when a step without requests would take no time.
    """
    if not base > 0:
        raise ValueError(f"expected a step to take time by itself, found {base!r}")
    if any(each.end < each.begin for each in phases):
        raise ValueError("expected phases that end after they begin")
    zero, count = base * 0, len(phases)
    times = [*(each.begin for each in phases), *(each.end for each in phases)]
    of, since_a, since_b = [zero] * players, [zero] * count, [zero] * count
    sum_a = sum_b = sum_x = zero
    here: dict[int, N] = {}
    busy_us = last = events = 0
    for event in sorted(range(2 * count), key=times.__getitem__):  # at the same time begins come first, then ends
        now = times[event]
        if now != last:
            if here:
                passed = (now - last) / (base + sum_x)
                sum_a += passed
                sum_b += base * passed / len(here)
                busy_us += now - last
            last = now
        if event < count:
            x = here[event] = phases[event].x
            since_a[event], since_b[event] = sum_a, sum_b
            sum_x += x
        else:
            at = event - count
            x = here.pop(at)
            of[phases[at].player] += x * (sum_a - since_a[at]) + (sum_b - since_b[at])
            if here:
                sum_x = max(zero, sum_x - x)
            else:
                sum_a = sum_b = sum_x = zero
        events += 1
        if events > REFRESH and events > len(here):
            sum_x, events = sum(here.values(), zero), 0
    return Shares(of, busy_us)
