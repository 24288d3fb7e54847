"""The same loads and the same turn give the same replica, and every replica gets its share."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import PoolConfig
from gateway.policy.routing import POLICIES, least_in_flight, round_robin

LOADS = st.lists(st.integers(0, 50), min_size=1, max_size=12)
TURN = st.integers(0, 10**9)


@settings(deadline=None)
@given(LOADS, TURN)
def test_the_least_loaded_replica_is_taken(loads: list[int], turn: int) -> None:
    assert loads[least_in_flight(loads, (), turn)] == min(loads)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 50), TURN)
def test_equal_replicas_are_taken_in_turn(count: int, load: int, turn: int) -> None:
    chosen = Counter(least_in_flight([load] * count, (), turn + i) for i in range(3 * count))
    assert chosen == Counter(dict.fromkeys(range(count), 3))


@settings(deadline=None)
@given(LOADS, TURN)
def test_round_robin_takes_each_replica_once_in_a_round(loads: list[int], turn: int) -> None:
    chosen = [round_robin(loads, (), turn + i) for i in range(len(loads))]
    assert sorted(chosen) == list(range(len(loads)))


def test_a_cold_replica_gets_less_even_when_it_is_idle() -> None:
    assert least_in_flight([0, 5], [0.1, 1.0], 0) == 1
    assert least_in_flight([0, 10], [0.1, 1.0], 0) == 0
    assert [least_in_flight([0, 0], [0.5, 1.0], turn) for turn in range(4)] == [1] * 4


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1.0), min_size=1, max_size=8), TURN)
def test_round_robin_gives_each_replica_in_proportion_to_its_weight(weights: list[float], turn: int) -> None:
    rounds = 500
    chosen = Counter(round_robin([0] * len(weights), weights, turn + i) for i in range(rounds))
    for position, weight in enumerate(weights):
        assert abs(chosen[position] - rounds * weight / sum(weights)) <= 8


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.1, 1.0)), min_size=1, max_size=12), st.booleans(), TURN)
def test_law_10_a_policy_answers_the_same_twice_and_within_bounds(
    name: str, replicas: list[tuple[int, float]], whole: bool, turn: int
) -> None:
    loads = [load for load, _ in replicas]
    weights = [] if whole else [weight for _, weight in replicas]
    first = POLICIES[name](loads, weights, turn)
    assert first == POLICIES[name](list(loads), list(weights), turn)
    assert 0 <= first < len(loads)


def test_the_configuration_knows_exactly_these_policies() -> None:
    annotation = PoolConfig.model_fields["policy"].annotation
    assert set(annotation.__args__) == set(POLICIES)  # type: ignore[union-attr]
