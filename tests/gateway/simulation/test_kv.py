"""The KV cache of an engine: its room is counted, what is held stays, and the least recently used goes first."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.kv import KvCache

SIZE = 16


def _ran(cache: KvCache, *blocks: int, alone: int = 0) -> None:
    """A request that computed these blocks, and ended."""
    cache.take(SIZE * len(blocks) + alone)
    for block in blocks:
        assert cache.share(block, SIZE)
    cache.release(blocks, alone)


def test_what_was_computed_is_found_until_its_room_is_needed() -> None:
    cache = KvCache(4 * SIZE)
    _ran(cache, 1, 2, 3)
    assert cache.matched([1, 2, 3, 4]) == 3
    assert cache.available == 4 * SIZE
    _ran(cache, 7, 8)
    assert cache.matched([1, 2, 3]) == 2
    assert cache.matched([7, 8]) == 2


def test_the_end_of_a_prompt_goes_before_its_beginning() -> None:
    cache = KvCache(4 * SIZE)
    _ran(cache, 1, 2, 3, alone=SIZE)
    for number in range(3):
        cache.take(SIZE)
        assert cache.matched([1, 2, 3]) == 3 - number


def test_what_is_used_again_goes_later() -> None:
    cache = KvCache(4 * SIZE)
    _ran(cache, 1)
    _ran(cache, 2)
    cache.hold(1)
    cache.release([1], 0)
    cache.take(3 * SIZE)
    assert (cache.matched([1]), cache.matched([2])) == (1, 0)


def test_what_is_held_does_not_go() -> None:
    cache = KvCache(4 * SIZE)
    _ran(cache, 1, 2)
    cache.hold(1)
    cache.take(3 * SIZE)
    assert cache.matched([1]) == 1
    assert cache.available == 0
    assert cache.usage == 1.0


def test_of_what_has_no_name_only_as_much_goes_as_is_needed() -> None:
    cache = KvCache(10 * SIZE)
    cache.take(8 * SIZE)
    cache.release([], 8 * SIZE)
    _ran(cache, 1, 2)
    for _ in range(8):
        cache.take(SIZE)
        assert cache.matched([1, 2]) == 2
    cache.take(SIZE)
    assert cache.matched([1, 2]) == 1


def test_two_that_share_a_block_hold_it_once() -> None:
    cache = KvCache(4 * SIZE)
    cache.take(SIZE)
    assert cache.share(1, SIZE)
    cache.hold(1)
    assert cache.available == 3 * SIZE
    cache.release([1], 0)
    assert cache.available == 3 * SIZE
    cache.release([1], 0)
    assert cache.available == 4 * SIZE


def test_what_two_compute_at_once_is_found_once_and_held_twice() -> None:
    cache = KvCache(4 * SIZE)
    cache.take(2 * SIZE)
    assert cache.share(1, SIZE)
    assert not cache.share(1, SIZE)
    assert cache.available == 2 * SIZE


def test_what_idle_blocks_are_needed_is_missing_room() -> None:
    cache = KvCache(4 * SIZE)
    _ran(cache, 1, 2)
    assert cache.missing([1, 2], SIZE) == 3 * SIZE
    cache.hold(1)
    assert cache.missing([1, 2], SIZE) == 2 * SIZE


@given(st.lists(st.tuples(st.lists(st.integers(0, 12), max_size=4, unique=True), st.integers(0, 40)), max_size=40))
def test_room_is_never_lost_nor_made(asks: list[tuple[list[int], int]]) -> None:
    cache = KvCache(8 * SIZE)
    running: list[tuple[list[int], int]] = []
    for blocks, alone in asks:
        found = blocks[: cache.matched(blocks)]
        tokens = SIZE * (len(blocks) - len(found)) + alone
        if cache.missing(found, tokens) > cache.available:
            if running:
                cache.release(*running.pop(0))
            continue
        for block in found:
            cache.hold(block)
        cache.take(tokens)
        held, kept = list(found), alone
        for block in blocks[len(found) :]:
            if cache.share(block, SIZE):
                held.append(block)
            else:
                kept += SIZE
        running.append((held, kept))
        shared = Counter(block for blocks, _ in running for block in blocks)
        assert cache.capacity - cache.available == SIZE * len(shared) + sum(alone for _, alone in running)
        assert 0 <= cache.available <= cache.capacity
    for each in running:
        cache.release(*each)
    assert cache.available == cache.capacity
    assert cache.usage == pytest.approx(0.0)
