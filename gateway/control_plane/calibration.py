"""Small, known loads on a real engine, so that the simulator's model of it can be fitted.

One burst after another: so many requests at once, each with a prompt of random tokens of one length and an answer of
one length, and a look at `/metrics` before and after. Every token in every step is then known. The prompts begin
differently, so that no cache gives any of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import NamedTuple

import msgspec

from gateway.contracts.errors import InputError, RequestError
from gateway.policy.facts import json_object
from gateway.simulation.fit import Burst, Window, measured, outside
from gateway.simulation.pages import MARK, Counters, read_page
from gateway.upstreams.http1 import ExchangeError
from gateway.upstreams.vllm import Replica, fetch, translate, whole_body

LARGEST = 64 * 1024 * 1024
LOOKS = 40
"""At most, until the counters of a burst are complete."""
SAMPLE = "The quick brown fox jumps over the lazy dog, and 12 more words about prices, plans, invoices and 7 days."
"""Its tokens are those that prompts are made of: a vocabulary holds others that an engine refuses."""


ALONE = Burst(1, 16, 1)
"""Tells what a request spends outside of the engine."""


class Took(NamedTuple):
    """The counters before and after a burst, and the seconds between its first byte out and its last one in."""

    before: Counters
    after: Counters
    seconds: float


@dataclass(frozen=True)
class Grid:
    """Every prompt length with every answer length and every number of requests at once.

    Each is asked `repeats` times and the fastest counts: what else a machine does only ever adds time.
    """

    prompts: Sequence[int] = (16, 128, 512, 1024)
    answers: Sequence[int] = (1, 32, 128)
    requests: Sequence[int] = (1, 4, 16, 32)
    repeats: int = 3

    def bursts(self, longest: int | None) -> list[Burst]:
        """Those that fit the model's context, the small ones first."""
        sizes = product(self.requests, self.answers, self.prompts)
        found = [Burst(requests, prompt, answer) for requests, answer, prompt in sizes]
        return [each for each in found if longest is None or each.input_tokens + each.output_tokens <= longest]


@dataclass(frozen=True)
class Driver:
    """Asks one engine. Nothing takes longer than `timeout_s`.

    An engine counts a request after it has answered it, so its counters are looked at `settle_s` later.
    """

    replica: Replica
    model: str
    random: Random
    monotonic: Callable[[], float]
    timeout_s: float = 120.0
    settle_s: float = 0.05

    async def calibrate(self, grid: Grid, longest: int | None, told: Callable[[int, int], None]) -> list[Window]:
        """One window for each burst; `told(done, of)` hears of each. Raises InputError."""
        bursts = grid.bursts(longest)
        if not bursts:
            raise InputError(f"no burst fits the model's context of {longest} tokens: give a smaller --prompt-tokens")
        tokens = await self._tokens()
        alone = [await self._burst(ALONE, tokens) for _ in range(1 + grid.repeats)]
        outside_s = min(outside(each.before, each.after, each.seconds) for each in alone[1:])  # the first one warms up
        found: dict[Burst, Window] = {}
        for done, burst in enumerate(bursts * grid.repeats, 1):
            each = await self._burst(burst, tokens)
            window = measured(each.before, each.after, burst, each.seconds, outside_s)
            found[burst] = min(window, found.get(burst, window), key=lambda each: each.step_s)
            told(done, len(bursts) * grid.repeats)
        return list(found.values())

    async def page(self) -> tuple[float, str]:
        """(time, `/metrics`). Raises InputError."""
        try:
            status, body = await fetch(self.replica, "/metrics", self.timeout_s)
        except (ExchangeError, RequestError) as error:
            raise InputError(f"{self.replica.url}/metrics: {error}") from error
        if status != 200:
            raise InputError(f"{self.replica.url}/metrics answers {status}: expected the page of a vLLM")
        return self.monotonic(), body.decode(errors="replace")

    async def _burst(self, burst: Burst, tokens: Sequence[int]) -> Took:
        before = await self._counters()
        prompts = [self.random.choices(tokens, k=burst.input_tokens) for _ in range(burst.requests)]
        start = self.monotonic()
        await asyncio.gather(*(self._ask(each, burst.output_tokens) for each in prompts))
        seconds = self.monotonic() - start
        return Took(before, await self._after(before.ended + burst.requests), seconds)

    async def _counters(self) -> Counters:
        at, page = await self.page()
        return read_page(page, at)

    async def _after(self, ended: float) -> Counters:
        """The counters once they count so many requests."""
        for _ in range(LOOKS):
            await asyncio.sleep(self.settle_s)
            found = await self._counters()
            if found.ended >= ended:
                return found
        raise InputError("the engine's metrics do not count the requests that it answered: is this address its own?")

    async def _tokens(self) -> list[int]:
        """Tokens that the model knows."""
        answer = await self._post("/tokenize", {"model": self.model, "prompt": SAMPLE, "add_special_tokens": False})
        found = json_object(answer).get("tokens")
        if not isinstance(found, list) or not found or not all(isinstance(each, int) for each in found):
            raise InputError(f"{self.replica.url}/tokenize does not give tokens: expected a vLLM with a tokenizer")
        return found

    async def _ask(self, prompt: Sequence[int], answer: int) -> None:
        fields = {"model": self.model, "prompt": prompt, "max_tokens": answer, "min_tokens": answer, "ignore_eos": True}
        await self._post("/v1/completions", {**fields, "temperature": 0})

    async def _post(self, path: str, fields: dict[str, object]) -> bytes:
        data = self.replica.request(path, msgspec.json.encode(fields), b"application/json", "calibration")
        connection = self.replica.pool.take(fresh=True)
        try:
            connection.send(data)
            status = await connection.head(self.timeout_s)
            body = await whole_body(connection, lambda: self.timeout_s, LARGEST)
        except (ExchangeError, RequestError) as error:
            raise InputError(f"{self.replica.url}{path}: {error}") from error
        finally:
            connection.shut()
        if status != 200:
            raise InputError(f"{self.replica.url}{path}: {translate(status, body, 1)}")
        return body


async def watch(driver: Driver, seconds: float, every_s: float, told: Callable[[float], None]) -> str:
    """The pages of an engine that serves whoever comes, one each `every_s`, as one text that `read_pages` reads."""
    found: list[str] = []
    start = driver.monotonic()
    while True:
        at, page = await driver.page()
        found.append(f"{MARK}{at:.6f}\n{page}")
        told(min(seconds, at - start))
        if at - start >= seconds:
            return "".join(found)
        await asyncio.sleep(every_s)
