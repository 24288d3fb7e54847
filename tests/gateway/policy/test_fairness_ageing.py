"""Who rises in the fair queue, when, and to which class; also after classes were named otherwise."""

from gateway.policy.fairness import FairQueue
from gateway.settings.queue import QueueConfig
from tests.gateway.policy.queues import names, ticket


def test_one_that_waits_rises_class_by_class() -> None:
    queue = FairQueue(QueueConfig(ageing=10.0, max_wait=600.0), {-10: None, 0: None, 100: None})
    queue.push(ticket("old", priority=-10), 0.0)
    assert (queue.ahead(-10), queue.ahead(0)) == (1, 0)
    for tenant, at, priority in (("x", 15.0, 0), ("y", 20.0, 100)):
        queue.push(ticket(tenant, at=at, priority=priority), at)
    assert (queue.ahead(100), queue.ahead(0), queue.ahead(-10)) == (2, 3, 3)
    assert [each.tenant for each in (queue.pop(20.0), queue.pop(20.0), queue.pop(20.0)) if each] == ["old", "y", "x"]


def test_one_that_has_waited_before_has_risen_already() -> None:
    queue = FairQueue(QueueConfig(ageing=10.0), {0: None, 100: None})
    queue.push(ticket("late", at=100.0), 100.0)
    queue.push(ticket("early", at=85.0), 100.0)
    assert queue.ahead(100) == 0
    assert queue.expire(100.0) == []
    assert queue.ahead(100) == 1


def test_a_class_that_is_seen_for_the_first_time_is_one_to_rise_to() -> None:
    queue = FairQueue(QueueConfig(ageing=10.0))
    queue.push(ticket("old"), 0.0)
    assert queue.expire(15.0) == []
    queue.push(ticket("new", at=15.0, priority=7), 15.0)
    assert queue.ahead(7) == 1
    assert queue.expire(20.0) == []
    assert queue.ahead(7) == 2


def test_a_class_that_is_named_no_more_is_none_to_rise_to() -> None:
    config = QueueConfig(ageing=10.0)
    queue = FairQueue(config, {0: None, 50: None, 100: None})
    queue.configure(config, {0: None, 100: None})
    queue.push(ticket("old"), 0.0)
    assert queue.expire(10.0) == []
    assert queue.ahead(100) == 1
    queue.configure(config, {0: None, 50: None, 100: None})
    queue.push(ticket("new", at=10.0), 10.0)
    assert queue.expire(20.0) == []
    assert (queue.ahead(100), queue.ahead(50)) == (1, 2)


def test_who_waits_of_a_class_that_is_named_no_more_keeps_its_place_and_rises() -> None:
    config = QueueConfig(ageing=10.0)
    queue = FairQueue(config, {0: None, 50: None, 100: None})
    queue.push(ticket("below"), 0.0)
    queue.push(ticket("middle", at=5.0, priority=50), 5.0)
    queue.configure(config, {0: None, 100: None})
    assert queue.expire(10.0) == []
    assert (queue.ahead(100), queue.ahead(50)) == (0, 2)
    assert queue.expire(15.0) == []
    assert (queue.ahead(100), queue.ahead(50)) == (1, 2)
    assert names(queue, 2, 15.0) == "middlebelow"


def test_where_no_class_is_named_any_more_those_seen_are_all_known() -> None:
    config = QueueConfig(ageing=10.0)
    queue = FairQueue(config, {0: None, 50: None})
    queue.configure(config)
    queue.push(ticket("old"), 0.0)
    assert queue.expire(10.0) == []
    assert queue.ahead(50) == 1
