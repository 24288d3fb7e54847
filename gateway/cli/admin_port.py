"""The admin API beside what `gateway serve` runs, where the configuration asks for it.

Its modules are loaded then alone: a gateway without it starts as fast as before, and has nothing of it in memory.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol

from gateway.app import Application
from gateway.cli import serving
from gateway.config import Deployment
from gateway.control_plane.reload import Watch
from gateway.control_plane.workers import Workers
from gateway.settings.admin import AdminConfig
from gateway.stores.budget_book import Book
from gateway.stores.budget_books import book_of
from gateway.stores.bundle import Stores

PORT, HOUSE, RELOADS = "gateway.admin.port", "gateway.admin.house", "gateway.admin.reloads"
COUNTING = "gateway.admin.counting"

Take = Callable[[Deployment | None], Awaitable[str | None]]


class Door(Protocol):
    """`gateway.admin.port.Door`, which is loaded on demand."""

    greeting: str

    def open(self, house: Any, count: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """Answer while inside."""


@contextmanager
def door(config: AdminConfig | None) -> Iterator[Door | None]:
    """The admin port, bound and with good tokens; None where none is asked for. Raises InputError."""
    if config is None:
        yield None
        return
    where = config.listen
    with serving.bound(where.host, where.port, "choose another under `admin.listen`") as listener:
        made: Door = importlib.import_module(PORT).Door(config, listener)
        yield made


@asynccontextmanager
async def alone(
    door: Door | None, app: Application, stores: Stores, watch: Watch | None, asked: asyncio.Event
) -> AsyncIterator[Take]:
    """Beside a gateway in this process. What comes of `reload`s through the result is known to the admin API."""
    if door is None or watch is None:
        yield app.current.reload
        return
    plane, reloads = app.data_plane, _reloads(watch, asked)
    page = plane.telemetry.registry.collect
    house = _house(stores, lambda: app.current.deployment, page, plane.budgeting.book, reloads)
    async with door.open(house, lambda result: plane.telemetry.admin.labels(result).inc()):
        yield reloads.noting(app.current.reload)


@asynccontextmanager
async def together(
    door: Door | None, workers: Workers, tell: Take, stores: Stores, watch: Watch | None, asked: asyncio.Event
) -> AsyncIterator[Take]:
    """Beside the parent of workers: their metrics and counters are looked at where they share them."""
    if door is None or watch is None:
        yield tell
        return
    port, reloads, folder = importlib.import_module(PORT), _reloads(watch, asked), workers.metrics
    redis = workers.deployment.config.redis
    book = book_of(redis, folder, time.monotonic, time.time)(lambda name, before, after: None)
    house = _house(stores, lambda: workers.deployment, lambda: port.workers_page(folder).collect(), book, reloads)
    try:
        with importlib.import_module(COUNTING).shared(folder) as count:
            async with door.open(house, count):
                yield reloads.noting(tell)
    finally:
        await book.close()


def _reloads(watch: Watch, asked: asyncio.Event) -> Any:
    return importlib.import_module(RELOADS).Reloads(asked, lambda: watch.refusal, time.time)


def _house(
    stores: Stores,
    deployment: Callable[[], Deployment],
    page: Callable[[], Iterable[Any]],
    book: Book,
    reloads: Any,
) -> Any:
    return importlib.import_module(HOUSE).House(stores, deployment, page, book, reloads)
