"""What the admin API works on: the stores of a gateway, and what serves in it now."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.core import Metric
from sqlalchemy.exc import SQLAlchemyError

from gateway.admin.errors import StoreAway
from gateway.admin.reloads import Reloads
from gateway.config import Deployment
from gateway.stores.budget_book import Book
from gateway.stores.bundle import Stores

Result = TypeVar("Result")


@dataclass(frozen=True)
class House:
    """`deployment` and `page` (metrics) are those of now; `book` is where budgets are counted.

    The clock is in seconds since the epoch. Databases are asked in a thread, for one request after the other.
    """

    stores: Stores
    deployment: Callable[[], Deployment]
    page: Callable[[], Iterable[Metric]]
    book: Book
    reloads: Reloads
    clock: Callable[[], float] = time.time
    asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def work(self, done: Callable[[], Result]) -> Result:
        """Do something that may wait for a database. Raises StoreAway when that is away."""
        async with self.asking:
            try:
                return await asyncio.to_thread(done)
            except SQLAlchemyError as error:
                text = f"the database cannot be asked now ({type(error).__name__}): ask again later"
                raise StoreAway(text, retry_after=1) from error
