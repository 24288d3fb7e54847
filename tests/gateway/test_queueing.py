"""Slots of a pool: never more than there are, none left empty while somebody waits, and every wait ends."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.contracts.errors import QueueFull, QueueTimeout
from tests.gateway.virtual import pause, turns
from tests.gateway.waiting import World, client, now, run


def _value(world: World, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(world.telemetry.page().decode())
    samples = [each for family in families for each in family.samples if each.name == name]
    return next((each.value for each in samples if labels.items() <= each.labels.items()), None)


def test_a_pool_with_room_touches_no_queue() -> None:
    async def work() -> None:
        world = World(replicas=2, max_in_flight=2)
        await asyncio.gather(*(world.come(str(number)) for number in range(4)))
        assert set(world.ends.values()) == {"served"}
        assert world.queue._queue._bands == []
        assert _value(world, "tollgate_queue_wait_seconds_count", pool="main") is None
        assert world.at_rest
        assert now() == 1.0

    run(work)


def test_without_a_cap_nobody_waits() -> None:
    async def work() -> None:
        world = World(max_in_flight=None)
        assert not world.queue.capped
        await asyncio.gather(*(world.come(str(number)) for number in range(100)))
        assert (world.most, now()) == (100, 1.0)
        assert all(replica.freed is None for replica in world.replicas)

    run(work)


def test_the_next_one_gets_the_slot_that_was_freed() -> None:
    async def work() -> None:
        world = World()
        await asyncio.gather(*(world.come(name) for name in "abc"))
        assert (world.order, world.most, now()) == (["a", "b", "c"], 1, 3.0)
        assert _value(world, "tollgate_queue_wait_seconds_count", pool="main") == 2
        assert _value(world, "tollgate_queue_wait_seconds_sum", pool="main") == 3.0
        assert world.at_rest

    run(work)


def test_tenants_share_what_is_freed() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come(f"a{number}", tenant="a") for number in range(5)]
        await turns(2)
        tasks += [world.come(f"b{number}", tenant="b") for number in range(3)]
        await asyncio.gather(*tasks)
        # The slot that `a` held before anybody had to wait counts for it.
        assert world.order == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "a4"]

    run(work)


def test_nobody_passes_by_those_who_wait() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come(name) for name in "ab"]
        await world.granted()
        assert world.replicas[0].in_flight == 0
        assert not world.queue.ready(now()), "the slot that is free is somebody's"
        tasks.append(world.come("c"))
        await asyncio.gather(*tasks)
        assert world.order == ["a", "b", "c"]

    run(work)


def test_classes_come_in_their_order() -> None:
    async def work() -> None:
        world = World()
        await asyncio.gather(world.come("first"), world.come("batch"), world.come("chat", priority=100))
        assert world.order == ["first", "chat", "batch"]

    run(work)


def test_a_full_queue_says_when_to_come_again() -> None:
    async def work() -> None:
        world = World(max_queued=2)
        await world.come("before", hold=4.0)
        tasks = [world.come(name, hold=4.0) for name in "abc"]
        await turns(2)
        ticket = world.ticket()
        with pytest.raises(QueueFull) as caught:
            await world.queue.wait(ticket, client())
        # Three slots of 4 s each, give or take a fifth.
        assert caught.value.retry_after in range(9, 16)
        assert _value(world, "tollgate_queue_refusals_total", pool="main", reason="full") == 1
        await asyncio.gather(*tasks)
        world.queue.settle(ticket, 0, 0, 0.0)
        assert world.at_rest

    run(work)


def test_a_class_has_a_limit_of_its_own() -> None:
    async def work() -> None:
        world = World(limits={0: 1, 100: None})
        await asyncio.gather(*(world.come(name) for name in "abc"), world.come("chat", priority=100))
        assert world.ends == {"a": "served", "b": "served", "c": "queue_full", "chat": "served"}

    run(work)


def test_a_wait_ends_when_its_time_is_over() -> None:
    async def work() -> None:
        world = World(max_wait=5.0)
        tasks = [world.come("a", hold=60.0), world.come("b")]
        await turns(2)
        begun, ticket = now(), world.ticket()
        with pytest.raises(QueueTimeout, match=r"busy for 5\.0 s, and nobody waits longer") as caught:
            await world.queue.wait(ticket, client())
        assert now() - begun == pytest.approx(5.0)
        assert caught.value.retry_after == 60, "nothing is known to end"
        await asyncio.gather(*tasks)
        assert world.ends == {"a": "served", "b": "queue_timeout"}
        assert _value(world, "tollgate_queue_refusals_total", pool="main", reason="timeout") == 2
        assert world.at_rest

    run(work)


def test_who_leaves_while_it_waits_makes_room() -> None:
    async def work() -> None:
        world, leaver = World(max_queued=1), client()
        tasks = [world.come("a"), world.come("b", by=leaver)]
        await pause(0.5)
        leaver.departed()
        await turns(2)
        assert world.ends == {"b": "left"}
        tasks.append(world.come("c"))
        await asyncio.gather(*tasks)
        assert (world.order, now()) == (["a", "c"], 2.0)
        assert world.at_rest

    run(work)


def test_who_has_left_before_does_not_wait() -> None:
    async def work() -> None:
        world, leaver = World(), client()
        leaver.departed()
        tasks = [world.come("a"), world.come("b", by=leaver)]
        await turns(3)
        assert world.ends == {"b": "left"}
        await asyncio.gather(*tasks)
        assert world.at_rest

    run(work)


@pytest.mark.parametrize("how", ["cancelled", "left"])
def test_a_slot_that_its_heir_cannot_take_goes_to_the_next(how: str) -> None:
    async def work() -> None:
        world, leaver = World(), client()
        tasks = [world.come("a"), world.come("b", by=leaver), world.come("c")]
        await world.granted()
        assert world.order == ["a"]
        tasks[1].cancel() if how == "cancelled" else leaver.departed()
        await asyncio.gather(*tasks)
        assert world.ends == {"a": "served", "b": how, "c": "served"}
        assert now() == 2.0
        assert world.at_rest

    run(work)


def test_who_is_cancelled_and_has_not_run_yet_gets_no_slot() -> None:
    async def work() -> None:
        world = World()
        with world.replicas[0]:
            tasks = [world.come(name) for name in "bc"]
            await turns(2)
            assert world.queue.depth == 2
        tasks[0].cancel()
        world.queue.tick()
        assert len(world.queue._granted) == 1
        await asyncio.gather(*tasks)
        assert (world.ends, now()) == ({"b": "cancelled", "c": "served"}, 1.0)
        assert world.at_rest

    run(work)


def test_a_busy_loop_tells_of_a_deadline_before_its_timer_does() -> None:
    async def work() -> None:
        world = World(max_wait=5.0)
        tasks = [world.come("a", hold=2.0), world.come("b"), world.come("c")]
        await pause(1.0)
        world.skew = 4.5
        await asyncio.gather(*tasks)
        assert (world.ends["b"], world.ends["c"], now()) == ("queue_timeout", "queue_timeout", 2.0)
        assert world.at_rest

    run(work)


def test_the_depth_is_shown() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come(name) for name in "abc"]
        await turns(2)
        world.queue.tick()
        assert _value(world, "tollgate_queue_depth", pool="main") == 2
        await asyncio.gather(*tasks)
        world.queue.tick()
        assert _value(world, "tollgate_queue_depth", pool="main") == 0

    run(work)
