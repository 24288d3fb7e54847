"""Work that waits for a database: in a thread, one after the other, and a clear refusal when it is away."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from gateway.admin.errors import StoreAway
from tests.gateway.admin.desk import desk


async def test_one_after_the_other_in_a_thread(tmp_path: Path) -> None:
    house, at_once, seen = desk(tmp_path).house, threading.Semaphore(1), set[bool]()

    def work() -> int:
        seen.add(at_once.acquire(blocking=False))
        at_once.release()
        return threading.get_ident()

    found = await asyncio.gather(*(house.work(work) for _ in range(20)))
    assert threading.get_ident() not in found
    assert seen == {True}


async def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    house = desk(tmp_path).house

    def broken() -> None:
        raise OperationalError("SELECT secret", {}, Exception("no"))

    with pytest.raises(StoreAway, match="OperationalError") as error:
        await house.work(broken)
    assert "secret" not in error.value.message
    assert await house.work(lambda: 1) == 1
