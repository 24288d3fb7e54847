"""A run without a network, on a clock of its own."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from evals.asking import Request
from evals.cache import NoCache
from evals.client import Result
from evals.dataset import Dataset, sample_digest, whole_digest
from evals.lines import Record
from evals.runner import Prepare, Run
from evals.schema import Answer, Failure, Sample
from evals.scorers.base import Scorer
from evals.scorers.text import Exact
from evals.spending import Spend


def dataset(count: int) -> Dataset:
    samples = tuple(Sample(id=f"s{i}", input=f"question {i}", reference=f"answer {i}") for i in range(count))
    digests = {sample.id: sample_digest(sample) for sample in samples}
    return Dataset(Path("data.jsonl"), samples, digests, whole_digest(digests))


class Bench:
    """A run on a clock of its own: `answers(question, attempt)` is the endpoint, which takes `delay` seconds."""

    def __init__(self, answers: Callable[[str, int], Result], *, delay: float = 0.0) -> None:
        self.answers, self.delay = answers, delay
        self.now = 0.0
        self.slept: list[float] = []
        self.attempts: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.timeouts: list[float] = []
        self.existing: tuple[Record, ...] = ()
        self.written: list[Record] = []
        self.under_way = self.most_under_way = 0

    async def complete(self, body: bytes, timeout_s: float) -> Result:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.now += self.delay
        self.timeouts.append(timeout_s)
        self.bodies.append(json.loads(body))
        question = self.bodies[-1]["messages"][-1]["content"]
        self.attempts[question] += 1
        return self.answers(question, self.attempts[question])

    def write(self, record: Record) -> None:
        self.written.append(record)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def run(
        self,
        data: Dataset,
        *,
        scorers: dict[str, Scorer] | None = None,
        spend: Spend | None = None,
        cache: NoCache | None = None,
        prepare: Prepare | None = None,
        **request: object,
    ) -> Run:
        settings = Request(**{"model": "faq@2", "params": {"temperature": 0}, "concurrency": 4} | request)
        chosen = {"exact": Exact()} if scorers is None else scorers
        run = Run(
            data,
            settings,
            chosen,
            self,
            self,
            lambda: self.now,
            self.sleep,
            random.Random(1),
            spend=spend or Spend(None),
            prepare=prepare,
        )
        run.use(cache or NoCache())
        return run


def right(question: str, attempt: int) -> Result:
    return Result(answer=Answer(text=question.replace("question", "answer"), finish_reason="stop"))


def failing(kind: str, *, times: int = 1_000, retryable: bool = True, retry_after: float | None = None):
    def answers(question: str, attempt: int) -> Result:
        if attempt > times:
            return right(question, attempt)
        return Result(failure=Failure(kind, "as told"), retryable=retryable, retry_after=retry_after)

    return answers
