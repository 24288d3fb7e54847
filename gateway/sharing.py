"""Limits that several gateways share: admission by this gateway's shares, and the loop that moves shares.

    room in the share → admitted, without asking anybody
    no room           → more is asked for, in one round trip for all who wait, and tried again
    Redis says no     → refused, and for a moment nobody asks again

While Redis is away a gateway goes on with its last shares, and of keys and teams that it had none of with the part that
each gateway would get (`limits_when_away: local`), or refuses once its lease is over (`refuse`).
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

from gateway.contracts.errors import RateLimited
from gateway.policy.auth import Principal
from gateway.policy.holders import Holder
from gateway.policy.limits import Admission, Reservation
from gateway.policy.shares import Ask, SharedHolder
from gateway.settings.budgets import RedisConfig
from gateway.stores.redis_shares import AT_ONCE, LEASE_S, RedisShares, SharesAway
from gateway.telemetry import Telemetry

TICK_S = 0.1
"""Between two rounds that nobody waits for."""
SWEEP_S = 1.0
"""Between two looks at those that are not used now."""
HOT_S = 2.0
"""So long after its last request a holder is looked at in every round."""
ATTEMPTS = 3
"""Others may take what was got before whoever asked for it is back."""

log = logging.getLogger("tollgate")


class Sharing:
    """This gateway's part in the limits. `admission` has its counters, which are `SharedHolder`s."""

    def __init__(
        self,
        shares: RedisShares,
        telemetry: Telemetry,
        monotonic: Callable[[], float],
        when_away: Literal["local", "refuse"] = "local",
    ) -> None:
        self.admission = Admission(SharedHolder)
        self.gateways = 1
        self._shares, self._telemetry, self._monotonic, self._when_away = shares, telemetry, monotonic, when_away
        self._good_until = -math.inf
        self._away, self._first = False, True
        self._epoch = self._swept_at = -1.0
        self._hot: dict[str, SharedHolder] = {}
        self._ready: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def admit(self, principal: Principal, tokens: int, now: float) -> Reservation:
        """As `Admission.admit`, of the shares. Waits for Redis only where they have no room.

        `now` is when the request began, and a lease may have ended while its body was read.
        """
        now = max(now, self._monotonic())
        if now >= self._good_until:
            now = await self._unleased(principal, now)
        try:
            reservation = self.admission.admit(principal, tokens, now)
        except RateLimited as refused:
            if not refused.passes:
                raise
            reservation = await self._borrowed(principal, tokens, refused)
        for holder in _shared((reservation.key, reservation.team)):
            if not holder.hot:
                self._warm(holder)
        return reservation

    def _holders(self, principal: Principal, now: float) -> list[SharedHolder]:
        keys, teams = self.admission.keys, self.admission.teams
        key = keys.of(principal.key_id, principal.quota, now)
        return _shared((key, teams.of(principal.team, principal.team_quota, now)))

    def _warm(self, holder: SharedHolder) -> None:
        holder.hot = True
        self._hot[holder.id] = holder

    async def _unleased(self, principal: Principal, now: float) -> float:
        """The lease is over: this process stood still, or Redis is away."""
        holders = self._holders(principal, now)
        if not holders:
            return now
        if not self._away:
            await self._round_over()
            now = self._monotonic()
            if now < self._good_until:
                return now
        if self._when_away == "refuse":
            raise RateLimited("limits are shared over Redis, which is away: ask again in 1 s", retry_after=1)
        for holder in holders:
            holder.at_least(self.gateways, now)
            self._warm(holder)
        return now

    async def _borrowed(self, principal: Principal, tokens: int, refused: RateLimited) -> Reservation:
        for _ in range(ATTEMPTS):
            now = self._monotonic()
            lacking = [holder for holder in self._holders(principal, now) if not holder.has_room(tokens, now)]
            if self._away or any(now < holder.dry_until for holder in lacking):
                break
            for holder in lacking:
                holder.lack(tokens, now)
                self._warm(holder)
            if lacking:
                await self._round_over()
            try:
                return self.admission.admit(principal, tokens, self._monotonic())
            except RateLimited as again:
                refused = again
        raise refused

    async def _round_over(self) -> None:
        """Wait for the next round that begins."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
        self.start()
        self._wake.set()
        await asyncio.shield(self._ready)

    def start(self) -> None:
        """Have the loop run."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def prepare(self) -> None:
        """Make oneself known, and wait until Redis grants: a second at most, and only where it remembers nothing."""
        await self._round_over()

    async def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            ready, self._ready = self._ready, None
            try:
                grace_s = await self._round()
                if self._first:
                    await asyncio.sleep(grace_s)
                self._first = False
            except SharesAway as error:
                self._told_away(error)
            finally:
                _over(ready)
            if self._away:
                await asyncio.sleep(self._shares.pause_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
        _over(self._ready)

    async def _round(self) -> float:
        """One round: how long Redis grants nothing yet, in seconds. Raises SharesAway."""
        began = self._monotonic()
        if began >= self._good_until:  # others may have got meanwhile what this gateway had
            self._say_all()
        asks = self._asks(began)
        for start in range(0, max(1, len(asks)), AT_ONCE):
            part = asks[start : start + AT_ONCE]
            found = await self._shares.round([ask for _, ask in part])
            now = self._monotonic()
            for (holder, ask), answer in zip(part, found.answers, strict=True):
                got, holder.gateways = holder.heard(ask, answer, now), max(1, found.gateways)
                if any(ask.need):
                    self._telemetry.limit_borrows.labels("granted" if got else "refused").inc()
        self._good_until, self.gateways = began + LEASE_S, max(1, found.gateways)
        self._told_back()
        if found.epoch != self._epoch:
            self._epoch = found.epoch
            self._say_all()
            self._wake.set()
        for name in found.wanted:
            self._press(name)
        return found.grace_s

    def _asks(self, now: float) -> list[tuple[SharedHolder, Ask]]:
        holders: Sequence[SharedHolder] = list(self._hot.values())
        if now >= self._swept_at + SWEEP_S:
            self._swept_at, holders = now, self._all()
        asks = []
        for holder in holders:
            if (ask := holder.plan(now)) is not None:
                asks.append((holder, ask))
            if holder.hot and now > holder.used_at + HOT_S:
                holder.hot = False
                del self._hot[holder.id]
        return asks

    def _all(self) -> list[SharedHolder]:
        return _shared((*self.admission.keys.held.values(), *self.admission.teams.held.values()))

    def _say_all(self) -> None:
        """What is held is said again in the next round, whether it changed or not."""
        for holder in self._all():
            holder.said_at = -math.inf
        self._swept_at = -math.inf

    def _press(self, name: str) -> None:
        kind, _, whose = name.partition(":")
        for holder in _shared([(self.admission.keys if kind == "key" else self.admission.teams).held.get(whose)]):
            holder.pressed = True
            self._warm(holder)

    def _told_away(self, error: SharesAway) -> None:
        if not self._away:
            how = {"local": "go on with what this gateway has of them", "refuse": "are refused"}[self._when_away]
            log.error("Redis, which shares the limits, is away, and requests under limits %s: %s", how, error)
        self._away = True
        self._telemetry.limits_shared.set(0)

    def _told_back(self) -> None:
        if self._away:
            log.warning("Redis is back: limits are shared again by %d gateways", self.gateways)
        self._away = False
        self._telemetry.limits_shared.set(1)

    async def close(self) -> None:
        """Let others have the shares."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        with suppress(SharesAway):
            await self._shares.close()


def sharing_of(redis: RedisConfig | None, telemetry: Telemetry, monotonic: Callable[[], float]) -> Sharing | None:
    """What shares limits with other gateways; None: this process counts them for itself. Raises InputError."""
    if redis is None or not redis.share_limits:
        return None
    return Sharing(RedisShares(redis), telemetry, monotonic, redis.limits_when_away)


@asynccontextmanager
async def running(sharing: Sharing | None) -> AsyncIterator[None]:
    """As long as the gateway serves."""
    if sharing is None:
        yield
        return
    await sharing.prepare()
    try:
        yield
    finally:
        await sharing.close()


def _shared(holders: Sequence[Holder | None]) -> list[SharedHolder]:
    """Those that are there. This gateway's admission makes no others."""
    return [cast(SharedHolder, holder) for holder in holders if holder is not None]


def _over(ready: asyncio.Future[None] | None) -> None:
    if ready is not None and not ready.done():
        ready.set_result(None)
