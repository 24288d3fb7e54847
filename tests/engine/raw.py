"""An HTTP client that hides nothing: the bytes as they came, and where HTTP chunks ended."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass
class Answer:
    """One response. `chunks` are the HTTP chunks of a chunked body; `whole` is False when it was cut short."""

    status: int
    headers: list[tuple[str, str]]
    chunks: list[bytes] = field(default_factory=list)
    whole: bool = True

    @property
    def body(self) -> bytes:
        """The body, without chunk framing."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def events(self) -> list[bytes]:
        """The events of a stream, each with its blank line."""
        return [event + b"\n\n" for event in self.body.split(b"\n\n") if event]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader, self.writer, self._host = reader, writer, host

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `http://host:port`."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(reader, writer, parts.netloc)

    async def close(self) -> None:
        """End the connection; a broken one too."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> None:
        """Send a request. A body that is not bytes goes as JSON."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"host": self._host, **({"content-type": "application/json"} if data else {}), **(headers or {})}
        if method == "POST":
            given["content-length"] = str(len(data))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """The status and headers. Raises IncompleteReadError or ConnectionError when the engine is gone."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]
        return Answer(int(lines[0].split(" ")[1]), headers)

    async def chunk(self) -> bytes:
        """The next HTTP chunk; empty at the end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self) -> Answer:
        """A whole response, or as much of it as came."""
        answer = await self.head()
        try:
            if answer.header("transfer-encoding") == "chunked":
                while chunk := await self.chunk():
                    answer.chunks.append(chunk)
            else:
                answer.chunks.append(await self.reader.readexactly(int(answer.header("content-length") or 0)))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            answer.chunks.append(getattr(error, "partial", b""))
            answer.whole = False
        return answer


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """A connection that is closed at the end."""
    client = await Client.open(url)
    try:
        yield client
    finally:
        await client.close()


async def exchange(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request on a connection of its own."""
    async with connect(url) as client:
        await client.send(method, path, body, headers)
        return await client.answer()


async def post(url: str, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    """One POST on a connection of its own."""
    return await exchange(url, "POST", path, body, headers)
