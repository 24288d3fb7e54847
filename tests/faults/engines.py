"""The engines' simulator as a process of its own: one that can be killed, and that can stand still."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.engine import raw
from tests.polling import WITHIN_S

SIMULATOR = Path(__file__).resolve().parents[1] / "engine/simulator.py"


class EngineProcess:
    """`python tests/engine/simulator.py`, on the same port in each of its lives."""

    def __init__(self, *options: str) -> None:
        self.port, self._options = 0, options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(SIMULATOR), "--port", str(self.port), *self._options, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), WITHIN_S)).decode()
        self.port = int(line.strip().rpartition(":")[2])

    async def kill(self) -> None:
        """Its end, without a word."""
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP has it stand still, SIGCONT go on."""
        assert self._process is not None
        self._process.send_signal(number)

    async def fault(self, **fault: object) -> None:
        """Something to do wrong: see `tests.engine.faults`."""
        answer = await raw.post(self.url, "/_fault", fault)
        assert answer.status == 200, answer.body

    async def clear(self) -> None:
        """Nothing wrong any more."""
        assert (await raw.exchange(self.url, "DELETE", "/_fault")).status == 200


@asynccontextmanager
async def engines(count: int, *options: str) -> AsyncIterator[list[EngineProcess]]:
    """So many, each with the same options."""
    made = [EngineProcess(*options) for _ in range(count)]
    try:
        await asyncio.gather(*(each.start() for each in made))
        yield made
    finally:
        await asyncio.gather(*(each.kill() for each in made))
