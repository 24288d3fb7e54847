"""What an hour of a replica's GPUs costs, and from when on.

gpu:
  usd_per_gpu_hour: "2.50"
  gpus: 2                                                             # of one replica
  schedule:
    - {from: "2027-01-01T00:00:00+00:00", usd_per_gpu_hour: "2.10"}   # a contract that begins then
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

from pydantic import ConfigDict, Field, model_validator

from gateway.contracts import documents
from gateway.contracts.errors import InputError
from gateway.contracts.prices import Amount
from gateway.settings.profile import EngineProfile, find

MOST_USD = 10_000
"""Of a GPU and hour. None costs that much: more is a slip of the comma."""
Usd = Annotated[Amount, Field(le=MOST_USD, decimal_places=9)]
"""Of the currency of all GPU prices."""


class Piece(NamedTuple):
    """A price that holds from `since` on and before `until` (None: from then on). Seconds since the epoch."""

    since: float
    until: float | None
    usd_per_gpu_hour: Decimal


class PriceStep(documents.Frozen):
    """Another price, from a moment on."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Annotated[documents.Moment, Field(alias="from")]
    usd_per_gpu_hour: Usd


class GpuPrice(documents.Frozen):
    """What one replica's GPUs cost. `usd_per_gpu_hour` holds until the first step of the `schedule`, each step from its
    moment on. With `ranks`, each rank is a replica and has so many GPUs.

    `profile` is the file of the engine's step model (`gateway.settings.profile.EngineProfile`), by which its requests
    share its time; without one they share it by the default model.
    """

    usd_per_gpu_hour: Usd
    gpus: Annotated[int, Field(ge=1, le=1024)] = 1
    schedule: tuple[PriceStep, ...] = ()
    profile: Path | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "GpuPrice":
        for before, step in zip(self.schedule, self.schedule[1:], strict=False):
            if step.from_ <= before.from_:
                raise ValueError(
                    f"the steps of a schedule come one after the other, found {str(step.from_)!r} "
                    f"after {str(before.from_)!r}"
                )
        return self

    def pieces(self, now: float) -> list[Piece]:
        """The prices from `now` on, one after the other without a gap; the last one has no end."""
        price, since, found = self.usd_per_gpu_hour, now, list[Piece]()
        for step in self.schedule:
            if (begins := _seconds(step.from_)) > now:
                found.append(Piece(since, begins, price))
                since = begins
            price = step.usd_per_gpu_hour
        return [*found, Piece(since, None, price)]

    def anchored(self, base: Path) -> "GpuPrice":
        """The same with the relative path of its profile made relative to a folder."""
        return self if self.profile is None else self.model_copy(update={"profile": base / self.profile})

    def step_model(self) -> EngineProfile | None:
        """The profile that it names; None where it names none. Raises InputError."""
        return None if self.profile is None else find(str(self.profile))


class _Replica(Protocol):
    @property
    def gpu(self) -> GpuPrice | None: ...


class _Pool(Protocol):
    @property
    def gpu(self) -> GpuPrice | None: ...

    @property
    def replicas(self) -> tuple[_Replica, ...]: ...


def gpu_mistakes(pools: Mapping[str, _Pool]) -> Iterator[tuple[documents.Location, str]]:
    """What is wrong with the profiles that prices name."""
    for name, pool in pools.items():
        places: list[tuple[documents.Location, GpuPrice | None]] = [(("pools", name, "gpu", "profile"), pool.gpu)]
        for index, replica in enumerate(pool.replicas):
            places.append((("pools", name, "replicas", index, "gpu", "profile"), replica.gpu))
        for at, price in places:
            try:
                if price is not None:
                    price.step_model()
            except InputError as error:
                yield at, str(error)


def priced_pools(pools: Mapping[str, _Pool]) -> list[str]:
    """The pools of which a replica has a price."""
    return [name for name, pool in pools.items() if pool.gpu or any(each.gpu for each in pool.replicas)]


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
