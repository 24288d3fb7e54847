"""The engines of a pool, and the adapters that they hold."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field

from gateway.contracts import documents
from gateway.settings.gpu_price import GpuPrice


def _engine_url(value: str) -> str:
    if documents.http_url(value, "http://10.0.0.7:8000").path.rstrip("/").endswith("/v1"):
        raise ValueError(f"{value!r}: leave /v1 out, the gateway adds the path of each endpoint")
    return value.rstrip("/")


class ReplicaConfig(documents.Frozen):
    """One engine. With `drain` it gets no new request; what is in flight ends.

    `ranks` is vLLM's `--data-parallel-size` behind this one address: each rank has a KV cache of its own, so each is a
    replica of its own, chosen by the gateway and not by vLLM. `gpu` is what it costs, where that is not what all
    replicas of its pool cost.
    """

    url: Annotated[str, AfterValidator(_engine_url)]
    name: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")] | None = None
    api_key: documents.Secret | None = None
    drain: bool = False
    ranks: Annotated[int, Field(ge=2, le=64)] | None = None
    gpu: GpuPrice | None = None

    def anchored(self, base: Path) -> "ReplicaConfig":
        """The same with the relative path of its price's profile made relative to a folder."""
        return self if self.gpu is None else self.model_copy(update={"gpu": self.gpu.anchored(base)})


class AdapterConfig(documents.Frozen):
    """A LoRA adapter, by the name that the engines know it by.

    `path` is where the engines find it: with it, a replica that does not hold the adapter is told to load it once a
    request needs that, where vLLM was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. A replica that has an adapter of
    this name from another path gets none of its requests: new weights need a new name.
    """

    name: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    path: Annotated[str, Field(min_length=1)] | None = None


class _Release(Protocol):
    @property
    def pool(self) -> str: ...

    @property
    def adapter(self) -> AdapterConfig | None: ...


class _Model(Protocol):
    @property
    def releases(self) -> Sequence[_Release]: ...


class _Pool(Protocol):
    @property
    def served_model(self) -> str | None: ...


def adapter_mistakes(
    models: Mapping[str, _Model], pools: Mapping[str, _Pool]
) -> Iterator[tuple[documents.Location, str]]:
    """Adapters that engines, which know them by name alone, cannot tell from another one or from their base model.

    The wrong one would answer, and nothing would fail.
    """
    bases, paths = {(name, pool.served_model) for name, pool in pools.items()}, dict[tuple[str, str], str]()
    bases |= {
        (each.pool, model)
        for model, entry in models.items()
        for each in entry.releases
        if each.adapter is None and each.pool in pools and pools[each.pool].served_model is None
    }
    for model, entry in models.items():
        for index, each in enumerate(entry.releases):
            if each.adapter is None:
                continue
            known, path = (each.pool, each.adapter.name), each.adapter.path
            at: documents.Location = ("models", model, "releases", index, "adapter", "name")
            if known in bases:
                told = f"the engines of pool {each.pool!r} know their base model as {each.adapter.name!r}"
                yield at, f"{told}: give the adapter another name"
            elif path is not None and paths.setdefault(known, path) != path:
                told = f"pool {each.pool!r} has an adapter {each.adapter.name!r} from {paths[known]!r} already"
                yield at, f"{told}, and engines tell adapters apart by their names: give each its own"


def ranked(pool: str, replicas: Sequence[ReplicaConfig]) -> Iterator[tuple[str, ReplicaConfig, int | None]]:
    """(name, configuration, rank or None) of each replica of a pool: several for an engine with ranks.

    A replica without a name is called by its place: its URL would tell clients where the engines are.
    """
    for index, each in enumerate(replicas):
        name = each.name or f"{pool}-{index}"
        if each.ranks is None:
            yield name, each, None
        else:
            yield from ((f"{name}.{rank}", each, rank) for rank in range(each.ranks))
