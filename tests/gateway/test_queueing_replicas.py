"""Slots come and go with the replicas of a pool and with its settings."""

import asyncio

from gateway.settings.queue import QueueConfig
from gateway.upstreams.base import Counted
from tests.gateway.virtual import pause, turns
from tests.gateway.waiting import World, now, run


def test_a_slot_that_is_gone_before_its_heir_runs_leaves_it_first() -> None:
    async def work() -> None:
        world = World(replicas=2)
        tasks = [world.come("a"), world.come("b", hold=5.0), world.come("c"), world.come("d")]
        await turns(2)
        await world.granted()
        world.befall(0, "break")
        await pause(0.5)
        assert world.queue.depth == 2
        assert world.order == ["a", "b"]
        world.befall(0, "mend")
        world.queue.tick()
        await asyncio.gather(*tasks)
        assert (world.order, world.most) == (["a", "b", "c", "d"], 1)
        assert world.at_rest

    run(work)


def test_a_replica_that_wakes_makes_room() -> None:
    async def work() -> None:
        world = World(replicas=2)
        world.befall(1, "asleep")
        tasks = [world.come("a", hold=10.0), world.come("b")]
        await pause(1.0)
        world.befall(1, "awake")
        world.queue.tick()
        await asyncio.gather(*tasks)
        assert (world.order, now()) == (["a", "b"], 10.0)

    run(work)


def test_a_trial_that_is_due_is_one_slot() -> None:
    async def work() -> None:
        world = World(replicas=2, max_in_flight=4)
        world.befall(1, "break")
        tasks = [world.come(str(number), hold=10.0) for number in range(7)]
        await turns(2)
        assert world.queue.depth == 3
        await pause(1.5)
        world.queue.tick()
        assert len(world.queue._granted) == 1
        await turns(2)
        world.queue.tick()
        await turns(2)
        assert (world.replicas[1].in_flight, world.queue.depth) == (1, 2)
        world.befall(1, "mend")
        world.queue.tick()
        await asyncio.gather(*tasks)
        assert world.most == 4

    run(work)


def test_where_nobody_can_serve_nobody_waits() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come("a"), world.come("b")]
        await turns(2)
        world.befall(0, "asleep")
        world.queue.tick()
        assert world.queue.depth == 0, "it goes on, and is told so"
        assert not world.queue.ready(now()) or world.queue.depth == 0
        await asyncio.gather(*tasks)
        assert world.queue.ready(now())
        assert world.at_rest

    run(work)


def test_other_settings_wake_who_may_go_on_now() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come(name, hold=10.0) for name in "abcd"]
        await turns(2)
        world.queue.serve(QueueConfig(max_in_flight=2), {}, world.replicas)
        await turns(2)
        assert world.order == ["a", "b"]
        world.replicas.append(Counted("r9", (9,), world.replicas[0].vitals))
        world.queue.serve(QueueConfig(max_in_flight=1), {}, world.replicas)
        await turns(2)
        assert world.order == ["a", "b", "c"]
        world.queue.serve(QueueConfig(), {}, world.replicas)
        await turns(2)
        assert world.order == ["a", "b", "c", "d"]
        await asyncio.gather(*tasks)
        assert world.at_rest

    run(work)


def test_a_retry_after_counts_what_began_before_a_reload() -> None:
    async def work() -> None:
        world = World(max_in_flight=4)
        tasks = [world.come(str(at), hold=60.0) for at in range(4)]
        await turns(2)
        (former,) = world.replicas
        former.vitals.request_s = 80.0
        heir = Counted(former.name, former.identity, former.vitals)
        heir.follow(former)
        told = []
        for serving in (former, heir):
            world.queue.serve(world.queue.config, {}, [serving])
            told.append(world.queue._retry_after(world.ticket(), now()))
        assert max(told) < 30, "of four that take 80 s each one ends every 20"
        await asyncio.gather(*tasks)

    run(work)


def test_replicas_are_heard_while_somebody_waits_and_they_are_of_the_pool() -> None:
    async def work() -> None:
        world = World(replicas=2)
        tasks = [world.come(name) for name in "abc"]
        assert [each.freed for each in world.replicas] == [None, None]
        await turns(2)
        assert None not in [each.freed for each in world.replicas]
        world.queue.serve(world.queue.config, {}, world.replicas[1:])
        assert [each.freed is None for each in world.replicas] == [True, False]
        await asyncio.gather(*tasks)
        assert [each.freed for each in world.replicas] == [None, None]
        assert world.at_rest

    run(work)


def test_nobody_waits_for_replicas_that_are_away_but_who_has_nowhere_else_to_go() -> None:
    async def work() -> None:
        world = World()
        tasks = [world.come("a", hold=10.0), world.come("b", guess=False), world.come("c")]
        await pause(1.0)
        for _ in range(2):  # a second miss makes it down, once or again
            world.befall(0, "down")
        world.queue.tick()
        await turns(2)
        assert (world.ends, world.queue.depth) == ({"b": "upstream_unavailable"}, 1)
        tasks.append(world.come("d", guess=False))
        await turns(3)
        assert world.ends["d"] == "upstream_unavailable"
        await asyncio.gather(*tasks)
        assert (world.order, now(), world.most) == (["a", "c"], 11.0, 1)
        assert world.at_rest

    run(work)


def test_who_waits_for_a_holder_that_is_away_is_sent_on_while_others_wait_for_those_that_are_not() -> None:
    async def work() -> None:
        world = World(replicas=2)
        world.usable["adapter"] = world.replicas[:1]
        tasks = [world.come("a", hold=10.0), world.come("b", hold=10.0)]
        await turns(2)
        tasks += [world.come("c", kind="adapter", guess=False), world.come("d", guess=False)]
        await pause(1.0)
        world.befall(0, "break")
        world.queue.tick()
        await turns(2)
        assert (world.ends, world.queue.depth) == ({"c": "upstream_unavailable"}, 1)
        await asyncio.gather(*tasks)
        assert (world.order, world.at_rest) == (["a", "b", "d"], True)

    run(work)
