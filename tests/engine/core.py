"""The engine behind the endpoints: who runs, who waits, what a prefill and a token cost, what the prefix cache holds.

Time is the engine's own: `prefill_s_per_token` for each prompt token that the cache does not hold, `step_s` for each
token of an answer. Both are 0 by default, and tests follow the counters instead of a clock:

    engine.hold()                 no token is made
    engine.step(2)                two tokens are made
    engine.resume()               tokens are made again as time allows
    await engine.wait_for(lambda e: e.running == 0)

`started == finished + aborted + running + waiting` holds whenever nothing is being scheduled.
"""

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self

from tests.engine.job import Job, Refusal

BUSY = "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
Answer = Callable[[str], str | Sequence[str]]
"""From a prompt to the answer: a text, whose words are its tokens, or the tokens themselves."""


def busy() -> Refusal:
    """vLLM's answer when its queue is full: 503, and no Retry-After."""
    return Refusal(503, BUSY, "Service Unavailable")


def words(text: str) -> list[str]:
    """The tokens of a text: its words, each but the first with the space before it."""
    return [word if at == 0 else f" {word}" for at, word in enumerate(text.split())]


class PrefixCache:
    """Whole blocks of prompt tokens, the least recently used one leaving first."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.capacity, self.block_tokens = blocks, block_tokens
        self._held: OrderedDict[bytes, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """The share of blocks in use, 0 to 1."""
        return len(self._held) / self.capacity if self.capacity else 0.0

    def enter(self, text: str) -> tuple[int, int]:
        """How many tokens of this prompt were held already, and how many are held from now on: its whole blocks."""
        parts, found, chain = text.split(), 0, hashlib.sha256()
        whole = len(parts) - len(parts) % self.block_tokens
        for start in range(0, whole, self.block_tokens):
            chain.update("\0".join(parts[start : start + self.block_tokens]).encode() + b"\0")
            key = chain.digest()
            found += self.block_tokens if key in self._held and found == start else 0
            self._held[key] = None
            self._held.move_to_end(key)
        while len(self._held) > self.capacity:
            self._held.popitem(last=False)
        return found, whole


class Run:
    """One request being answered: a list of tokens for each choice of each prompt. It waits for a seat until its first
    step. `cached` and `created` are the prompt tokens that the prefix cache held, and those that it holds since.
    """

    def __init__(self, core: "Core", job: Job, answer: Answer) -> None:
        self._core, self._job = core, job
        self.pieces: list[list[str]] = []
        self.finish: list[str] = []
        for prompt in job.prompts:
            for _ in range(job.n):
                pieces, whole = self._cut(answer(prompt))
                self.pieces.append(pieces)
                self.finish.append("stop" if whole else "length")
        self.made = [0] * len(self.pieces)
        self.cached = self.created = 0
        self.seated = False

    def _cut(self, answer: str | Sequence[str]) -> tuple[list[str], bool]:
        pieces = (words(answer) if isinstance(answer, str) else list(answer)) or [""]
        if self._job.ignore_eos:
            return [pieces[at % len(pieces)] for at in range(self._job.limit)], False
        return pieces[: self._job.limit], len(pieces) <= self._job.limit

    @property
    def done(self) -> bool:
        """Whether every choice has ended; where there are none, whether the prompts have been read."""
        return self.seated and all(made == len(pieces) for made, pieces in zip(self.made, self.pieces, strict=True))

    def text(self, index: int) -> str:
        """What a choice says so far."""
        return "".join(self.pieces[index][: self.made[index]])

    async def step(self) -> list[tuple[int, str, str | None]]:
        """One more token of each choice that has not ended: (index, text, why it ended or None)."""
        if not self.seated:
            await self._core.seat()
            self.seated = True
            await self._read_prompts()
        await self._core.tick()
        if self._core.sleep_level:
            return self._cut_off()
        out: list[tuple[int, str, str | None]] = []
        for index, pieces in enumerate(self.pieces):
            if self.made[index] < len(pieces):
                self.made[index] += 1
                last = self.made[index] == len(pieces)
                out.append((index, pieces[self.made[index] - 1], self.finish[index] if last else None))
        self._core.generated(len(out))
        return out

    def _cut_off(self) -> list[tuple[int, str, str | None]]:
        """An engine that falls asleep ends what is running."""
        cut = [at for at, pieces in enumerate(self.pieces) if self.made[at] < len(pieces)]
        for at in cut:
            self.pieces[at], self.finish[at] = self.pieces[at][: self.made[at]], "abort"
        return [(at, "", "abort") for at in cut]

    async def _read_prompts(self) -> None:
        for text, tokens in zip(self._job.texts, self._job.prompt_tokens, strict=True):
            cached, held = self._core.cache.enter(text)
            self.cached += min(cached, tokens)
            self.created += max(0, min(held, tokens) - cached)
        tokens = sum(self._job.prompt_tokens)
        self._core.prompt_tokens += (max(1, self._job.n) - 1) * tokens  # vLLM counts a prompt once for each choice
        await self._core.prefill(tokens, self.cached)


class Core:
    """Counters and scheduling; `Engine` puts the endpoints in front of it."""

    def __init__(
        self,
        *,
        prefill_s_per_token: float,
        step_s: float,
        max_num_seqs: int,
        max_num_queued_reqs: int | None,
        cache: PrefixCache,
    ) -> None:
        self.prefill_s_per_token, self.step_s = prefill_s_per_token, step_s
        self.max_num_queued_reqs, self.cache = max_num_queued_reqs, cache
        self.started = self.finished = self.aborted = self.rejected = 0
        self.running = self.waiting = self.peak_running = 0
        self.sleep_level = 0
        self.prompt_tokens = self.cached_tokens = self.generated_tokens = 0
        self.success: Counter[str] = Counter()
        self._seats = asyncio.Semaphore(max_num_seqs)
        self._permits: int | None = None
        self._changed = asyncio.Event()

    def touch(self) -> None:
        """Let everyone who waits for a condition look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for(self, condition: Callable[[Self], object], timeout_s: float = 10.0) -> None:
        """Return when the condition holds of this engine. Raises AssertionError, with the counters, after a while."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    await self._changed.wait()
        except TimeoutError as error:
            raise AssertionError(f"not so after {timeout_s} s: {self.counters()}") from error

    def counters(self) -> dict[str, int]:
        """Every counter by name."""
        names = ("started", "finished", "aborted", "rejected", "running", "waiting", "peak_running")
        tokens = ("prompt_tokens", "cached_tokens", "generated_tokens")
        return {name: getattr(self, name) for name in (*names, *tokens)}

    def hold(self) -> None:
        """Make no further token until `step` or `resume`."""
        self._permits = 0

    def step(self, tokens: int = 1) -> None:
        """Let this many decode steps happen, and hold again."""
        self._permits = (self._permits or 0) + tokens
        self.touch()

    def resume(self) -> None:
        """End a hold."""
        self._permits = None
        self.touch()

    def sleep(self, level: int = 1) -> None:
        """End what is running, and let what comes wait. At level 2 vLLM forgets its weights too."""
        self.sleep_level = level
        self.touch()

    def wake(self) -> None:
        """End a sleep."""
        self.sleep_level = 0
        self.touch()

    @asynccontextmanager
    async def run(self, job: Job, answer: Answer) -> AsyncIterator[Run]:
        """Admit a request, and let it be answered. Leaving before its end is an abort. Raises Refusal."""
        limit = self.max_num_queued_reqs
        if limit is not None and self.running + self.waiting + max(1, job.n) > limit:
            self.rejected += 1
            self.touch()
            raise busy()
        run = Run(self, job, answer)
        self.started += 1
        self.waiting += 1
        self.touch()
        try:
            yield run
        finally:
            if run.seated:
                self.running -= 1
                self._seats.release()
            else:
                self.waiting -= 1
            self._ended(run)

    async def seat(self) -> None:
        """Wait until a request may run; while the engine sleeps, none may."""
        while self.sleep_level:
            await self._changed.wait()
        await self._seats.acquire()
        self.waiting -= 1
        self.running += 1
        self.peak_running = max(self.peak_running, self.running)
        self.touch()

    def _ended(self, run: Run) -> None:
        if run.done:
            self.finished += 1
            self.success.update(run.finish)
        else:
            self.aborted += 1
            self.success["abort"] += 1
        self.touch()

    async def prefill(self, tokens: int, cached: int) -> None:
        """The prompt's share of engine time."""
        self.prompt_tokens += tokens
        self.cached_tokens += cached
        await asyncio.sleep((tokens - cached) * self.prefill_s_per_token)

    async def tick(self) -> None:
        """One decode step's time; waits while the engine is held."""
        await asyncio.sleep(self.step_s)
        while self._permits == 0 and not self.sleep_level:
            await self._changed.wait()
        if self._permits:
            self._permits -= 1

    def generated(self, tokens: int) -> None:
        """Count tokens that were made."""
        self.generated_tokens += tokens
        self.touch()
