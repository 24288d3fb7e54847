"""The gateway's configuration: one YAML file, frozen, unknown keys refused, secrets only by reference.

`load` reads the file and everything it names (manifests, prices) and returns a `Deployment`, or raises a
DocumentError with every mistake and its line. Relative paths start from the folder of the file that names them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, model_validator

from gateway.contracts import attestation, documents, prices, release
from gateway.contracts.documents import Secret
from gateway.contracts.errors import DocumentError, PriceMissing, VerdictError
from gateway.contracts.release import ReleaseManifest
from gateway.providers import ProviderConfig, fallback_mistakes
from gateway.settings.admin import AdminConfig
from gateway.settings.budgets import BudgetConfig, BudgetName, RedisConfig, budget_mistakes, uncounted
from gateway.settings.calendars import Name, Regions, SeasonConfig, WindowConfig
from gateway.settings.enforcement import Enforcement
from gateway.settings.gpu_price import GpuPrice, gpu_mistakes, priced_pools
from gateway.settings.health import Health, Seconds
from gateway.settings.ledger import LedgerConfig, anchored_database, database_url
from gateway.settings.limits import CLASSES, ClassConfig, TeamConfig, limit_mistakes
from gateway.settings.queue import QueueConfig
from gateway.settings.replicas import AdapterConfig, ReplicaConfig, adapter_mistakes, ranked
from gateway.settings.routing import PolicyName, Routing
from gateway.settings.rules import Headers, RuleConfig, release_mistakes, rule_mistakes
from gateway.settings.tags import Tags
from gateway.settings.tracing import TracingConfig

Keyed = TypeVar("Keyed", "ReplicaConfig", ProviderConfig)


class Listen(documents.Frozen):
    """Where the gateway answers."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080


class Limits(documents.Frozen):
    """Sizes that bound memory."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    max_response_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024


class Timeouts(documents.Frozen):
    """Seconds. `load` covers an engine's loading of a LoRA adapter, `first_byte` its queue and prefill of a stream,
    `idle` the time between two pieces of an answer, `total` a whole request, `client` how long a write to it may block.
    """

    connect: Seconds = 5.0
    load: Seconds = 60.0
    first_byte: Seconds = 300.0
    idle: Seconds = 60.0
    total: Seconds = 3600.0
    client: Seconds = 30.0


class PoolConfig(documents.Frozen):
    """Engines of one configuration, or a provider. `served_model` is the name that engines know the model by, and `gpu`
    what each replica costs, if that is known."""

    replicas: tuple[ReplicaConfig, ...] = ()
    provider: ProviderConfig | None = None
    served_model: str | None = None
    policy: PolicyName = "score"
    queue: QueueConfig = QueueConfig()
    gpu: GpuPrice | None = None

    @model_validator(mode="after")
    def _one(self) -> "PoolConfig":
        if (self.provider is None) == (not self.replicas):
            raise ValueError("expected exactly one of `replicas: [{url: …}]` and `provider: {model: …}`")
        if self.provider is not None and (misplaced := self.model_fields_set & {"served_model", "policy", "gpu"}):
            names = ", ".join(f"`{name}`" for name in sorted(misplaced))
            raise ValueError(f"{names}: for replicas alone; a provider's model stands under `provider`")
        called = [name for name, replica, _ in ranked("", self.replicas) if replica.name]
        if len(called) != len(set(called)):
            raise ValueError(f"replicas of one pool have names of their own, found {', '.join(sorted(called))}")
        return self


class ReleaseConfig(documents.Frozen):
    """A release and the pool that runs it, with the adapter that makes it what it is, if there is one."""

    manifest: Path
    pool: str
    adapter: AdapterConfig | None = None


class ModelConfig(documents.Frozen):
    """A public model. `live` is what it serves until `gateway releases promote` says otherwise, unless a rule wins.

    `fallback` names models that answer, in this order, when its own pool cannot.
    """

    live: str
    releases: Annotated[tuple[ReleaseConfig, ...], Field(min_length=1)]
    fallback: tuple[str, ...] = ()
    rules: tuple[RuleConfig, ...] = ()


class GatewayConfig(documents.Frozen):
    """The whole file."""

    listen: Listen = Listen()
    admin: AdminConfig | None = None
    database: Annotated[str, AfterValidator(database_url)] = "sqlite:///tollgate.db"
    ledger: LedgerConfig = LedgerConfig()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    health: Health = Health()
    routing: Routing = Routing()
    enforcement: Enforcement = Enforcement()
    prices: Path | None = None
    headers: Headers = ()
    tags: Tags = Field(default_factory=dict)
    regions: Regions = Regions()
    windows: dict[Name, WindowConfig] = Field(default_factory=dict)
    seasons: dict[Name, SeasonConfig] = Field(default_factory=dict)
    pools: Annotated[dict[str, PoolConfig], Field(min_length=1)]
    models: Annotated[dict[str, ModelConfig], Field(min_length=1)]
    classes: dict[str, ClassConfig] = CLASSES
    teams: dict[str, TeamConfig] = Field(default_factory=dict)
    budgets: dict[BudgetName, BudgetConfig] = Field(default_factory=dict)
    redis: RedisConfig | None = None
    tracing: TracingConfig | None = None


@dataclass(frozen=True)
class Release:
    """A release as the gateway serves it."""

    name: str
    model: str
    digest: str
    manifest: ReleaseManifest
    pool: str
    adapter: AdapterConfig | None = None

    @cached_property
    def sampling(self) -> dict[str, Any]:
        """What its manifest gives where a request leaves it open."""
        return self.manifest.sampling.defaults()

    @cached_property
    def system(self) -> str | None:
        """The prompt that its manifest gives to conversations without one."""
        return self.manifest.prompt.system

    def called(self, served_model: str | None) -> str:
        """The name that its engines know it by: its adapter's, its pool's `served_model`, or the model's own."""
        return served_model or self.model if self.adapter is None else self.adapter.name


@dataclass(frozen=True)
class Deployment:
    """A configuration with everything that it names, read and checked."""

    config: GatewayConfig
    releases: dict[str, Release]
    prices: prices.PriceBook

    @property
    def defaults(self) -> dict[str, str]:
        """Model to the release that the configuration makes live."""
        return {name: model.live for name, model in self.config.models.items()}


def load(path: Path, *, trust: bool = False) -> Deployment:
    """Read a configuration and what it names. Raises DocumentError with every mistake, each with its line.

    With `trust` the keys that sign verdicts must be readable too: who decides about traffic needs them, a report not.
    """
    base, releases = documents.folder_of(path), dict[str, Release]()

    def check(config: GatewayConfig) -> Iterator[tuple[documents.Location, str]]:
        yield from _references(config)
        yield from _read_releases(_anchored(config, base), releases)
        yield from _read_prices(_anchored(config, base))
        yield from gpu_mistakes(_anchored(config, base).pools)
        if trust and config.enforcement.mode != "off":
            yield from _read_keys(_anchored(config, base))

    return deploy(_anchored(documents.load(path, GatewayConfig, check=check), base), releases)


def deploy(config: GatewayConfig, releases: dict[str, Release]) -> Deployment:
    """A deployment of a configuration and its releases, with its prices read. Raises DocumentError, PriceMissing."""
    return Deployment(config, releases, _price_book(config))


def _price_book(config: GatewayConfig) -> prices.PriceBook:
    if config.prices is None:
        return prices.UNPRICED
    book = prices.load(config.prices)
    book.require(list(config.models))
    return book


def _references(config: GatewayConfig) -> Iterator[tuple[documents.Location, str]]:
    for name, model in config.models.items():
        for index, wanted in enumerate(model.releases):
            if wanted.pool not in config.pools:
                where = ("models", name, "releases", index, "pool")
                yield where, f"no pool {wanted.pool!r}; the pools here are {', '.join(sorted(config.pools))}"
    yield from adapter_mistakes(config.models, config.pools)
    yield from fallback_mistakes({name: model.fallback for name, model in config.models.items()})
    yield from limit_mistakes(config.classes, config.teams, config.models)
    yield from budget_mistakes(config.budgets, config.teams, config.models)
    rules = {name: model.rules for name, model in config.models.items()}
    yield from rule_mistakes(rules, config.regions, config.headers, config.windows, config.seasons)
    enforcement = config.enforcement
    if enforcement.mode != "off" and not enforcement.trusted_keys:
        at = ("enforcement", "trusted_keys")
        yield at, f"mode {enforcement.mode!r} needs a key to trust: `evals keys` makes one, or set `mode: off`"


def _read_releases(config: GatewayConfig, releases: dict[str, Release]) -> Iterator[tuple[documents.Location, str]]:
    """Fill `releases` from the manifests, and yield what is wrong with them."""
    for model, entry in config.models.items():
        for index, wanted in enumerate(entry.releases):
            at: documents.Location = ("models", model, "releases", index, "manifest")
            try:
                manifest = release.load(wanted.manifest)
            except DocumentError as error:
                yield from ((at, f"in {error.path}, {mistake}") for mistake in error.mistakes)
                continue
            if manifest.name in releases:
                yield at, f"{manifest.name!r} is listed twice"
            elif manifest.model_name != model:
                yield at, f"{manifest.name!r} is a release of {manifest.model_name!r}, not of {model!r}"
            digest = manifest.digest()
            releases[manifest.name] = Release(manifest.name, model, digest, manifest, wanted.pool, wanted.adapter)
        of_model = sorted(name for name, each in releases.items() if each.model == model)
        if of_model and entry.live not in of_model:
            yield ("models", model, "live"), f"{entry.live!r} is none of its releases: {', '.join(of_model)}"
        yield from release_mistakes(model, entry.rules, of_model)


def _read_keys(config: GatewayConfig) -> Iterator[tuple[documents.Location, str]]:
    for index, path in enumerate(config.enforcement.trusted_keys):
        try:
            attestation.load_public(path)
        except VerdictError as error:
            yield ("enforcement", "trusted_keys", index), str(error)


def _read_prices(config: GatewayConfig) -> Iterator[tuple[documents.Location, str]]:
    try:
        yield from uncounted(config.budgets, config.models, _price_book(config), priced_pools(config.pools))
    except DocumentError as error:
        yield from ((("prices",), f"in {error.path}, {mistake}") for mistake in error.mistakes)
    except PriceMissing as error:
        yield ("prices",), str(error)


def _anchored(config: GatewayConfig, base: Path) -> GatewayConfig:
    """The same configuration with its relative paths made relative to its own folder."""
    models = {
        name: model.model_copy(
            update={"releases": tuple(r.model_copy(update={"manifest": base / r.manifest}) for r in model.releases)}
        )
        for name, model in config.models.items()
    }
    pools = {
        name: pool.model_copy(
            update={
                "replicas": tuple(_anchored_key(replica.anchored(base), base) for replica in pool.replicas),
                "gpu": None if pool.gpu is None else pool.gpu.anchored(base),
                "provider": None if pool.provider is None else _anchored_key(pool.provider, base),
            }
        )
        for name, pool in config.pools.items()
    }
    changes = {
        "admin": config.admin and config.admin.anchored(base),
        "enforcement": config.enforcement.anchored(base),
        "database": anchored_database(config.database, base),
        "ledger": config.ledger.anchored(base, config.database),
        "models": models,
        "pools": pools,
        "routing": config.routing.anchored(base),
        "redis": config.redis and config.redis.anchored(base),
        "prices": None if config.prices is None else base / config.prices,
    }
    return config.model_copy(update=changes)


def _anchored_key(keyed: Keyed, base: Path) -> Keyed:
    if keyed.api_key is None or keyed.api_key.file is None:
        return keyed
    return keyed.model_copy(update={"api_key": Secret(file=base / keyed.api_key.file)})
