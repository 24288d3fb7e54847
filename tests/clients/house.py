"""A gateway with a model of each kind, for clients that were written by others."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config import (
    Deployment,
    Enforcement,
    GatewayConfig,
    ModelConfig,
    PoolConfig,
    Release,
    ReleaseConfig,
    ReplicaConfig,
)
from gateway.contracts.prices import Price, PriceBook
from gateway.contracts.release import ModelFiles, ReleaseManifest
from gateway.settings.health import Health
from gateway.stores.bundle import open_stores
from tests.engine.endpoints import Task
from tests.engine.simulator import Engine, echo
from tests.gateway.calls import ANSWER
from tests.gateway.serving import Gateway, make_key, serving

MODELS: dict[str, Task] = {"faq": "generate", "ears": "transcribe", "vectors": "embed"}
"""What clients call each model, and its kind."""
WORDS = "one two three four"
LIMIT = 64
"""The context of each model, in tokens."""
STRANGER = "sk-tg-000000000000-" + "0" * 48
"""A key that nobody made."""


def answer(prompt: str) -> Any:
    """JSON in four tokens for who asks for it, else the prompt itself."""
    return ANSWER if "json" in prompt or "audio" in prompt else echo(prompt)


@dataclass
class House:
    """A running gateway and what is behind it. `narrow` is a key that may use no model of it."""

    gateway: Gateway
    engines: dict[str, Engine]
    key: str
    narrow: str

    @property
    def engine(self) -> Engine:
        """The one that generates."""
        return self.engines["faq"]


def deployment(urls: dict[str, str]) -> Deployment:
    """A model, a release and a pool for each name."""
    releases = {}
    for name in urls:
        manifest = ReleaseManifest(name=f"{name}@1", model=ModelFiles(id=name))
        releases[manifest.name] = Release(manifest.name, name, manifest.digest(), manifest, name)
    price = Price(input="0.20", output="0.60", cached_input="0.02")  # type: ignore[arg-type]
    config = GatewayConfig(
        enforcement=Enforcement(mode="off"),
        health=Health(probes=False),
        pools={name: PoolConfig(replicas=(ReplicaConfig(url=url),)) for name, url in urls.items()},
        models={
            name: ModelConfig(live=f"{name}@1", releases=(ReleaseConfig(manifest=Path("-"), pool=name),))
            for name in urls
        },
    )  # fmt: skip
    return Deployment(config, releases, PriceBook(version="test", models=dict.fromkeys(urls, price)))


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """All of it."""
    async with AsyncExitStack() as stack:
        engines = {
            name: await stack.enter_async_context(Engine(name, task=task, answer=answer, max_model_len=LIMIT))
            for name, task in MODELS.items()
        }
        deployed = deployment({name: engine.url for name, engine in engines.items()})
        narrow = make_key(open_stores(f"sqlite:///{folder / 'tollgate.db'}"), models=["another"])
        gateway, key, _ = await stack.enter_async_context(serving(deployed, folder))
        yield House(gateway, engines, key, narrow)
