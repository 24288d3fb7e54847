"""The engines of a pool, and the adapters that they hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

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
    request needs that, where vLLM was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.
    """

    name: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    path: Annotated[str, Field(min_length=1)] | None = None


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
