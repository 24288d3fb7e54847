"""The same candidates and the same ask give the same replica, and every replica gets its share."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.config import PoolConfig
from gateway.policy.routing import (
    BATCHED,
    LOAD_FACTOR,
    POLICIES,
    Ask,
    Candidate,
    consistent_hash,
    least_in_flight,
    least_outstanding,
    power_of_two,
    round_robin,
    session_affinity,
)

WORD = st.integers(0, 2**64 - 1)
TURN = st.integers(0, 10**9)
WEIGHT = st.one_of(st.just(1.0), st.floats(0.1, 1.0))
ASKS = st.builds(Ask, tokens=st.integers(0, 100_000), affinity=WORD, turn=TURN, draw=WORD)
SEEN = st.builds(
    Candidate,
    name=st.just(""),
    weight=WEIGHT,
    in_flight=st.integers(0, 50),
    outstanding=st.integers(0, 10**6),
    cached=st.integers(0, 100_000),
    kv_usage=st.none() | st.floats(0, 1),
    waiting=st.none() | st.integers(0, 100),
)


def named(seen: Sequence[Candidate]) -> list[Candidate]:
    """The same with names of their own."""
    return [msgspec.structs.replace(each, name=f"r{at}") for at, each in enumerate(seen)]


CANDIDATES = st.lists(SEEN, min_size=1, max_size=12).map(named)


def alike(count: int, **changes: Any) -> list[Candidate]:
    """So many equal replicas."""
    return [Candidate(f"r{at}", **changes) for at in range(count)]


def loaded(loads: Sequence[int], weights: Sequence[float] = ()) -> list[Candidate]:
    """Replicas with so many requests in flight."""
    whole = weights or [1.0] * len(loads)
    return [Candidate(f"r{at}", w, load) for at, (load, w) in enumerate(zip(loads, whole, strict=True))]


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None)
@given(seen=CANDIDATES, ask=ASKS)
def test_law_10_a_policy_answers_the_same_twice_and_within_bounds(name: str, seen: list[Candidate], ask: Ask) -> None:
    first = POLICIES[name](seen, ask)
    assert first == POLICIES[name](tuple(seen), msgspec.structs.replace(ask))
    assert 0 <= first.position < len(seen)
    assert len(first.scores) in (0, len(seen))
    assert first.reason


def test_the_configuration_knows_exactly_these_policies() -> None:
    annotation = PoolConfig.model_fields["policy"].annotation
    assert set(annotation.__args__) == set(POLICIES)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "power_of_two"])
@settings(deadline=None)
@given(count=st.integers(1, 12), turn=TURN)
def test_an_idle_pool_is_used_in_turn_where_nothing_tells_its_replicas_apart(name: str, count: int, turn: int) -> None:
    chosen = Counter(POLICIES[name](alike(count), Ask(turn=turn + i)).position for i in range(3 * count))
    assert chosen == Counter(dict.fromkeys(range(count), 3))


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("round_robin", "power_of_two")])
def test_a_cold_replica_gets_less_even_when_it_is_idle(name: str) -> None:
    cold = [Candidate("cold", 0.1), Candidate("warm", in_flight=1)]
    assert {POLICIES[name](cold, Ask(tokens=10, turn=turn)).position for turn in range(4)} == {1}


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), TURN)
def test_the_least_loaded_replica_is_taken(loads: list[int], turn: int) -> None:
    assert loads[least_in_flight(loaded(loads), Ask(turn=turn)).position] == min(loads)


def test_least_in_flight_counts_this_request_and_weighs_it() -> None:
    assert least_in_flight(loaded([0, 5], [0.1, 1.0]), Ask()).position == 1
    assert least_in_flight(loaded([0, 10], [0.1, 1.0]), Ask()).position == 0
    assert [least_in_flight(loaded([0, 0], [0.5, 1.0]), Ask(turn=turn)).position for turn in range(4)] == [1] * 4


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), ASKS)
def test_the_fewest_outstanding_tokens_are_taken(tokens: list[int], ask: Ask) -> None:
    seen = [Candidate(f"r{at}", outstanding=each, in_flight=9 - at % 9) for at, each in enumerate(tokens)]
    assert tokens[least_outstanding(seen, ask).position] == min(tokens)


@settings(deadline=None)
@given(st.integers(1, 12), TURN)
def test_round_robin_takes_each_replica_once_in_a_round(count: int, turn: int) -> None:
    chosen = [round_robin(alike(count), Ask(turn=turn + i)).position for i in range(count)]
    assert sorted(chosen) == list(range(count))


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1.0), min_size=1, max_size=8), TURN)
def test_round_robin_gives_each_replica_in_proportion_to_its_weight(weights: list[float], turn: int) -> None:
    rounds, seen = 500, loaded([0] * len(weights), weights)
    chosen = Counter(round_robin(seen, Ask(turn=turn + i)).position for i in range(rounds))
    for position, weight in enumerate(weights):
        assert abs(chosen[position] - rounds * weight / sum(weights)) <= 8


@settings(deadline=None)
@given(CANDIDATES, ASKS)
def test_power_of_two_never_takes_the_fullest_of_all(seen: list[Candidate], ask: Ask) -> None:
    shares = [(each.outstanding + ask.tokens + 1) / each.weight for each in seen]
    assume(len(seen) > 1 and shares.count(max(shares)) == 1)
    assert shares[power_of_two(seen, ask).position] < max(shares)


def test_power_of_two_draws_every_pair_equally_often() -> None:
    seen, step = alike(4), 2**64 // 1200
    chosen = Counter(power_of_two(seen, Ask(draw=number * step)).position for number in range(1200))
    assert all(abs(count - 300) <= 1 for count in chosen.values())
    assert len(chosen) == 4
    busy = [Candidate("busy", outstanding=10**6), *alike(3)]
    drawn = Counter(power_of_two(busy, Ask(draw=number * step * 7 % 2**64)).position for number in range(1200))
    assert 0 not in drawn
    assert set(drawn) == {1, 2, 3}


@settings(deadline=None)
@given(CANDIDATES, ASKS)
def test_consistent_hashing_keeps_its_bound(seen: list[Candidate], ask: Ask) -> None:
    assume(ask.affinity)
    chosen = seen[consistent_hash(seen, ask).position]
    total, whole = 1 + sum(each.in_flight for each in seen), sum(each.weight for each in seen)
    assert chosen.in_flight < LOAD_FACTOR * total * chosen.weight / whole + 1


@pytest.mark.parametrize("policy", [consistent_hash, session_affinity])
@settings(deadline=None)
@given(
    count=st.integers(2, 12), gone=st.integers(0, 11), affinities=st.lists(WORD.filter(bool), min_size=1, max_size=9)
)
def test_what_leaves_moves_nobody_else(policy: Any, count: int, gone: int, affinities: list[int]) -> None:
    seen = alike(count)
    left = [each for at, each in enumerate(seen) if at != gone % count]
    for affinity in affinities:
        before = seen[policy(seen, Ask(affinity=affinity)).position].name
        after = left[policy(left, Ask(affinity=affinity)).position].name
        assert before in (after, seen[gone % count].name)


@pytest.mark.parametrize("policy", [consistent_hash, session_affinity])
def test_affinities_are_spread_over_the_replicas(policy: Any) -> None:
    seen = alike(8)
    chosen = Counter(policy(seen, Ask(affinity=number * 2**64 // 8000 + 1)).position for number in range(8000))
    assert all(600 < chosen[position] < 1500 for position in range(8))


def test_a_full_replica_hands_its_hash_to_the_next_on_the_ring() -> None:
    ask = Ask(affinity=12345)
    first = consistent_hash(alike(4), ask)
    full = [msgspec.structs.replace(each, in_flight=9 * (at == first.position)) for at, each in enumerate(alike(4))]
    moved = consistent_hash(full, ask)
    assert (first.reason, moved.reason) == ("hash", "load_cap")
    assert moved.position != first.position


def test_a_session_stays_until_its_replica_is_overloaded() -> None:
    ask = Ask(affinity=12345)
    home = session_affinity(alike(4), ask).position

    def choice(in_flight: int, others: int) -> tuple[bool, str]:
        loads = [in_flight if at == home else others for at in range(4)]
        found = session_affinity(loaded(loads), ask)
        return found.position == home, found.reason

    assert choice(BATCHED - 1, 0) == (True, "session")
    assert choice(BATCHED, 0) == (False, "load_cap")
    assert choice(100, 90) == (True, "session")
    assert choice(200, 90) == (False, "load_cap")


def test_a_cold_replica_gets_its_share_of_sessions() -> None:
    cold = [Candidate("cold", 0.1), Candidate("warm")]
    chosen = Counter(
        session_affinity(cold, Ask(affinity=number * 2**64 // 4000 + 1)).position for number in range(4000)
    )
    assert 4000 * 0.06 < chosen[0] < 4000 * 0.13
