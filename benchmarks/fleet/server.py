"""The simulated engines as HTTP servers, each on a port of its own: python -m benchmarks.fleet.server COUNT

It prints its ports, and ends with its input. `POST /_fleet/begin` empties all engines and sets the clock, `/rescale`
changes its scale, and `GET /_fleet/log` tells each request that was answered.
"""

import asyncio
import gc
import json
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
import msgspec
import uvloop

from benchmarks.fleet import wire
from benchmarks.fleet.clock import Alarm, Clock
from benchmarks.fleet.model import BLOCK_TOKENS, Happening, Job, Replica, Speed
from benchmarks.fleet.workload import TOKEN_CHARS, blocks, number_of

BLOCK_CHARS = BLOCK_TOKENS * TOKEN_CHARS
UNSAID_OUTPUT = 16


@dataclass(eq=False)
class Stream:
    """Where the answer of a job goes."""

    connection: "Connection"
    chat: wire.Chat
    engine: int
    told: int = 0


class Fleet:
    """All engines, their one clock, and the answers that are under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, speed: Speed) -> None:
        self.speed, self.count = speed, count
        self._alarm = Alarm(loop, self.ring)
        self._set_for: float | None = None
        self.begin(Clock(time.monotonic(), 10.0))

    def begin(self, clock: Clock) -> None:
        """Engines with empty caches, and a clock of their own."""
        self.clock = clock
        self.replicas = [Replica(self.speed) for _ in range(self.count)]
        self.streams: dict[Job, Stream] = {}
        self.log: list[tuple[int, int, float, float, float, float, int, int]] = []
        self.late: list[float] = []
        self.asked: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._arm()

    def rescale(self, scale: float) -> dict[str, float]:
        """From now on, another scale; returns when that was."""
        real = time.monotonic()
        self.clock.rescale(real, scale)
        self._set_for = None
        self._arm()
        return {"real": real, "scale": scale}

    def arrive(self, engine: int, chat: wire.Chat, connection: "Connection") -> None:
        """A request has come. Raises ValueError: its prompt can never fit."""
        text = "".join(chat.contents)
        output = chat.max_completion_tokens or chat.max_tokens or UNSAID_OUTPUT
        hashes = list(blocks(text, BLOCK_CHARS))
        job = Job(number_of(chat.contents), self.clock.now(), max(1, -(-len(text) // TOKEN_CHARS)), output, hashes)
        happened = self.replicas[engine].arrive(job)
        self.streams[job] = connection.stream = Stream(connection, chat, engine)
        self._tell(happened)
        self._arm()

    def leave(self, stream: Stream) -> None:
        """A client that leaves gets no more; its job goes on, which no run that counts contains."""
        self.streams = {job: other for job, other in self.streams.items() if other is not stream}

    def ring(self) -> None:
        """Tell everything that has happened."""
        now, due = self.clock.now(), self._set_for
        if due is not None:
            self.late.append(now - due)
        for replica in self.replicas:
            if replica.next_at is not None and replica.next_at <= now:
                self._tell(replica.advance(now))
        self._set_for = None
        self._arm()

    def _arm(self) -> None:
        due = min((replica.next_at for replica in self.replicas if replica.next_at is not None), default=None)
        if due != self._set_for:
            self._set_for = due
            self._alarm.set(None if due is None else self.clock.real(due))

    def _tell(self, happened: list[Happening]) -> None:
        for happening in happened:
            job = happening.job
            stream = self.streams.get(job)
            if stream is None:
                continue
            ends = happening.tokens == job.output_tokens
            if stream.chat.stream:
                head = b"" if stream.told else wire.HEAD
                stream.connection.send(head + wire.events(happening, stream.told, stream.chat.stream_options or _PLAIN))
                stream.told = happening.tokens
            elif ends:
                stream.connection.send(wire.whole(happening))
            if ends:
                del self.streams[job]
                stream.connection.stream = None
                moments = (job.arrived, job.started, job.first, job.finished)
                self.log.append((job.number, stream.engine, *moments, job.prompt_tokens, job.cached_tokens))


_PLAIN = wire.Options()


class Connection(asyncio.Protocol):
    """One connection to one engine; requests on it follow one another."""

    def __init__(self, fleet: Fleet, engine: int) -> None:
        self._fleet, self._engine = fleet, engine
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body = b"", bytearray()
        self._transport: asyncio.Transport
        self.stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._socket: socket.socket = transport.get_extra_info("socket")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self._fleet.leave(self.stream)

    def data_received(self, data: bytes) -> None:
        # A router that writes head and body apart would wait 40 ms for an acknowledgement, which is 40 · scale here.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # Such as the beginning of HTTP/2: SGLang's router tries whether an engine speaks gRPC.
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path, body = httptools.parse_url(self._url).path.decode(), bytes(self._body)
        self._url = b""
        self._body.clear()
        if path in ("/v1/chat/completions", "/v1/completions"):
            self._generate(body)
        elif path in wire.PAGES:
            self.send(wire.PAGES[path])
        elif path in wire.ABOUT_TOKENS:
            self._fleet.asked[path] += 1
            self.send(wire.ABOUT_TOKENS[path](wire.decode(body)))
        elif path == "/metrics":
            self.send(wire.metrics(self._fleet.replicas[self._engine]))
        else:
            self._control(path, body)

    def _generate(self, body: bytes) -> None:
        try:
            self._fleet.arrive(self._engine, wire.decode(body), self)
        except (msgspec.DecodeError, ValueError) as error:
            said = {"error": {"message": str(error), "type": "BadRequestError", "param": None, "code": 400}}
            self.send(wire.page(json.dumps(said).encode(), "400 Bad Request"))

    def _control(self, path: str, body: bytes) -> None:
        fleet = self._fleet
        answer: Any = None
        if path == "/_fleet/begin":
            fleet.begin(Clock(**json.loads(body)))
            answer = {}
        elif path == "/_fleet/rescale":
            answer = fleet.rescale(**json.loads(body))
        elif path == "/_fleet/log":
            answer = {
                "log": fleet.log,
                "late": fleet.late,
                "unknown": fleet.unknown,
                "asked": fleet.asked,
                "open": len(fleet.streams),
            }
        else:
            fleet.unknown[path] += 1
        self.send(wire.MISSING if answer is None else wire.page(json.dumps(answer).encode()))

    def send(self, data: bytes) -> None:
        """Write, as far as the other side still reads."""
        if not self._transport.is_closing():
            self._transport.write(data)


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    fleet = Fleet(loop, count, Speed())
    servers: list[Any] = []
    for number in range(count):
        servers.append(await loop.create_server(partial(Connection, fleet, number), "127.0.0.1", 0))
    print(json.dumps({"ports": [server.sockets[0].getsockname()[1] for server in servers]}), flush=True)
    # Garbage is counted away by references here; a collection in between would be a pause of many simulated ms.
    gc.freeze()
    gc.disable()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
