"""Having the configuration read now, as SIGHUP does, and knowing what came of the last reading."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.admin.errors import StoreAway
from gateway.config import Deployment

Take = Callable[[Deployment | None], Awaitable[str | None]]
"""Serves another deployment, None for one that was refused, and returns why it does not."""

WITHIN_S = 30.0
"""A configuration that waits for a database is not waited for longer."""


@dataclass(frozen=True)
class Refusal:
    """Why a configuration was refused, and when (seconds since the epoch)."""

    at: float
    reason: str


class Reloads:
    """`asked` has the file read; `mistakes` says what is wrong with what is written, empty when nothing is."""

    def __init__(self, asked: asyncio.Event, mistakes: Callable[[], str], clock: Callable[[], float]) -> None:
        self._asked, self._mistakes, self._clock = asked, mistakes, clock
        self._waiting: list[asyncio.Future[None]] = []
        self.refusal: Refusal | None = None
        """Of the last reading; None while it serves."""

    def noting(self, take: Take) -> Take:
        """The same, and what came of it is known here."""

        async def noted(found: Deployment | None) -> str | None:
            reason = await take(found)
            if reason is not None:
                reason = self._mistakes() or reason
            self.refusal = None if reason is None else Refusal(self._clock(), reason)
            # What was asked for while this reading went on is read again.
            if not self._asked.is_set():
                for each in self._waiting:
                    if not each.done():
                        each.set_result(None)
                self._waiting.clear()
            return reason

        return noted

    async def now(self, seconds: float = WITHIN_S) -> None:
        """Have the configuration read, and wait until it serves or is refused. Raises StoreAway."""
        over = asyncio.get_running_loop().create_future()
        self._waiting.append(over)
        self._asked.set()
        try:
            await asyncio.wait_for(over, seconds)
        except TimeoutError as error:
            raise StoreAway(
                "the configuration was read, and waits for the database: it serves once that is back"
            ) from error
