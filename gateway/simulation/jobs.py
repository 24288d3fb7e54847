"""What an engine works on: requests, and the steps that are under way."""

import math
from collections.abc import Sequence


class Job:
    """One request inside an engine. Times in seconds; `cached` are the prompt tokens that it did not compute at first.

    `first_at` is None until its first token is there, `started_at` until its first chunk is scheduled.
    """

    __slots__ = (
        *("block_tokens", "blocks", "cached", "charge", "computed", "ends", "finished_at", "first_at", "held"),
        *("input_tokens", "joined", "output_tokens", "preempted", "produced", "prompt", "started_at"),
    )

    def __init__(
        self, input_tokens: int, output_tokens: int, blocks: Sequence[int] = (), block_tokens: int = 1
    ) -> None:
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.produced = 0
        self.cached = 0
        self.preempted = 0
        self.started_at: float | None = None
        self.first_at: float | None = None
        self.finished_at: float | None = None
        self.prompt = input_tokens  # what has to be computed before it decodes: the prompt, and what it lost
        self.computed = 0
        self.charge = 0  # KV tokens that it holds alone
        self.held: list[int] = []
        self.joined = -1  # the engine's count of steps when it began to decode
        self.ends = -1  # the count after which it has all its tokens


class Run:
    """Steps that are under way: the first takes `first` seconds, each further one `more` longer."""

    __slots__ = ("chunks", "first", "more", "start", "steps")

    def __init__(self, start: float, steps: int, first: float, more: float, chunks: list[Job]) -> None:
        self.start = start
        self.steps = steps
        self.first = first
        self.more = more
        self.chunks = chunks

    def after(self, steps: int) -> float:
        """When so many of the steps are done."""
        return self.start + steps * self.first + self.more * (steps * (steps - 1) / 2)

    def done(self, now: float) -> int:
        """How many steps are done by then."""
        passed = now - self.start
        if self.more > 0:
            half = self.first - self.more / 2
            steps = int((math.sqrt(half * half + 2 * self.more * max(0.0, passed)) - half) / self.more)
        else:
            steps = int(passed / self.first)
        steps = min(max(steps, 0), self.steps)
        # The root is rounded: the sum decides.
        while steps < self.steps and self.after(steps + 1) <= now:
            steps += 1
        while steps > 0 and self.after(steps) > now:
            steps -= 1
        return steps
