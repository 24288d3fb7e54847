"""Which book of budgets a gateway keeps."""

from collections.abc import Callable
from pathlib import Path

from gateway.settings.budgets import RedisConfig
from gateway.stores.budget_book import Book, OnSpent
from gateway.stores.file_budgets import FileBook
from gateway.stores.memory_budgets import MemoryBook
from gateway.stores.redis_budgets import RedisBook

NAME = "budgets.sqlite"


def book_of(
    redis: RedisConfig | None, shared: Path | None, monotonic: Callable[[], float], clock: Callable[[], float]
) -> Callable[[OnSpent], Book]:
    """What makes the book: in Redis, in a folder that all workers of a gateway share, or in this process.

    The clocks are in seconds: one that only goes forward, the same for all processes of the machine, and one since the
    epoch. What is made may raise InputError.
    """
    if redis is not None:
        return lambda on_spent: RedisBook(redis, on_spent)
    if shared is not None:
        return lambda on_spent: FileBook(shared / NAME, monotonic, clock, on_spent)
    return lambda on_spent: MemoryBook(monotonic, clock, on_spent)
