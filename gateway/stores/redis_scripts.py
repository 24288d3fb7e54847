"""Scripts that run in Redis, many in one round trip (`pip install 'tollgate[redis]'`)."""

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gateway.contracts.errors import InputError
from gateway.resolving import Name
from gateway.settings.budgets import RedisConfig

PAUSE_S = (0.25, 1.0)
"""Between two attempts while Redis is away: at first, and at most, each of them shortened by up to a half."""
IDLE_S = 5.0
"""A connection that nothing went over for so long is made anew: Redis, or what stands before it, may have closed it,
and the client notices that only when it has said something that nobody hears."""
Reply = TypeVar("Reply")

Command = tuple[str, list[str], list[str | int]]
"""A script's text, its keys, and its arguments."""


@cache
def digest(script: str) -> str:
    """By which Redis knows it."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class RedisScripts:
    """One connection. `errors` is what is raised when Redis is away.

    `together` are scripts of which Redis is told all when it lacks one: of commands in one round trip, only those that
    it lacked run again, and they must not come after one that they went before. Raises InputError when the package is
    not installed; `what` is told then. `jitter` draws from 0 to 1, and `monotonic` is a clock in seconds.

    Redis' name is looked up here before the client does it, unless Redis has just answered: the client would leave one
    look-up hanging after the other in the few threads that the loop has for them.
    """

    def __init__(
        self,
        config: RedisConfig,
        what: str,
        together: Sequence[str] = (),
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import redis.asyncio as client
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import NoScriptError, RedisError
        except ImportError as error:
            raise InputError(f"{what} in Redis need another package: pip install 'tollgate[redis]'") from error
        self.errors: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._unknown_script: type[Exception] = NoScriptError
        self.client: Any = client.Redis.from_url(
            config.url,
            password=None if config.password is None else config.password.read(),
            socket_timeout=config.timeout,
            socket_connect_timeout=config.timeout,
            retry=Retry(NoBackoff(), 0),
            **_given_up(config),
        )
        self.timeout = config.timeout
        self._together, self._jitter = together, jitter
        parts = urlsplit(config.url)
        self._name = None if parts.scheme == "unix" else Name(parts.hostname or "localhost", parts.port or 6379)
        self._answered, self._failures = False, 0
        self._monotonic, self._used, self._freshening = monotonic, monotonic(), asyncio.Lock()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next attempt."""
        first, most = PAUSE_S
        return float(min(most, first * 2 ** max(0, min(9, self._failures - 1))) * (1 - self._jitter() / 2))

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The reply to each. A Redis that does not know the scripts, since it has just started, is told them."""
        return await self.asked(lambda: self._run(commands))

    async def ping(self) -> None:
        """Whether Redis answers: raises `errors` where it does not."""
        await self.asked(self._ping)

    async def asked(self, work: Callable[[], Awaitable[Reply]]) -> Reply:
        """What the work comes to, and whether Redis answered is known from then on. Raises what the work does."""
        try:
            if self._name is not None and not self._answered:
                async with asyncio.timeout(self.timeout):
                    await self._name.addresses()
            await self._freshen()
            found = await work()
        except self.errors:
            self._answered, self._failures = False, self._failures + 1
            raise
        self._answered, self._failures = True, 0
        return found

    async def _freshen(self) -> None:
        """Let go of what lay idle for long. One after the other: nobody takes what another one closes."""
        async with self._freshening:
            if self._monotonic() - self._used > IDLE_S:
                await self.client.connection_pool.disconnect(inuse_connections=False)
            self._used = self._monotonic()

    async def _ping(self) -> None:
        async with asyncio.timeout(2 * self.timeout):
            await self.client.ping()

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = await self._executed(commands)
        missing = [at for at, reply in enumerate(replies) if isinstance(reply, self._unknown_script)]
        if missing:
            async with asyncio.timeout(self.timeout):
                for script in dict.fromkeys((*self._together, *(commands[at][0] for at in missing))):
                    await self.client.script_load(script)
            for at, reply in zip(missing, await self._executed([commands[at] for at in missing]), strict=True):
                replies[at] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _executed(self, commands: Sequence[Command]) -> list[Any]:
        async with asyncio.timeout(2 * self.timeout), self.client.pipeline(transaction=False) as pipe:
            for script, keys, arguments in commands:
                pipe.evalsha(digest(script), len(keys), *keys, *arguments)
            found: list[Any] = await pipe.execute(raise_on_error=False)
            return found

    async def close(self) -> None:
        """Let go of the connection."""
        await self.client.aclose()


def _given_up(config: RedisConfig) -> dict[str, Any]:
    """What has the system give up with the client: what a cut kept from Redis must not come when the cut is over."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None or config.url.startswith("unix:"):
        return {}
    return {"socket_keepalive": True, "socket_keepalive_options": {option: int(config.timeout * 1000)}}
