"""Waiting for what happens in a thread or another process, without taking the processor from it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

WITHIN_S = 60.0
EVERY_S = 0.005


async def until(condition: Callable[[], Any | Awaitable[Any]], within_s: float = WITHIN_S) -> Any:
    """What the condition comes to, once that is true of it. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            held = condition()
            if inspect.isawaitable(held):
                held = await held
            if held:
                return held
            await tick()


async def tick() -> None:
    """One turn of a loop that looks again and again."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=EVERY_S)
