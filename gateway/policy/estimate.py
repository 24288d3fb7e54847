"""How many tokens a request will have, before an engine has counted them: learned from those that it did count.

One estimator for each pool: its engines have one tokenizer, and its clients write in their languages.
"""

from collections.abc import Sequence
from math import trunc

import msgspec

TOKENS_PER_BYTE = 0.25
"""Of a body, before anything is known: four bytes of English a token."""
OUTPUT_TOKENS = 256
"""Of an answer, before anything is known."""
SMOOTHING = 0.05
"""The part of the newest request in the moving averages: about the last forty count."""
FIRST_BYTES = 4096.0
"""The size of the body that the first guess is worth."""


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a request asks of a pool, worked out once for all of its attempts.

    A body of `size` bytes, with the release's prompt; `tokens` of its prompt and `output` tokens to expect, `most` of
    both if it allows more than that; the hashes of its `blocks`, each of `block_tokens`, where the pool's policy reads
    them; `affinity` as in `routing.Ask`.
    """

    size: int = 0
    tokens: int = 0
    output: int = 0
    most: int = 0
    blocks: Sequence[int] = ()
    block_tokens: int = 0
    affinity: int = 0


NO_DEMAND = Demand()
"""What is asked where only a replica is wanted."""


class Estimator:
    """Moving averages over settled requests.

    The ratio is that of the average tokens to the average bytes, so that a short body, which is mostly JSON, does not
    count as much as a long one.
    """

    def __init__(self) -> None:
        self._bytes = FIRST_BYTES
        self._tokens = FIRST_BYTES * TOKENS_PER_BYTE
        self._output = float(OUTPUT_TOKENS)

    @property
    def tokens_per_byte(self) -> float:
        """Prompt tokens in a byte of a body."""
        return self._tokens / self._bytes

    def prompt(self, size: int) -> int:
        """The prompt tokens of a body of so many bytes; at least 1."""
        return self.expected(size, None)[0]

    def output(self, limit: int | None = None) -> int:
        """The output tokens to expect of a request that allows so many, or does not say."""
        return self.expected(0, limit)[1]

    def expected(self, size: int, limit: int | None) -> tuple[int, int]:
        """Both (`prompt`, `output`), at once: every request is asked for them."""
        output, tokens = self._output, trunc(size * self._tokens / self._bytes) or 1
        return tokens, trunc(output) if limit is None or limit > output else limit

    def settled(self, size: int, input_tokens: int, output_tokens: int) -> None:
        """An engine has counted a request whose body had so many bytes. One without a prompt teaches nothing of it."""
        if size > 0 and input_tokens > 0:
            self._bytes += SMOOTHING * (size - self._bytes)
            self._tokens += SMOOTHING * (input_tokens - self._tokens)
        self._output += SMOOTHING * (output_tokens - self._output)
