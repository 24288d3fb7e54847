"""Where the shares of limits are kept (see `policy.shares`): Redis, or what speaks as it does.

A holder's shares are a hash by gateway, and every gateway has one lease for all of its shares. One round trip renews
the lease, says what changed, and hears who is short of what.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.policy.shares import Answer, Ask
from gateway.settings.budgets import RedisConfig
from gateway.stores.redis_scripts import Command, RedisScripts
from gateway.stores.share_scripts import RENEW, SHARE

LEASE_S = 2.0
"""What a gateway has ends so long after it was last heard: then others get it."""
GRACE_S = 1.0
"""A Redis that remembers nothing gives nobody more than what they had for so long: all who hold something have told."""
AT_ONCE = 256
"""Holders of one round trip."""


class SharesAway(Exception):
    """Redis cannot be asked now."""


class Round(NamedTuple):
    """What Redis said: its epoch, the seconds until it grants, how many gateways live, and the holders of whom one of
    them lacks room; an answer to each that was asked."""

    epoch: int
    grace_s: float
    gateways: int
    wanted: Sequence[str]
    answers: Sequence[Answer]


class RedisShares:
    """One gateway's side. Raises InputError when the package is not installed."""

    def __init__(self, config: RedisConfig) -> None:
        self._redis = RedisScripts(config, "shared limits", (RENEW, SHARE))
        self.gateway = secrets.token_hex(8)
        # In braces: what decides on which node of a cluster a key lies.
        self._base = f"{{{config.prefix}}}:limits:"
        self._gateways, self._clock = f"{self._base}gateways", f"{self._base}clock"
        self._wanted = f"{self._base}wanted"

    async def round(self, asks: Sequence[Ask]) -> Round:
        """Renew the lease, and say this, at most `AT_ONCE`. Raises SharesAway: it may have been heard, or not."""
        replies = await self._run([self._renewal(LEASE_S), *map(self._share, asks)])
        epoch, grace_ms, gateways, wanted = replies[0]
        answers = [Answer((a, b, c), (d, e, f)) for a, d, b, e, c, f in replies[1:]]
        return Round(epoch, grace_ms / 1000, gateways, [name.decode() for name in wanted], answers)

    async def close(self) -> None:
        """End the lease now: what is held comes back as that of a gateway that died. Raises SharesAway."""
        try:
            await self._run([self._renewal(0.0)])
        finally:
            await self._redis.close()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next round where Redis is away."""
        return self._redis.pause_s

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._redis.run(commands)
        except self._redis.errors as error:
            raise SharesAway(str(error)) from error

    def _renewal(self, lease_s: float) -> Command:
        milliseconds = [int(each * 1000) for each in (lease_s, LEASE_S, GRACE_S)]
        return RENEW, [self._gateways, self._clock, self._wanted], [self.gateway, *milliseconds]

    def _share(self, ask: Ask) -> Command:
        arguments: list[str | int] = [self.gateway, ask.holder]
        for each in zip(ask.limits, ask.has, ask.need, ask.ahead, strict=True):
            arguments += each
        return SHARE, [self._base + ask.holder, self._gateways, self._clock, self._wanted], arguments
