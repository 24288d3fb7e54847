"""Whatever comes, leaves, is cancelled or breaks, in any order: slots, wake-ups and counters hold."""

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.health import candidates
from tests.gateway.virtual import pause, turns
from tests.gateway.waiting import World, client, now, run


@dataclass(frozen=True)
class Visit:
    """When a request comes, how long it holds its slot, and when it is given up, if it is, and how."""

    at: int
    hold: int
    tenant: str
    level: int
    until: int
    how: str


VISITS = st.lists(
    st.builds(
        Visit,
        at=st.integers(0, 12),
        hold=st.integers(0, 6),
        tenant=st.sampled_from("abc"),
        level=st.sampled_from([0, 5]),
        until=st.integers(0, 8),
        how=st.sampled_from(["stays", "stays", "leaves", "cancelled"]),
    ),
    min_size=1,
    max_size=25,
)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 14),
        st.integers(0, 2),
        st.sampled_from(["asleep", "awake", "drain", "undrain", "down", "break", "mend"]),
    ),
    max_size=8,
)


async def _visit(world: World, number: int, visit: Visit) -> None:
    by = client()
    await pause(float(visit.at))
    task = world.come(str(number), float(visit.hold), tenant=visit.tenant, priority=visit.level, by=by)
    if visit.how != "stays":
        await pause(float(visit.until))
        # One that is served already is its relay's to end.
        if visit.how == "leaves":
            by.departed()
        else:
            task.cancel()
    await asyncio.wait([task])


async def _watch(world: World, *, quiet: bool) -> None:
    """Between the events, which are at whole seconds."""
    await pause(0.25)
    while True:
        if not quiet:
            world.queue.tick()
        await pause(0.25)
        await turns(5)
        free = world.queue._free(now(), world.replicas)
        assert not world.queue._granted, "every slot is taken"
        assert not world.queue.depth or free == 0, "nobody waits while a slot is free"
        await pause(0.75)


async def _happen(world: World, events: list[tuple[int, int, str]]) -> None:
    for at, which, how in sorted(events):
        await pause(max(0.0, at - now()))
        world.befall(which, how)


def _check(visits: list[Visit], events: list[tuple[int, int, str]], cap: int) -> World:
    held: list[World] = []

    async def work() -> None:
        world = World(replicas=3, max_in_flight=cap, max_queued=8, max_wait=7.4, ageing=2.0, limits={0: 6, 5: None})
        held.append(world)
        watch = asyncio.create_task(_watch(world, quiet=not events))
        others = asyncio.create_task(_happen(world, events))
        await asyncio.gather(*(_visit(world, number, visit) for number, visit in enumerate(visits)), others)
        if watch.done():
            watch.result()
        watch.cancel()
        assert world.at_rest
        assert set(world.ends) == {str(number) for number in range(len(visits))}

    run(work)
    return held[0]


@settings(max_examples=150, deadline=None)
@given(VISITS, st.integers(1, 3))
def test_slots_are_never_more_than_there_are_and_none_is_left_empty(visits: list[Visit], cap: int) -> None:
    """Without a tick: what ends is all that has to wake anybody."""
    assert _check(visits, [], cap).most <= cap


@settings(max_examples=150, deadline=None)
@given(VISITS, EVENTS, st.integers(1, 3))
def test_nor_while_replicas_come_and_go(visits: list[Visit], events: list[tuple[int, int, str]], cap: int) -> None:
    world = _check(visits, events, cap)
    if not any(how in ("asleep", "drain", "down", "break") for _, _, how in events):
        assert world.most <= cap
    assert all(end in ("served", "left", "cancelled", "queue_full", "queue_timeout") for end in world.ends.values())


def test_the_watch_sees_a_slot_that_is_left_empty() -> None:
    """The law above has teeth: without the call that frees, it fails."""

    async def work() -> None:
        world = World(replicas=1)
        tasks = [world.come("a"), world.come("b")]
        await pause(0.5)
        for replica in world.replicas:
            replica.freed = None
        await pause(1.0)
        positions, _ = candidates(world.replicas, now())
        assert positions
        assert world.queue.depth == 1
        assert world.queue._free(now(), world.replicas) == 1
        world.queue.tick()
        await asyncio.gather(*tasks)

    run(work)
