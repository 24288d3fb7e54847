"""A load balancer of TCP: who asks /ready, gives new connections to those that are, and leaves open ones alone."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.engine import raw
from tests.polling import tick, until

ROUND_S = 0.25


class Balancer:
    """`url` is its own. `gateways` are those that it asks, `ready` those that said yes when they were asked last."""

    def __init__(self) -> None:
        self.gateways: list[str] = []
        self.ready: list[str] = []
        self.url = ""
        self._turns = itertools.count()

    async def takes(self, gateway: str) -> None:
        """Add one, and wait until it is sent something."""
        self.gateways.append(gateway)
        await until(lambda: gateway in self.ready)

    async def look(self) -> None:
        """Ask again and again."""
        while True:
            asked = list(self.gateways)
            answers = await asyncio.gather(*map(self._says_yes, asked))
            self.ready[:] = [gateway for gateway, yes in zip(asked, answers, strict=True) if yes]
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=ROUND_S)

    async def _says_yes(self, gateway: str) -> bool:
        try:
            return (await raw.exchange(gateway, "GET", "/ready")).status == 200
        except (OSError, asyncio.IncompleteReadError):
            return False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its begin to its end."""
        other = await self._opened()
        await asyncio.gather(_pump(reader, other.writer), _pump(other.reader, writer))

    async def _opened(self) -> raw.Client:
        """A connection to one that is ready; who refuses it is not, and another one is tried."""
        while True:
            while not self.ready:
                await tick()
            with contextlib.suppress(ConnectionRefusedError):
                return await raw.Client.open(self.ready[next(self._turns) % len(self.ready)])
            await tick()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way. The end of one side is told to the other."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def balancer() -> AsyncIterator[Balancer]:
    """A running one, which knows no gateway yet."""
    made = Balancer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    looking = asyncio.create_task(made.look())
    try:
        yield made
    finally:
        looking.cancel()
        server.close()
        await asyncio.gather(looking, return_exceptions=True)
