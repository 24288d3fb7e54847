"""Which book a gateway keeps."""

from pathlib import Path
from typing import Any

from gateway.settings.budgets import RedisConfig
from gateway.stores.budget_books import NAME, book_of
from gateway.stores.file_budgets import FileBook
from gateway.stores.memory_budgets import MemoryBook
from gateway.stores.redis_budgets import RedisBook


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


async def test_redis_comes_first_then_the_folder_that_workers_share(tmp_path: Path) -> None:
    def heard(*told: Any) -> None:
        """Nobody spends here."""

    def clock() -> float:
        return 0.0

    redis = RedisConfig(url="redis://127.0.0.1:1")
    assert isinstance(book_of(None, None, clock, clock)(heard), MemoryBook)
    both = book_of(redis, tmp_path, clock, clock)(heard)
    assert isinstance(both, RedisBook)
    await both.close()
    assert names(tmp_path) == set()
    shared = book_of(None, tmp_path, clock, clock)(heard)
    assert isinstance(shared, FileBook)
    assert NAME in names(tmp_path)
    await shared.close()
