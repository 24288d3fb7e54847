"""The retry budget: a share of the requests, and a little for quiet pools."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.retries import PER_SECOND, RESERVE, SHARE, WINDOW_S, RetryBudget

Events = list[tuple[bool, float]]
EVENTS = st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=200)


def emptied(now: float = 0.0) -> RetryBudget:
    budget = RetryBudget()
    while budget.withdraw(now):
        pass
    return budget


def test_a_quiet_pool_may_retry_at_once() -> None:
    budget = RetryBudget()
    assert [budget.withdraw(0.0) for _ in range(int(RESERVE) + 1)] == [True] * int(RESERVE) + [False]


def test_five_requests_pay_for_one_retry() -> None:
    budget = emptied()
    allowed = 0
    for _ in range(1000):
        budget.deposit(0.0)
        allowed += budget.withdraw(0.0)
    assert allowed in (199, 200)


def test_what_was_spent_comes_back_in_time() -> None:
    budget = emptied()
    assert not budget.withdraw(0.5)
    assert budget.withdraw(3.0)


def test_what_nobody_used_is_forgotten() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.deposit(0.0)
    assert budget.withdraw(20 * WINDOW_S)
    assert sum(budget.withdraw(20 * WINDOW_S) for _ in range(100)) == RESERVE - 1


@given(EVENTS)
def test_never_more_than_the_share_and_the_minimum(events: Events) -> None:
    budget, now, requests, retries = RetryBudget(), 0.0, 0, 0
    for is_request, passed in events:
        now += passed
        if is_request:
            budget.deposit(now)
            requests += 1
        else:
            retries += budget.withdraw(now)
        assert retries <= RESERVE + PER_SECOND * now + SHARE * requests + 1e-6
        assert budget.balance >= 0.0


@given(EVENTS)
def test_the_balance_is_bounded_by_a_window_of_requests(events: Events) -> None:
    budget, now, held = RetryBudget(), 0.0, 0.0
    for is_request, passed in events:
        now += passed
        held = held * math.exp(-passed / WINDOW_S) + SHARE * is_request
        (budget.deposit if is_request else budget.withdraw)(now)
        assert budget.balance <= RESERVE + held + 1e-6


@given(EVENTS)
def test_law_10_the_same_history_gives_the_same_answers(events: Events) -> None:
    one, two, now = RetryBudget(), RetryBudget(), 0.0
    for is_request, passed in events:
        now += passed
        answers = [(each.deposit if is_request else each.withdraw)(now) for each in (one, two)]
        assert answers[0] == answers[1]
    assert one == two
