"""Which part of a prompt the prefix cache of each replica is expected to hold.

A prompt is cut into blocks, and each block has one hash: of everything up to its end. So equal hashes mean equal
prefixes, and how much two prompts share is how many leading hashes they share. The hashes are keyed: without the secret
nobody can try out what a prompt might have been.

What an engine holds is not asked but worked out: the blocks that were sent to it, the least recently used forgotten
first, as many as its KV cache has room for.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

BLOCK_BYTES = 512
"""Of a prompt as it is written: about 128 tokens of English, 8 blocks of vLLM."""
MOST_BLOCKS = 2048
"""Hashed of one prompt, 1 MiB: what follows changes no decision worth its time."""
CAPACITY = 8192
"""Blocks of a replica whose engine does not say how large its KV cache is: about a million tokens."""


def block_hashes(pieces: Iterable[bytes], salt: bytes) -> list[int]:
    """The 64-bit hash of each whole block of `BLOCK_BYTES`, chained: of all that comes before it too.

    `salt` of at most 64 bytes is the key. What another salt gives has nothing in common with it.
    """
    prompt = memoryview(b"".join(pieces))
    state = blake2b(digest_size=8, key=salt)
    update, digest, number = state.update, state.digest, int.from_bytes
    hashes = []
    for end in range(BLOCK_BYTES, min(len(prompt), MOST_BLOCKS * BLOCK_BYTES) + 1, BLOCK_BYTES):
        update(prompt[end - BLOCK_BYTES : end])
        hashes.append(number(digest(), "big"))
    return hashes


def salt_of(secret: bytes, *parts: str) -> bytes:
    """The salt of those who share a cache: a tenant, and what it asks for. 32 bytes."""
    state = blake2b(digest_size=32, key=secret)
    for part in parts:
        state.update(b"%d:%b" % (len(part), part.encode()))
    return state.digest()


class PrefixIndex:
    """The blocks that each replica of a pool is expected to hold: `capacity` of them, the least recently used go first.

    A prompt's blocks are used last to first, as vLLM frees them. So no block is forgotten before those that follow it,
    what is held of a prompt is always its beginning, and its length is found by halving.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._held: dict[str, OrderedDict[int, None]] = {}
        self._capacities: dict[str, int] = {}

    def matched(self, replica: str, blocks: Sequence[int]) -> int:
        """How many of a prompt's leading blocks the replica is expected to hold."""
        held = self._held.get(replica)
        if not held or not blocks or blocks[0] not in held:
            return 0
        known, unknown = 1, len(blocks)
        if blocks[-1] in held:
            return unknown
        while unknown - known > 1:
            middle = (known + unknown) // 2
            if blocks[middle - 1] in held:
                known = middle
            else:
                unknown = middle
        return known

    def add(self, replica: str, blocks: Sequence[int]) -> None:
        """A prompt was sent there."""
        capacity = self._capacities.get(replica, self.capacity)
        held = self._held.get(replica)
        if held is None:
            held = self._held[replica] = OrderedDict()
        use = held.move_to_end
        for block in reversed(blocks[:capacity]):
            held[block] = None
            use(block)
        while len(held) > capacity:
            held.popitem(last=False)

    def forget(self, replica: str) -> None:
        """The replica restarted, slept or left: it holds nothing any more."""
        self._held.pop(replica, None)

    def resize(self, replica: str, capacity: int) -> None:
        """The replica said how much it can hold; the least recently used of what is too much is forgotten."""
        self._capacities[replica] = capacity
        held = self._held.get(replica, OrderedDict[int, None]())
        while len(held) > capacity:
            held.popitem(last=False)

    def keep(self, replicas: Iterable[str]) -> None:
        """These are the pool's replicas now; the others are forgotten, and how large they were."""
        names = set(replicas)
        for known in (self._held, self._capacities):
            for name in known.keys() - names:
                del known[name]

    def size(self, replica: str) -> int:
        """How many blocks the replica is expected to hold."""
        return len(self._held.get(replica, ()))
