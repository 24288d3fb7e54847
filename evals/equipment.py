"""What a run may use beside its own requests: an embedding model, an index of documents, a judge. Opened together."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import judges, rag
from evals.client import Client
from evals.config import SuiteConfig
from evals.embeddings import open_embedder, read_key
from evals.judge_config import JudgeConfig
from evals.runner import Prepare
from evals.schema import Passage, Sample
from evals.scorers.base import NoServices, Services
from evals.services import Bill, JudgeServices

_REACH_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Outside:
    """Where the run's own requests go, the environment, time in seconds, jitter, and where to tell people something."""

    base_url: str
    api_key: str | None
    environ: Mapping[str, str]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    rng: random.Random
    say: Callable[[str], None]
    ends_at: float = float("inf")


@dataclass(frozen=True, slots=True)
class Equipment:
    """All of it. `identity` goes into the suite's digest; `bill` counts what judges cost; None where there is none."""

    services: Services
    prepare: Prepare
    identity: Mapping[str, Any] | None = None
    bill: Bill | None = None


@asynccontextmanager
async def equipped(suite: SuiteConfig, folder: Path, outside: Outside) -> AsyncIterator[Equipment]:
    """What a suite asks for, ready; `folder` is the suite's own.

    Raises InputError for a key, a package, an index or a judge that is missing: before anything is sent.
    """
    async with AsyncExitStack() as stack:
        embedder = None
        if suite.embeddings is not None:
            opening = open_embedder(
                suite.embeddings,
                base_url=outside.base_url,
                api_key=outside.api_key,
                environ=outside.environ,
                clock=outside.clock,
                sleep=outside.sleep,
                rng=outside.rng,
            )
            embedder = await stack.enter_async_context(opening)
        asker = await stack.enter_async_context(
            rag.opened(suite, folder, embedder, environ=outside.environ, say=outside.say, sleep=outside.sleep)
        )

        async def prepare(sample: Sample) -> tuple[Sample, list[Passage] | None]:
            asked = await asker.prepare(sample)
            return asked.sample, asked.passages

        retriever = asker if isinstance(asker, rag.Retriever) else None
        identity = None if embedder is None else rag.identity(embedder, retriever)
        config = judges.config_of(suite)
        if config is None and embedder is None:
            yield Equipment(NoServices(), prepare, identity)
            return
        client = None if config is None else await stack.enter_async_context(_client(config, outside))
        if client is not None:
            await client.reach(_REACH_TIMEOUT_S)
        services = JudgeServices(
            client, config, outside.clock, outside.sleep, outside.rng, embedder, ends_at=outside.ends_at
        )
        yield Equipment(services, prepare, identity, services.bill if client is not None else None)


def _client(config: JudgeConfig, outside: Outside) -> Client:
    """The way to the judge. The run's own key is sent to no other address."""
    key = outside.api_key if config.base_url is None else None
    if config.api_key_env is not None:
        key = read_key(config.api_key_env, outside.environ)
    return Client(config.base_url or outside.base_url, key, connections=config.concurrency, clock=outside.clock)
