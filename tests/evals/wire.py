"""Servers that send exactly the bytes they are told to, and a pool of connections to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

from evals.http1 import Pool, Response

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKED = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 12\r\n\r\n"
CLOSE = None
"""In a script: the server closes the connection here."""

Script = list[bytes | None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that answers the n-th request of a connection with the n-th entry of that connection's script."""

    def __init__(self, *connections: Script) -> None:
        self.scripts = list(connections)
        self.opened = 0
        self.requests: list[bytes] = []
        self.ended = 0
        self.open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.opened, len(self.scripts) - 1)]
        self.opened += 1
        self.open.append(writer)
        try:
            for step in script:
                if step is CLOSE:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(step)
            else:
                await reader.read()  # until the client goes
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        self.ended += 1
        writer.close()


@asynccontextmanager
async def calling(serve: Serve, *, connections: int = 1, path: str = "/v1") -> AsyncIterator[Pool]:
    opened: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await serve(reader, writer)

    listening = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with Pool(urlsplit(f"http://127.0.0.1:{port}{path}"), connections=connections) as pool:
            yield pool
    finally:
        listening.close()
        for writer in opened:
            writer.close()


def serving(server: Scripted, *, connections: int = 4, path: str = "/v1") -> AbstractAsyncContextManager[Pool]:
    return calling(server.serve, connections=connections, path=path)


async def ask(pool: Pool, body: bytes = b"{}", timeout_s: float = 5.0) -> Response:
    return await pool.request(pool.head("POST", "/x", {"X-Key": "k"}), body, timeout_s)


async def answer_to(*steps: bytes | None) -> Response:
    async with serving(Scripted(list(steps))) as pool:
        return await ask(pool)
