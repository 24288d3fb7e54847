"""A reading that is asked for, awaited, and remembered where it was refused."""

import asyncio

import pytest

from gateway.admin.errors import StoreAway
from gateway.admin.reloads import Reloads
from gateway.config import Deployment
from tests.gateway.builders import deployment
from tests.polling import until


class House:
    """What was taken, and what comes of the next one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.mistakes = ""
        self.refusal: str | None = None
        self.reloads = Reloads(self.asked, lambda: self.mistakes, lambda: 5.0)
        self.noted = self.reloads.noting(self._take)

    async def _take(self, found: Deployment | None) -> str | None:
        return self.refusal


async def test_whoever_asks_waits_until_it_is_read() -> None:
    house = House()
    waiting = asyncio.create_task(house.reloads.now())
    await until(house.asked.is_set)
    await house.noted(deployment())  # one that began before anybody asked
    assert not waiting.done()
    house.asked.clear()
    await house.noted(deployment())
    await waiting
    assert house.reloads.refusal is None


async def test_a_refusal_stays_until_what_is_written_serves() -> None:
    house = House()
    house.refusal, house.mistakes = "it does not validate", "line 1: no"
    await house.noted(None)
    assert house.reloads.refusal is not None
    assert (house.reloads.refusal.at, house.reloads.refusal.reason) == (5.0, "line 1: no")
    house.refusal, house.mistakes = "prices have another version", ""
    await house.noted(deployment())
    assert house.reloads.refusal.reason == "prices have another version"
    house.refusal = None
    await house.noted(deployment())
    assert house.reloads.refusal is None


async def test_nobody_waits_for_ever() -> None:
    house = House()
    with pytest.raises(StoreAway, match="waits for the database"):
        await house.reloads.now(0.01)
    house.asked.clear()
    await house.noted(deployment())  # whoever waited is gone
