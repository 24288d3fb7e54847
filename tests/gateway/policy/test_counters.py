"""The virtual token counter: equal shares, whatever tenants ask for, however they come and go."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.counters import Ticket
from gateway.policy.fairness import FairQueue
from tests.gateway.policy.queues import PLAIN, Pool, names, ticket

Arrival = tuple[float, Ticket, int]


def steady(
    tenant: str, per_s: float, begin: float, end: float, cost: int = 100, weight: float = 1.0
) -> Iterator[Arrival]:
    """Requests at an even rate, each of one cost."""
    for number in range(int((end - begin) * per_s)):
        at = begin + number / per_s
        yield at, ticket(tenant, cost, at=at, weight=weight), cost


def test_twice_the_requests_are_no_more_service() -> None:
    """The overload of the paper: both ask for more than half of the pool, one for twice as much as the other."""
    pool = Pool(FairQueue(PLAIN), slots=2, speed=100.0)
    pool.run([*steady("a", 1.5, 0, 360), *steady("b", 3.0, 0, 360)], 360.0)
    ratio = pool.between("b", 60, 360) / pool.between("a", 60, 360)
    assert 1 / 1.05 < ratio < 1.05
    # One tenant is first come, first served.
    plain = Pool(FairQueue(PLAIN), slots=2, speed=100.0)
    plain.run([*steady("x", 1.5, 0, 360), *steady("x", 3.0, 0, 360)], 360.0)
    assert sum(pool.served.values()) == pytest.approx(sum(plain.served.values()), rel=0.01)


def test_weights_are_shares() -> None:
    pool = Pool(FairQueue(PLAIN), slots=2, speed=100.0)
    pool.run([*steady("a", 3.0, 0, 360), *steady("b", 3.0, 0, 360, weight=2.0)], 360.0)
    assert pool.between("b", 60, 360) / pool.between("a", 60, 360) == pytest.approx(2.0, rel=0.02)


def test_who_asks_for_less_than_its_share_gets_it_all() -> None:
    pool = Pool(FairQueue(PLAIN), slots=2, speed=100.0)
    pool.run([*steady("a", 0.5, 0, 300), *steady("b", 5.0, 0, 300)], 300.0)
    assert pool.between("a", 0, 300) >= 0.97 * 0.5 * 300 * 100


def test_who_comes_back_from_idle_has_saved_nothing() -> None:
    pool = Pool(FairQueue(PLAIN), slots=2, speed=100.0)
    back = [*steady("b", 3.0, 0, 50), *steady("b", 3.0, 200, 300)]
    pool.run([*steady("a", 3.0, 0, 300), *back], 300.0)
    share = pool.between("b", 210, 290) / (pool.between("a", 210, 290) + pool.between("b", 210, 290))
    assert share == pytest.approx(0.5, abs=0.03)


def test_who_comes_back_gets_every_other_slot_at_once() -> None:
    queue = FairQueue(PLAIN)
    for tenant in "ab" * 2 + "a" * 20:
        queue.push(ticket(tenant, 10), 0.0)
    assert names(queue, 12) == "abab" + "a" * 8
    for _ in range(10):
        queue.push(ticket("b", 10), 0.0)
    assert names(queue, 8).count("b") == 4


def test_what_was_expected_is_trued_up_exactly() -> None:
    queue = FairQueue(PLAIN)
    first = ticket("a", 64, output=100.0)
    for each in (first, ticket("a", 64), ticket("b", 64), ticket("b", 64)):
        queue.push(each, 0.0)
    assert queue.pop(0.0) is first
    account = first.account
    assert account is not None
    assert account.counter == 264.0
    queue.settle(first, 64, 32, 7.0)
    assert account.counter == 32 + 32 * 0.125 + 14
    queue.settle(first, 1000, 0, 1000.0)
    assert account.counter == 50.0, "once"


def test_an_answer_shorter_than_expected_brings_the_tenant_forward() -> None:
    queue = FairQueue(PLAIN)
    long = ticket("a", 10, output=1000.0)
    for each in (long, ticket("a", 10), ticket("b", 20), ticket("b", 20), ticket("b", 20)):
        queue.push(each, 0.0)
    assert names(queue, 2) == "ab"
    queue.settle(long, 10, 0, 0.0)
    assert names(queue, 2) == "ab"


def test_who_filled_the_pool_before_others_had_to_wait_has_had_that_much() -> None:
    for first, second in ("ab", "ba"):
        queue = FairQueue(PLAIN)
        for _ in range(3):
            queue.charge(ticket("a", 10))
        for tenant in (first, second) * 6:
            queue.push(ticket(tenant, 10), 0.0)
        given = names(queue, 9)
        assert given.count("b") in (5, 6), given
        assert set(given[1:3]) == {"b"}, given


def test_what_ended_while_nobody_waited_is_forgiven() -> None:
    queue = FairQueue(PLAIN)
    stays = ticket("c", 10)
    queue.charge(stays)
    for _ in range(50):
        each = ticket("a", 10)
        queue.charge(each)
        queue.settle(each, 10, 0, 0.0)
    for tenant in "bababa":
        queue.push(ticket(tenant, 10), 0.0)
    assert names(queue, 4).count("b") == 2


def test_where_nobody_waits_the_last_one_who_did_is_what_others_are_lifted_to() -> None:
    queue = FairQueue(PLAIN)
    for tenant in "ab" * 10:
        queue.push(ticket(tenant, 10), 0.0)
    assert names(queue, 20) == "ab" * 10
    for tenant in "cccaaa":
        queue.push(ticket(tenant, 10), 0.0)
    assert names(queue, 5) == "ccaca"


def test_a_pool_that_is_idle_remembers_nobody() -> None:
    queue = FairQueue(PLAIN)
    for number in range(100):
        queue.push(ticket(str(number), 10), 0.0)
    given = [each for each in (queue.pop(0.0) for _ in range(100)) if each]
    band = given[0].account.band if given[0].account else None
    assert band is not None
    assert len(band.accounts) == 100
    for each in given:
        queue.settle(each, 25, 0, 0.0)
    assert (len(band.accounts), band.idle, band.open) == (0, 0.0, 0)


SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=12)


@settings(max_examples=60)
@given(sizes=st.tuples(SIZES, SIZES), guesses=SIZES, slots=st.integers(1, 8), others=SIZES)
def test_two_that_both_wait_differ_by_what_is_in_flight_at_most(
    sizes: tuple[list[int], list[int]], guesses: list[int], slots: int, others: list[int]
) -> None:
    """|W_i - W_j| <= 2 max(w_p L, w_q M), the bound of the paper, with M for slots times the largest request."""
    arrivals: list[Arrival] = []
    for tenant, costs in zip("ab", sizes, strict=True):
        for number in range(150):
            guess = guesses[number % len(guesses)]
            arrivals.append((0.0, ticket(tenant, guess), costs[number % len(costs)]))
    arrivals += [(5.0 * at, ticket("c", guesses[0], at=5.0 * at), cost) for at, cost in enumerate(others)]
    pool = Pool(FairQueue(PLAIN), slots=slots)
    bound = 2 * (slots + 1) * max(*sizes[0], *sizes[1], *guesses, *others)
    backlog = 150 * min(*sizes[0], *sizes[1])
    horizon = 0.0
    while max(pool.served.values(), default=0) + bound < backlog:
        horizon += 3.0
        pool.run(arrivals if horizon == 3.0 else [], horizon)
        arrivals = []
        assert abs(pool.served["a"] - pool.served["b"]) <= bound
