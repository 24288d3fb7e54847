"""What two prompts share is what their first hashes share; what an engine forgets first is forgotten first."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.prefixes import BLOCK_BYTES, MOST_BLOCKS, PrefixIndex, block_hashes, salt_of

SALT = salt_of(b"secret", "team", "sha256:a")
PIECES = st.lists(st.binary(max_size=2000), max_size=4)
PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12)


def _blocks(tree: list[int]) -> list[int]:
    """Chained hashes of a prompt whose blocks are these."""
    return [hash(tuple(tree[: end + 1])) for end in range(len(tree))]


@settings(deadline=None)
@given(PIECES, st.data())
def test_only_whole_blocks_count_and_how_it_is_cut_does_not(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    hashes = block_hashes(pieces, SALT)
    assert len(hashes) == len(whole) // BLOCK_BYTES
    assert hashes == block_hashes([whole[:cut], whole[cut:]], SALT)
    assert hashes == block_hashes([whole, b"x" * (BLOCK_BYTES - 1 - len(whole) % BLOCK_BYTES)], SALT)


@settings(deadline=None)
@given(st.binary(min_size=4 * BLOCK_BYTES, max_size=6 * BLOCK_BYTES), st.integers(0, 4 * BLOCK_BYTES - 1))
def test_another_byte_changes_its_block_and_all_that_follow(prompt: bytes, at: int) -> None:
    other = prompt[:at] + bytes([prompt[at] ^ 1]) + prompt[at + 1 :]
    same = [a == b for a, b in zip(block_hashes([prompt], SALT), block_hashes([other], SALT), strict=True)]
    assert same == [block < at // BLOCK_BYTES for block in range(len(same))]


def test_the_same_prompt_of_another_tenant_or_under_another_secret_shares_nothing() -> None:
    prompt = [b"x" * 4 * BLOCK_BYTES]
    salts = [
        SALT,
        salt_of(b"other", "team", "sha256:a"),
        salt_of(b"secret", "tea", "msha256:a"),
        salt_of(b"secret", "team", "sha256:b"),
    ]
    hashes = [block_hashes(prompt, salt) for salt in salts]
    assert len({each for found in hashes for each in found}) == 4 * len(salts)
    assert all(0 <= each < 2**64 for found in hashes for each in found)


def test_a_prompt_without_end_is_hashed_to_a_bound() -> None:
    assert len(block_hashes([b"x" * (MOST_BLOCKS + 3) * BLOCK_BYTES], SALT)) == MOST_BLOCKS


def test_what_was_sent_is_held_and_as_much_as_two_prompts_share() -> None:
    index = PrefixIndex(100)
    index.add("a", _blocks([0, 1, 2, 3]))
    assert index.matched("a", _blocks([0, 1, 2, 3])) == 4
    assert index.matched("a", _blocks([0, 1, 2, 3, 4])) == 4
    assert index.matched("a", _blocks([0, 1, 4, 3])) == 2
    assert index.matched("a", _blocks([1, 1])) == 0
    assert index.matched("b", _blocks([0, 1])) == 0
    assert index.matched("a", []) == 0


class Plain:
    """The same by the longest way: a list of blocks, least recently used first."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.held = capacity, OrderedDict[int, None]()

    def add(self, blocks: list[int]) -> None:
        for block in reversed(blocks[: self.capacity]):
            self.held.pop(block, None)
            self.held[block] = None
        while len(self.held) > self.capacity:
            del self.held[next(iter(self.held))]

    def matched(self, blocks: list[int]) -> int:
        return next((at for at, block in enumerate(blocks) if block not in self.held), len(blocks))


@settings(deadline=None)
@given(st.integers(1, 12), PROMPTS)
def test_halving_finds_what_counting_finds_and_the_capacity_is_kept(capacity: int, prompts: list[list[int]]) -> None:
    index, plain = PrefixIndex(capacity), Plain(capacity)
    for prompt in prompts:
        for other in prompts:
            assert index.matched("a", _blocks(other)) == plain.matched(_blocks(other))
        index.add("a", _blocks(prompt))
        plain.add(_blocks(prompt))
        assert index.size("a") == len(plain.held) <= capacity
        assert index.matched("a", _blocks(prompt)) == min(capacity, len(prompt))


def test_replicas_are_apart_and_a_restart_forgets_one() -> None:
    index, prompt = PrefixIndex(10), _blocks([0, 1])
    index.add("a", prompt)
    index.add("b", prompt)
    index.forget("a")
    index.forget("never seen")
    assert (index.matched("a", prompt), index.matched("b", prompt)) == (0, 2)


def test_what_an_engine_says_of_its_size_counts_for_it_alone() -> None:
    index = PrefixIndex(10)
    for name in ("small", "usual"):
        index.add(name, _blocks([0, 1, 2, 3]))
    index.resize("small", 2)
    index.resize("new", 1)
    assert (index.size("small"), index.size("usual"), index.size("new")) == (2, 4, 0)
    assert index.matched("small", _blocks([0, 1, 2, 3])) == 2
    for name in ("small", "usual", "new"):
        index.add(name, _blocks([1, 1, 1]))
    assert (index.size("small"), index.size("usual"), index.size("new")) == (2, 7, 1)


def test_who_left_the_pool_takes_no_room() -> None:
    index = PrefixIndex(10)
    index.resize("a", 1)
    for name in ("a", "b"):
        index.add(name, _blocks([0, 1]))
    index.keep(["b", "c"])
    assert (index.size("a"), index.size("b")) == (0, 2)
    index.add("a", _blocks([0, 1]))
    assert index.size("a") == 2


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 1000])
def test_any_length_is_found(size: int) -> None:
    index, prompt = PrefixIndex(2000), list(range(size + 5))
    index.add("a", prompt[:size])
    assert [index.matched("a", prompt[:end]) for end in (1, size, size + 1, size + 5)] == [1, size, size, size]
