"""The replicas of a configuration, as costs see them: where they stand, their price, and how they share their time."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.config import GatewayConfig
from gateway.policy.ceilings import NANO, Rate
from gateway.settings.gpu_price import GpuPrice
from gateway.settings.profile import DEFAULT, EngineProfile
from gateway.settings.replicas import ranked

HOUR_S = 3600


class Engine(NamedTuple):
    """A replica: its pool, what it costs (None: nobody said), and its step model."""

    pool: str
    price: GpuPrice | None = None
    profile: EngineProfile = DEFAULT


def engines(config: GatewayConfig) -> dict[str, Engine]:
    """Every replica of a configuration by its name, a provider by its pool's. Raises InputError for a lost profile."""
    found = {}
    for name, pool in config.pools.items():
        if pool.provider is not None:
            found[name] = Engine(name)
        for replica, each, _ in ranked(name, pool.replicas):
            price = pool.gpu if each.gpu is None else each.gpu
            profile = None if price is None else price.step_model()
            found[replica] = Engine(name, price, DEFAULT if profile is None else profile)
    return found


def rented(engines: Mapping[str, Engine]) -> dict[str, tuple[str, GpuPrice]]:
    """Those that have a price, as `Rentals.declare` takes them."""
    return {name: (each.pool, each.price) for name, each in engines.items() if each.price is not None}


def rates(config: GatewayConfig, now: float) -> dict[str, Rate]:
    """What the dearest replica of each pool costs, at the dearest price of its schedule from now on.

    A pool without a priced replica has no rate. Raises InputError for a lost profile.
    """
    found = dict[str, Rate]()
    for each in engines(config).values():
        if each.price is None:
            continue
        hour = each.price.gpus * max(piece.usd_per_gpu_hour for piece in each.price.pieces(now))
        rate = Rate(float(hour * NANO / HOUR_S), each.profile.step, each.profile.max_num_batched_tokens)
        if each.pool not in found or rate.nano_s > found[each.pool].nano_s:
            found[each.pool] = rate
    return found


def unpriced(config: GatewayConfig) -> Iterator[str]:
    """What to say of each pool with replicas whose price nobody said."""
    for name, pool in config.pools.items():
        lacking = [replica for replica, each, _ in ranked(name, pool.replicas) if each.gpu is None and pool.gpu is None]
        if lacking:
            yield f"pool {name!r}: no `gpu` price for {', '.join(lacking)}: their GPU cost is unknown, not zero"
