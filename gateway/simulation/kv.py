"""The KV cache of one engine: what running requests hold, and what is left of those that ended, until room is needed.

As in vLLM: a block of a prompt that was computed can be found by its hash; requests that run share it; one that nobody
uses any more stays until it is the least recently used of all, and its room is taken. What a request wrote itself stays
just so, though nobody asks for it.
"""

from collections import OrderedDict
from collections.abc import Sequence


class KvCache:
    """All sizes in tokens. What is held never exceeds `capacity`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.available = capacity
        """Not held by a request: never used, or used by requests that ended."""
        self._unused = capacity
        self._held: dict[int, list[int]] = {}  # hash to [requests, tokens]
        self._idle: OrderedDict[int, int] = OrderedDict()  # hash to tokens, the least recently used first
        self._nameless = 0

    @property
    def usage(self) -> float:
        """The part that requests hold, as `vllm:kv_cache_usage_perc` tells it."""
        return 1.0 - self.available / self.capacity

    def matched(self, blocks: Sequence[int]) -> int:
        """How many leading blocks are here."""
        held, idle = self._held, self._idle
        for number, block in enumerate(blocks):
            if block not in held and block not in idle:
                return number
        return len(blocks)

    def missing(self, blocks: Sequence[int], tokens: int) -> int:
        """What `available` has to be for a request to hold these blocks, all here, and to take `tokens` more."""
        return tokens + sum(self._idle.get(block, 0) for block in blocks)

    def hold(self, block: int) -> None:
        """One more request uses a block that is here."""
        entry = self._held.get(block)
        if entry is not None:
            entry[0] += 1
            return
        tokens = self._idle.pop(block)
        self._held[block] = [1, tokens]
        self.available -= tokens

    def take(self, tokens: int) -> None:
        """Room for a request alone, of what is `available`."""
        self.available -= tokens
        self._unused -= tokens
        while self._unused < 0:
            block, size = self._idle.popitem(last=False)
            spare = self._unused + size
            if block < 0 < spare:  # what is nameless is many small blocks: only as many go as are needed
                self._idle[block] = spare
                self._idle.move_to_end(block, last=False)
                size -= spare
            self._unused += size

    def share(self, block: int, tokens: int) -> bool:
        """A request has computed a block: it can be found from now on. False where another one computed it as well."""
        if block in self._held:
            return False
        left = self._idle.pop(block, 0)  # computed twice, and the other one has ended
        self._unused += left
        self._held[block] = [1, tokens]
        return True

    def release(self, blocks: Sequence[int], tokens: int) -> None:
        """A request ended: it held these blocks, and `tokens` alone. Its last ones are the first to go."""
        if tokens:
            self._nameless -= 1
            self._idle[self._nameless] = tokens
            self.available += tokens
        for block in reversed(blocks):
            entry = self._held[block]
            entry[0] -= 1
            if entry[0] == 0:
                del self._held[block]
                self._idle[block] = entry[1]
                self.available += entry[1]
