"""Clients that ask for an answer and leave before they have it."""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable

TOKENS = 12
CONNECTIONS = 48
"""How many of them are there at a time."""
MOMENTS = ("in the head", "in the body", "at once", "after a while", "after a while", "after pieces", "at the end")


class Clients:
    """Those who ask and leave. `answered` is how many saw the head of an answer, `moments` when how many left.

    `step_s` is what an engine takes for a token, and so the measure of a random moment.
    """

    def __init__(self, port: int, key: str, requests: int, step_s: float, draw: random.Random) -> None:
        self._port, self._key, self._step_s, self._draw = port, key, step_s, draw
        self._left = requests
        self._done = 0
        self.moments: Counter[str] = Counter()
        self.answered = 0

    async def run(self, tick: Callable[[int], None]) -> None:
        """All of them, so many at a time; `tick` is told how many are done."""
        await asyncio.gather(*(self._one_after_the_other(tick) for _ in range(CONNECTIONS)))

    async def _one_after_the_other(self, tick: Callable[[int], None]) -> None:
        while self._left:
            self._left -= 1
            moment = self._draw.choice(MOMENTS)
            self.moments[moment] += 1
            async with self._connection() as (reader, writer):
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self._visit(moment, reader, writer)
            self._done += 1
            tick(self._done)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        if self._draw.random() < 0.5:  # half of them leave with a reset
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _visit(self, moment: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, head_bytes = self._request()
        if moment == "in the head":
            writer.write(request[: self._draw.randrange(head_bytes)])
            return
        if moment == "in the body":
            writer.write(request[: self._draw.randrange(head_bytes, len(request))])
            return
        writer.write(request)
        if moment == "at once":
            return
        if moment == "after a while":
            await asyncio.sleep(self._draw.random() * self._step_s * TOKENS * 2)
            return
        await reader.readuntil(b"\r\n\r\n")
        self.answered += 1
        if moment == "after pieces":
            for _ in range(self._draw.randint(0, TOKENS)):
                await reader.readuntil(b"\n")
        else:
            await reader.read()

    def _request(self) -> tuple[bytes, int]:
        """(a request, the length of its head)."""
        words = " ".join("word" for _ in range(TOKENS))
        asked = {"model": "faq", "messages": [{"role": "user", "content": words}], "stream": self._draw.random() < 0.6}
        body = json.dumps(asked).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode()
        return head + body, len(head)
