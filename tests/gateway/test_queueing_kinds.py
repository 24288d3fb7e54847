"""Requests that not every replica can answer go by the slots of those that can, and keep nobody else waiting."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.virtual import pause, turns
from tests.gateway.waiting import World, client, now, run

KINDS = {"": (0, 1, 2), "x": (2,), "y": (1, 2)}


def _world(**config: object) -> World:
    world = World(replicas=3, **config)
    for kind, places in KINDS.items():
        if kind:
            world.usable[kind] = [world.replicas[place] for place in places]
    return world


def test_they_get_no_more_than_the_slots_of_those_that_can() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come(str(number), kind="x") for number in range(6)]
        await turns(3)
        assert [replica.in_flight for replica in world.replicas] == [0, 0, 1]
        assert world.queue.depth == 5
        await asyncio.gather(*tasks)
        assert (world.order, world.most, now()) == (list("012345"), 1, 6.0)
        assert world.at_rest
        assert not world.queue._usable

    run(work)


def test_others_pass_by_to_replicas_that_have_room() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come("x1", kind="x"), world.come("x2", kind="x")]
        await turns(3)
        tasks += [world.come("a"), world.come("b"), world.come("c")]
        await asyncio.gather(*tasks)
        assert world.order[:3] == ["x1", "a", "b"]
        assert (set(world.order), world.most, now()) == ({"x1", "x2", "a", "b", "c"}, 1, 2.0)

    run(work)


def test_who_was_served_least_is_next_among_those_that_fit() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come(f"{tenant}{number}", tenant=tenant, kind="x") for tenant in "ab" for number in range(3)]
        await asyncio.gather(*tasks)
        assert world.order == ["a0", "b0", "a1", "b1", "a2", "b2"]

    run(work)


def test_a_replica_that_can_from_now_on_takes_them() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come("x1", 9.0, kind="x"), world.come("x2", kind="x")]
        await pause(1.0)
        world.usable["x"] = world.replicas[1:]
        world.queue.tick()
        await asyncio.gather(*tasks)
        assert (world.order, now(), world.most) == (["x1", "x2"], 9.0, 1)

    run(work)


def test_a_slot_that_another_one_left_goes_to_who_needs_it_at_once() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come(name) for name in ("a0", "a1", "a2")]
        await turns(3)
        tasks += [world.come("x", kind="x"), world.come("b", tenant="b")]
        await asyncio.gather(*tasks)
        assert (world.order[3:], now()) == (["b", "x"], 2.0)

    run(work)


def test_a_slot_that_a_retry_took_first_is_waited_for_again() -> None:
    async def work() -> None:
        world = _world()
        tasks = [world.come("x0", kind="x"), world.come("x1", kind="x")]
        await world.granted()
        with world.replicas[2]:
            await turns(3)
            assert world.queue.depth == 1
        await asyncio.gather(*tasks)
        assert (world.order, world.most) == (["x0", "x1"], 1)

    run(work)


def test_a_retry_after_is_that_of_the_replicas_that_can() -> None:
    async def work() -> None:
        world = _world(max_wait=5.0)
        for replica in world.replicas:
            replica.vitals.answered(0.0, 1.0)
        world.replicas[2].vitals.request_s = 40.0
        tasks = [world.come("x1", 50.0, kind="x"), world.come("x2", kind="x")]
        await turns(3)
        waits = world.queue._retry_after(world.ticket(kind="x"), now()), world.queue._retry_after(world.ticket(), now())
        assert waits[0] > 30 > waits[1]
        await asyncio.gather(*tasks)
        assert world.ends == {"x1": "served", "x2": "queue_timeout"}

    run(work)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 4)),
        min_size=1,
        max_size=25,
    ),
    st.sets(st.integers(0, 24), max_size=4),
)
def test_a_slot_that_somebody_waits_for_is_not_free(
    requests: list[tuple[str, str, int, int]], leaving: set[int]
) -> None:
    async def work() -> None:
        world, tasks, clients = _world(), list[asyncio.Task[None]](), [client() for _ in requests]
        for number, (kind, tenant, pause_s, hold_s) in enumerate(requests):
            await pause(pause_s + 0.01)
            tasks.append(world.come(str(number), float(hold_s), tenant=tenant, kind=kind, by=clients[number]))
            await turns(6)
            if number in leaving:
                clients[number // 2].departed()
                await turns(6)
            for ticket in world.queue._waiting:
                can = world.usable.get(ticket.kind, world.replicas)
                assert all(replica.in_flight >= 1 for replica in can), (number, ticket.kind)
        await asyncio.gather(*tasks)
        assert world.most == 1
        assert set(world.ends.values()) <= {"served", "left"}
        assert world.at_rest

    run(work)


@pytest.mark.parametrize("kind", ["", "x"])
def test_a_room_for_others_is_none_for_them(kind: str) -> None:
    async def work() -> None:
        world = _world()
        task = world.come("x1", kind="x")
        await turns(3)
        usable = world.usable.get(kind)
        assert world.queue.ready(now(), usable) == (kind == "")
        await task
        assert world.queue.ready(now(), usable)

    run(work)
