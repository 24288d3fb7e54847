"""The gateway's HTTP server around tiny applications, and a client that says and reads exact bytes."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httptools
import uvicorn

from gateway.server.limits import DEFAULTS, Limits
from gateway.server.protocol import Direct, HttpProtocol

SECONDS = 30.0
GET = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"
App = Callable[[Any, Any, Any], Awaitable[None]]


def post(body: bytes, *headers: bytes, path: bytes = b"/a") -> bytes:
    """A request with a body of a known length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST %b HTTP/1.1\r\nhost: h\r\n%bcontent-length: %d\r\n\r\n%b" % (path, lines, len(body), body)


async def body_of(receive: Any) -> bytes | None:
    """The whole body; None when the client left first."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            return body
    return None


async def say(send: Any, *pieces: bytes, status: int = 200, headers: Any = ()) -> None:
    """A whole answer; in one piece with its length, when there is one."""
    length = [(b"content-length", b"%d" % len(pieces[0]))] if len(pieces) == 1 else []
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": pieces[-1]})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what was asked."""
    body = await body_of(receive)
    asked = {name: scope[name] for name in ("method", "path", "http_version")} | {
        "raw_path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": None if body is None else body.decode("latin-1"),
    }
    await say(send, json.dumps(asked).encode())


class Answers:
    """What a server said, read as HTTP."""

    def __init__(self) -> None:
        self.done: deque[tuple[int, dict[bytes, bytes], bytes]] = deque()
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        """Another answer."""
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """None comes twice."""
        assert name not in self._headers
        self._headers[name] = value

    def on_body(self, body: bytes) -> None:
        """A piece."""
        self._body += body

    def on_message_complete(self) -> None:
        """Whole."""
        self.done.append((self.parser.get_status_code(), self._headers, self._body))


class Talk:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._answers = Answers()

    def say(self, *pieces: bytes) -> None:
        """Send bytes, to a server that may have closed."""
        for piece in pieces:
            if not self.writer.is_closing():
                self.writer.write(piece)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """(status, headers, body) of the next answer; 100 is one."""
        while not self._answers.done:
            data = await asyncio.wait_for(self.reader.read(65_536), SECONDS)
            assert data, "the server closed"
            self._answers.parser.feed_data(data)
        return self._answers.done.popleft()

    async def exactly(self, expected: bytes) -> None:
        """The server says these bytes next."""
        said = await asyncio.wait_for(self.reader.readexactly(len(expected)), SECONDS)
        assert said == expected

    async def rest(self) -> bytes:
        """What the server says until it closes, in order or not."""
        said = b""
        while True:
            try:
                data = await asyncio.wait_for(self.reader.read(65_536), SECONDS)
            except ConnectionResetError:
                return said
            if not data:
                return said
            said += data

    def cut(self) -> None:
        """Leave at once."""
        self.writer.transport.abort()


class Site:
    """A running server."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server = server
        self.port = port
        self.state = server.server_state
        self.url = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def talk(self, said: bytes = b"", **options: Any) -> AsyncIterator[Talk]:
        """A connection, with these bytes on their way."""
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        try:
            talk.say(said)
            yield talk
        finally:
            talk.cut()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the server does by itself."""
        async with asyncio.timeout(SECONDS):
            while not condition():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    async def passes(self, seconds: float) -> None:
        """Let a limit of the server's pass, to see that nothing comes of it."""
        loop = asyncio.get_running_loop()
        later = loop.time() + seconds
        await self.until(lambda: loop.time() > later)

    async def empty(self) -> None:
        """Wait until nothing is left of any connection."""
        await self.until(lambda: not self.state.connections and not self.state.tasks)


@asynccontextmanager
async def site(
    app: App, *, direct: Direct | None = None, limits: Limits = DEFAULTS, sockets: Any = None, **options: Any
) -> AsyncIterator[Site]:
    """An application behind the server, which at the end has no connection and no task left. `http`: another server."""
    options = {"log_level": "critical", "lifespan": "off", "proxy_headers": False, "server_header": False, **options}
    options.setdefault("http", partial(HttpProtocol, limits=limits, direct=direct))
    config = uvicorn.Config(app, port=0, **options)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets)
    await server.on_tick(0)  # sets the date
    names = [listener.getsockname() for listener in server.servers[0].sockets]
    running = Site(server, names[0][1] if isinstance(names[0], tuple) else 0)
    try:
        yield running
        await running.empty()
    finally:
        for listening in server.servers:
            listening.close()
        for task in list(server.server_state.tasks):
            task.cancel()
