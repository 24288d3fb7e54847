"""Shares of an engine's time: the sweep against Shapley's value by brute force, and floats against fractions."""

import math
from fractions import Fraction
from itertools import pairwise, permutations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.costs import shares
from gateway.costs.shares import REFRESH, Phase, Terms, averaged, decoding, prefilling, share, steps

TERMS = Terms(Fraction(1, 100), Fraction(1, 50_000), Fraction(1, 10_000), Fraction(1, 10_000_000))
XS = st.fractions(0, 1, max_denominator=50)
BASES = st.fractions(Fraction(1, 50), 2, max_denominator=50)


def step_time(present: tuple[int, ...], xs: list[Fraction], base: Fraction) -> Fraction:
    """The game: a step with nobody in it is not taken."""
    return base + sum((xs[each] for each in present), Fraction(0)) if present else Fraction(0)


def shapley(xs: list[Fraction], base: Fraction) -> list[Fraction]:
    """By the definition: what each adds when it comes, over all orders in which they may come."""
    total = [Fraction(0)] * len(xs)
    for order in permutations(range(len(xs))):
        for at, player in enumerate(order):
            total[player] += step_time(order[: at + 1], xs, base) - step_time(order[:at], xs, base)
    return [each / math.factorial(len(xs)) for each in total]


def by_hand(phases: list[Phase[Fraction]], base: Fraction, players: int) -> list[Fraction]:
    """The same time, interval by interval, with Shapley's value by brute force in each."""
    times = sorted({moment for each in phases for moment in (each.begin, each.end)})
    found = [Fraction(0)] * players
    for begin, end in pairwise(times):
        here = [each for each in phases if each.begin <= begin and end <= each.end]
        if here:
            values = shapley([each.x for each in here], base)
            for each, value in zip(here, values, strict=True):
                found[each.player] += (end - begin) * value / sum(values)
    return found


@st.composite
def phased(draw: st.DrawFn, most: int = 6) -> list[Phase[Fraction]]:
    """Up to so many players, each with one or two phases, one after the other."""
    found = []
    for player in range(draw(st.integers(1, most))):
        begin, middle, end = sorted(draw(st.lists(st.integers(0, 30), min_size=3, max_size=3)))
        found += [Phase(player, begin, middle, draw(XS)), Phase(player, middle, end, draw(XS))]
    return found


@settings(max_examples=50)
@given(st.lists(XS, min_size=1, max_size=6), BASES)
def test_shapley_by_brute_force_is_the_own_part_and_an_equal_part_of_the_base(
    xs: list[Fraction], base: Fraction
) -> None:
    assert shapley(xs, base) == [x + base / len(xs) for x in xs]


@settings(max_examples=50)
@given(st.lists(XS, min_size=1, max_size=6), BASES, st.integers(1, 1000))
def test_requests_that_share_every_step_have_their_shapley_value_of_the_time(
    xs: list[Fraction], base: Fraction, length: int
) -> None:
    found = share([Phase(at, 0, length, x) for at, x in enumerate(xs)], base, len(xs))
    whole = base + sum(xs)
    assert found.of == [length * value / whole for value in shapley(xs, base)]


@settings(max_examples=25)
@given(phased(), BASES)
def test_the_sweep_is_shapley_by_brute_force_in_every_interval(phases: list[Phase[Fraction]], base: Fraction) -> None:
    players = 1 + max(each.player for each in phases)
    assert share(phases, base, players).of == by_hand(phases, base, players)


@given(phased(12), BASES)
def test_the_shares_add_up_to_the_time_in_which_anybody_was_there(
    phases: list[Phase[Fraction]], base: Fraction
) -> None:
    found = share(phases, base, 12)
    covered = {second for each in phases for second in range(each.begin, each.end)}
    assert sum(found.of) == found.busy_us == len(covered)
    assert min(found.of) >= 0


@given(phased(12), BASES, st.randoms())
def test_the_order_of_requests_does_not_matter(phases: list[Phase[Fraction]], base: Fraction, random: Random) -> None:
    other = list(phases)
    random.shuffle(other)
    assert share(other, base, 12) == share(phases, base, 12)


@given(phased(12), BASES, st.integers(0, 30))
def test_splitting_the_window_changes_nothing(phases: list[Phase[Fraction]], base: Fraction, at: int) -> None:
    left = [each._replace(begin=min(each.begin, at), end=min(each.end, at)) for each in phases]
    right = [each._replace(begin=max(each.begin, at), end=max(each.end, at)) for each in phases]
    whole, halves = share(phases, base, 12), (share(left, base, 12), share(right, base, 12))
    assert whole.of == [sum(pair) for pair in zip(*(half.of for half in halves), strict=True)]
    assert whole.busy_us == sum(half.busy_us for half in halves)


@given(phased(12), BASES, st.fractions(Fraction(1, 9), 9, max_denominator=9))
def test_only_the_ratios_of_the_terms_matter(phases: list[Phase[Fraction]], base: Fraction, factor: Fraction) -> None:
    scaled = [each._replace(x=each.x * factor) for each in phases]
    assert share(scaled, base * factor, 12) == share(phases, base, 12)


@given(phased(12), BASES)
def test_floats_say_what_fractions_say(phases: list[Phase[Fraction]], base: Fraction) -> None:
    rounded = share([Phase(each.player, each.begin, each.end, float(each.x)) for each in phases], float(base), 12)
    assert rounded.of == pytest.approx([float(each) for each in share(phases, base, 12).of], abs=1e-9)


def test_floats_do_not_drift_over_a_long_sweep() -> None:
    """One request stays while three times REFRESH others come and go, so the sum of x is never empty."""
    count = 3 * REFRESH
    exact = [Phase(0, 0, 10 * count, Fraction(1, 3))]
    exact += [Phase(at, 10 * at, 10 * at + 7, Fraction(at % 97, 7)) for at in range(1, count)]
    rounded = [Phase(each.player, each.begin, each.end, float(each.x)) for each in exact]
    found, wanted = share(rounded, 0.01, count).of, share(exact, Fraction(1, 100), count).of
    assert found == pytest.approx([float(each) for each in wanted], rel=1e-9)


def test_two_requests_share_the_base_and_pay_their_own_part() -> None:
    found = share([Phase(0, 0, 100, 3.0), Phase(1, 0, 100, 1.0)], 4.0, 2)
    assert found == ([100 * (3 + 2) / 8, 100 * (1 + 2) / 8], 100)


def test_a_request_alone_has_all_of_its_time() -> None:
    assert share([Phase(0, 5, 25, 0.0), Phase(1, 30, 31, 9.0)], 0.5, 2) == ([20.0, 1.0], 21)


def test_no_time_is_nobodys() -> None:
    assert share([], 1.0, 2) == ([0.0, 0.0], 0)
    assert share([Phase(0, 7, 7, 1.0)], 1.0, 1) == ([0.0], 0)


def test_what_a_step_computes_of_a_request() -> None:
    assert prefilling(TERMS, 100, 8192) == Fraction(100, 50_000)
    assert prefilling(TERMS, 20_000, 8192) == Fraction(8192, 50_000)
    assert decoding(TERMS, 1000, 200) == TERMS.sequence + TERMS.context_token * 1100
    assert (steps(0, 5, 8), steps(8, 5, 8), steps(9, 5, 8)) == (5, 6, 7)


def test_the_mean_over_all_steps_is_all_work_by_the_number_of_steps() -> None:
    work = TERMS.prefill_token * 20_000 + 50 * decoding(TERMS, 21_000, 50)
    assert averaged(TERMS, 20_000, 21_000, 50, 8192) == work / (3 + 50)
    with pytest.raises(ValueError, match="with tokens to compute"):
        averaged(TERMS, 0, 10, 0, 8192)


@pytest.mark.parametrize(("uncached", "cached", "output"), [*product((0, 100, 20_000), (0, 500), (1, 300))])
def test_more_tokens_never_weigh_less_in_a_step(uncached: int, cached: int, output: int) -> None:
    here = decoding(TERMS, uncached + cached, output)
    assert prefilling(TERMS, uncached + 1, 8192) >= prefilling(TERMS, uncached, 8192)
    assert decoding(TERMS, uncached + cached + 1, output) >= here
    assert decoding(TERMS, uncached + cached, output + 1) >= here


@pytest.mark.parametrize("base", [0.0, -1.0, math.nan])
def test_a_step_takes_time(base: float) -> None:
    with pytest.raises(ValueError, match="expected a step to take time by itself"):
        share([], base, 0)


def test_a_phase_does_not_end_before_it_begins() -> None:
    with pytest.raises(ValueError, match="end after they begin"):
        share([Phase(0, 2, 1, 0.0)], 1.0, 1)
    assert shares.REFRESH > 1
