"""Whom scorers may ask: judges over HTTP, and an embedding model. What they cost is counted here.

A judge's requests have their own bound, their own retries and their own seeds: each vote gets another seed, so that
neither a cache on the way nor an engine's determinism makes one opinion out of several.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from evals.asking import Completes
from evals.client import Result
from evals.embeddings import Embedder
from evals.judge_config import JudgeConfig
from evals.retrying import Patience
from evals.schema import Answer, Unjudged
from evals.spending import amount


@dataclass(slots=True)
class Bill:
    """What judges did and cost: questions, attempts, tokens, money.

    `cost` is the sum over answers that named one; `uncosted` counts those that did not. `last` is the latest answer.
    `paid` hears of every cost.
    """

    calls: int = 0
    attempts: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    uncosted: int = 0
    last: Answer | None = None
    paid: Callable[[Decimal], None] = field(default=lambda cost: None)

    def money(self) -> str:
        """The cost in words: it is unknown, never zero, where no answer named one."""
        if self.attempts <= self.uncosted:
            return "not reported"
        part = f" (without {self.uncosted} of {self.attempts} answers, which name none)" if self.uncosted else ""
        return f"{self.cost:f}{part}"

    def add(self, result: Result) -> None:
        """Count one attempt: even an answer that is of no use was paid for."""
        self.attempts += 1
        answer = result.answer
        if answer is None:
            return
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        cost = amount(answer.cost)
        if cost is None:
            self.uncosted += 1
        else:
            self.cost += cost
            self.paid(cost)
        self.last = answer


@dataclass(slots=True)
class JudgeServices:
    """A judge behind one endpoint, and perhaps an embedding model.

    `client` has to be open. `judge` fills what a scorer's request leaves out. `clock` and `sleep` are in seconds, `rng`
    jitters the backoff. `ends_at`, by the same clock, is when no further question is sent.
    """

    client: Completes | None
    judge: JudgeConfig | None
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    rng: random.Random
    embedder: Embedder | None = None
    ends_at: float = float("inf")
    bill: Bill = field(default_factory=Bill)
    _gate: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.judge.concurrency if self.judge else 1)

    async def chat(self, body: Mapping[str, Any], *, vote: int = 0) -> Result:
        """One completion, with retries. A failure of the server is in the result.

        Raises Unjudged when there is no judge to ask, or when another release answers than the one that is pinned.
        """
        judge, client = self.judge, self.client
        if judge is None or client is None:
            raise Unjudged(
                "judge_failed", f"there is no judge to ask for {body.get('model')!r}: add `judge:` to the suite"
            )
        mine = {"model": judge.model, "max_tokens": judge.max_tokens, "temperature": judge.temperature}
        whole = {**judge.params, **mine, **body, "seed": judge.seed + vote}
        content = msgspec.json.encode(whole)
        patience = Patience(self.clock, self.sleep, self.rng, judge.max_retries, judge.timeout_s, self.ends_at)
        self.bill.calls += 1
        result, _ = await patience.ask(lambda seconds: self._send(client, content, seconds), "question to the judge")
        self.bill.failed += result.failure is not None
        if result.answer is not None and result.failure is None and whole["model"] == judge.model:
            _check_release(judge, result.answer)
        return result

    async def _send(self, client: Completes, content: bytes, seconds: float) -> Result:
        async with self._gate:
            result = await client.complete(content, seconds)
        self.bill.add(result)
        return result

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        """A vector for each text, in their order. Raises Unjudged where one cannot be had."""
        if self.embedder is None:
            raise Unjudged("not_measured", "there is no embedding model to ask: add `embeddings:` to the suite")
        if model not in (None, self.embedder.name):
            raise Unjudged("not_measured", f"the suite's embedding model is {self.embedder.name!r}, not {model!r}")
        return await self.embedder.embed(texts)


def _check_release(judge: JudgeConfig, answer: Answer) -> None:
    if judge.release_digest is None or answer.release_digest == judge.release_digest:
        return
    found = f"{answer.release} {answer.release_digest}" if answer.release_digest else "an answer that names no release"
    message = (
        f"the judge is pinned to {judge.release_digest}, found {found}: ask it through the gateway, by that release"
    )
    raise Unjudged("judge_failed", message)
