"""Servers that answer with given bytes, and a transport that is no socket: what an engine may do to its client."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.resolving import Name
from gateway.upstreams.http1 import Address, Connection
from gateway.upstreams.pool import Pool

ASK = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n"
SECONDS = 30.0
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """The URL of a server that answers each connection with the handler, and ends it then."""
    serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[asyncio.current_task()] = writer
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, options.pop("host", "127.0.0.1"), 0, **options)
    host, port = listening.sockets[0].getsockname()[:2]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        listening.close()
        for writer in serving.values():
            if not writer.is_closing():
                writer.transport.abort()
        await asyncio.gather(*(task for task in serving if task is not None))
        await listening.wait_closed()


@contextmanager
def beside(handler: Handler) -> Iterator[str]:
    """The URL of such a server that answers while a command runs in this thread."""
    loop, url, started = asyncio.new_event_loop(), list[str](), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with server(handler) as address:
            url.append(address)
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield url[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def says(answer: bytes, *, stay: bool = False) -> Handler:
    """A handler that answers one request with these bytes; with `stay` the client ends the connection."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if stay:
            await reader.read()

    return handler


class Wire(asyncio.Transport):
    """A transport whose bytes arrive when the test hands them to the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False
        self.reading = True

    def write(self, data: Any) -> None:
        """Nothing is on the other side."""

    def abort(self) -> None:
        """The end."""
        self.ended = True

    def get_write_buffer_size(self) -> int:
        """Everything is sent."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was ended."""
        return self.ended

    def pause_reading(self) -> None:
        """No more bytes are wanted."""
        self.reading = False

    def resume_reading(self) -> None:
        """Bytes are wanted again."""
        self.reading = True


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """(certificate, key) in PEM of a server that vouches for itself."""
    private, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return certificate, key


def post(body: bytes) -> bytes:
    """A request for a text completion."""
    head = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def pool(url: str, **changes: Any) -> Pool:
    """Connections to one engine."""
    return Pool(url, **{"connect_s": SECONDS, **changes})


@asynccontextmanager
async def asking(url: str, data: bytes = ASK, **changes: Any) -> AsyncIterator[Connection]:
    """A connection with a request on its way to a URL."""
    connection = pool(url, **changes).take()
    connection.send(data)
    try:
        yield connection
    finally:
        connection.shut()


async def rest(connection: Connection) -> bytes:
    """What is left of the body."""
    body = b""
    while piece := await connection.read(SECONDS):
        body += piece
    return body


def wired() -> tuple[Connection, Wire]:
    """A connection with a request on its way to nowhere."""
    connection, wire = Connection(Address(Name("h", 1), max_head_bytes=1000), lambda _: None), Wire()
    connection.connection_made(wire)
    connection.send(ASK)
    return connection, wire


async def exchange(connection: Connection) -> tuple[int, bytes]:
    """(status, body) of the answer."""
    return await connection.head(SECONDS), await rest(connection)


def pages(answers: Mapping[str, tuple[int, bytes]]) -> Handler:
    """A handler that answers each path with the (status, body) of now, and any other one with 404."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        status, body = answers.get(asked.split()[1].decode(), (404, b'{"detail":"Not Found"}'))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        await reader.read()

    return handler
