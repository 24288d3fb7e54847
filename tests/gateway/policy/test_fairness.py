"""The fair queue: who is next, who is refused, who rises, and whose wait is over."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.contracts.errors import QueueFull
from gateway.policy.fairness import JITTER, LATEST_S, SOONEST_S, FairQueue, Ticket, patience
from gateway.settings.queue import QueueConfig
from tests.gateway.policy.queues import FAR, PLAIN, names, ticket


def test_who_was_served_least_is_next() -> None:
    queue = FairQueue(PLAIN)
    for tenant in "aaaabb":
        queue.push(ticket(tenant, 10), 0.0)
    assert names(queue, 7) == "ababaa-"


def test_cached_tokens_and_written_ones_weigh_what_the_settings_say() -> None:
    queue = FairQueue(PLAIN)
    each = ticket("a", 1000, cached=800, output=50.0)
    queue.push(each, 0.0)
    assert queue.pop(0.0) is each
    assert each.charged == 200 * 1.0 + 800 * 0.125 + 50 * 2.0


def test_a_weight_of_two_is_twice_the_share() -> None:
    queue = FairQueue(PLAIN)
    for _ in range(12):
        queue.push(ticket("a", 10), 0.0)
        queue.push(ticket("b", 10, weight=2.0), 0.0)
    given = names(queue, 12)
    assert (given.count("a"), given.count("b")) == (4, 8)


def test_higher_classes_are_first() -> None:
    queue = FairQueue(PLAIN, {0: None, 100: None})
    queue.push(ticket("batch"), 0.0)
    queue.push(ticket("chat", priority=100), 0.0)
    assert [each.tenant for each in (queue.pop(0.0), queue.pop(0.0)) if each] == ["chat", "batch"]


def test_a_queue_that_is_full_takes_no_more() -> None:
    queue = FairQueue(QueueConfig(max_queued=2))
    queue.push(ticket(), 0.0)
    queue.push(ticket(), 0.0)
    with pytest.raises(QueueFull, match="2 requests wait for this model already, and 2 may: ask again later"):
        queue.push(ticket(), 0.0)
    queue.pop(0.0)
    queue.push(ticket(), 0.0)
    assert len(queue) == 2


def test_a_class_may_have_a_limit_of_its_own() -> None:
    queue = FairQueue(PLAIN, {0: 1, 100: None})
    queue.push(ticket(), 0.0)
    with pytest.raises(QueueFull, match="1 requests of this class wait already, and 1 may"):
        queue.push(ticket(), 0.0)
    queue.push(ticket(priority=100), 0.0)
    assert len(queue) == 2


def test_who_is_late_makes_room() -> None:
    queue = FairQueue(QueueConfig(max_queued=1))
    late = ticket(deadline=5.0)
    queue.push(late, 0.0)
    queue.push(ticket("b"), 5.0)
    assert queue.expire(5.0) == [late]
    assert names(queue, 2, 5.0) == "b-"


def test_a_deadline_that_has_come_is_over() -> None:
    queue = FairQueue(PLAIN)
    early, late = ticket(deadline=10.0), ticket(deadline=20.0)
    queue.push(late, 0.0)
    queue.push(early, 0.0)
    assert queue.expire(9.999) == []
    assert queue.pop(10.0) is late
    assert queue.expire(10.0) == [early]
    assert queue.expire(30.0) == []
    assert len(queue) == 0


def test_who_left_is_not_served() -> None:
    queue = FairQueue(PLAIN)
    one, two = ticket(), ticket()
    queue.push(one, 0.0)
    queue.push(two, 0.0)
    assert queue.cancel(one)
    assert not queue.cancel(one)
    assert queue.pop(0.0) is two
    assert not queue.cancel(two)


def test_one_that_is_put_back_is_next_again_and_charged_once() -> None:
    queue = FairQueue(PLAIN)
    one, two, other = ticket("a", 8), ticket("a", 8), ticket("b", 8)
    for each in (one, two, other):
        queue.push(each, 0.0)
    assert queue.pop(0.0) is one
    queue.put_back(one)
    assert len(queue) == 3
    assert [queue.pop(0.0) for _ in range(4)] == [one, other, two, None]
    queue.settle(one, 8, 0, 0.0)
    queue.settle(one, 8, 0, 0.0)
    queue.put_back(one)
    assert len(queue) == 0


def test_other_settings_keep_who_waits() -> None:
    queue = FairQueue(PLAIN)
    queue.push(ticket("a"), 0.0)
    queue.configure(QueueConfig(max_queued=1), {0: None, 5: None})
    with pytest.raises(QueueFull):
        queue.push(ticket("b"), 0.0)
    assert names(queue, 1) == "a"


@given(st.integers(0, 10_000), st.floats(0.001, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_retry_after_is_what_the_queue_takes(ahead: int, per_s: float, draw: float) -> None:
    seconds = patience(ahead, per_s, draw)
    exact = (ahead + 1) / per_s
    assert SOONEST_S <= seconds <= LATEST_S
    assert seconds <= max(SOONEST_S, math.ceil(exact * (1 + JITTER)))
    assert seconds >= min(LATEST_S, exact * (1 - JITTER))


def test_where_nothing_is_known_to_end_one_is_to_wait_long() -> None:
    assert patience(0, 0.0, 0.5) == LATEST_S


class Queued(RuleBasedStateMachine):
    """A plain list beside the queue: no order of events loses a ticket, serves one twice, or leaves a slot empty."""

    def __init__(self) -> None:
        super().__init__()
        config = QueueConfig(max_queued=20, ageing=10.0, max_wait=600.0)
        self.queue, self.now = FairQueue(config, {0: 5, 1: None, 2: None}), 0.0
        self.waiting: list[Ticket] = []
        self.popped: list[Ticket] = []
        self.returned: set[int] = set()

    @rule(tenant=st.sampled_from("abc"), level=st.integers(0, 2), wait=st.integers(0, 40))
    def push(self, tenant: str, level: int, wait: int) -> None:
        new = ticket(tenant, 7, at=self.now, priority=level, deadline=self.now + wait)
        if len(self.waiting) >= 20 or (level == 0 and sum(each.priority == 0 for each in self.waiting) >= 5):
            with pytest.raises(QueueFull):
                self.queue.push(new, self.now)
        else:
            self.queue.push(new, self.now)
            self.waiting.append(new)

    @rule()
    def pop(self) -> None:
        got = self.queue.pop(self.now)
        assert (got is None) == (not self.waiting), "work is conserved"
        if got is not None:
            like = (got.tenant, got.priority)
            kin = [each for each in self.waiting if (each.tenant, each.priority) == like]
            assert got is kin[0] or any(id(each) in self.returned for each in kin), "in order, in a tenant"
            self.waiting.remove(got)
            self.popped.append(got)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        each = self.waiting.pop(which % len(self.waiting))
        assert self.queue.cancel(each)

    @precondition(lambda self: self.popped)
    @rule(which=st.integers(0, 100), taken=st.integers(0, 50))
    def settle(self, which: int, taken: int) -> None:
        self.queue.settle(self.popped.pop(which % len(self.popped)), taken, 0, 0.0)

    @precondition(lambda self: self.popped)
    @rule(which=st.integers(0, 100))
    def put_back(self, which: int) -> None:
        each = self.popped.pop(which % len(self.popped))
        self.queue.put_back(each)
        self.returned.add(id(each))
        self.waiting.insert(0, each)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def those_who_wait_are_all_there(self) -> None:
        late = self.queue.expire(self.now)
        gone = [each for each in self.waiting if each.deadline <= self.now]
        assert {id(each) for each in gone} <= {id(each) for each in late}
        self.waiting = [each for each in self.waiting if each.deadline > self.now]
        assert len(self.queue) == len(self.waiting) == self.queue.ahead(0)

    def teardown(self) -> None:
        """Everybody goes home, and nothing is left."""
        while (each := self.queue.pop(self.now)) is not None:
            self.popped.append(each)
        for each in self.popped:
            self.queue.settle(each, 7, 0, 0.0)
        assert all(not band.accounts and not band.open and not band.backlogged for band in self.queue._bands)


TestQueued = Queued.TestCase
TestQueued.settings = settings(max_examples=60, stateful_step_count=40)


@given(st.integers(1, 6), st.integers(1, 3), st.data())
def test_nobody_starves(others: int, steps: int, data: st.DataObject) -> None:
    """A pool that is always full of higher classes, one slot a second: the last one still gets its turn."""
    levels = dict.fromkeys(range(steps + 1))
    queue, ageing = FairQueue(QueueConfig(ageing=10.0, max_wait=86_000.0), levels), 10
    queue.push(ticket("z", data.draw(st.integers(1, 1000)), priority=0, at=0.0), 0.0)
    soonest = steps * ageing
    for second in range(soonest + others + 2):
        for tenant in range(others):
            queue.push(ticket(str(tenant), data.draw(st.integers(1, 50)), priority=steps, at=second), second)
        got = queue.pop(second)
        assert got is not None
        if got.tenant == "z":
            assert second >= soonest
            return
    raise AssertionError(f"not served within {soonest + others + 2} s")


def test_what_is_kept_is_bounded_by_who_waits() -> None:
    queue = FairQueue(PLAIN, {0: None, 1: None})
    stays = ticket("stays", deadline=FAR)
    queue.push(stays, 0.0)
    for number in range(5000):
        gone = ticket("stays" if number % 2 else str(number))
        queue.push(gone, 0.0)
        queue.cancel(gone)
    held = len(queue._moments) + sum(len(band.ranks) + len(band.accounts) for band in queue._bands)
    assert stays.account is not None
    assert held + len(stays.account.lines[""]) < 1000
    assert queue.pop(0.0) is stays
