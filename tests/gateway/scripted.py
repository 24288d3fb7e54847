"""Engines that follow a script, on the network of `virtual`; what each of them saw is kept."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.gateway.tallies import Count, Event
from tests.gateway.virtual import Wire, pause, turns
from tests.gateway.visits import Visit

REFUSALS = {"503": 503, "500": 500, "429": 429, "400": 400, "404": 404, "flat": 200, "nested": 200}
STRIKES = ("close", "reset", "stall", "garbage", "not_json", "error", "mistake")
WELL = ("answers", "hangs_up", "says_close")
KINDS = (*WELL, *REFUSALS, *STRIKES, "unfinished")
OUTCOMES = {
    **dict.fromkeys(("400", "flat", "mistake"), "invalid_request"),
    **dict.fromkeys(("503", "429"), "upstream_overloaded"),
    "stall": "upstream_timeout",
}
"""What becomes of a request at the worst; `upstream_failed` for every other kind."""
CONNECTS = ("accepts", "refuses", "hangs")


@dataclass(frozen=True)
class Behaviour:
    """What a replica does with one request. `at` is after how many events a strike comes; below 0, before the head.

    `wait` and `gap` are seconds before the head and between events; `cut` is how many bytes it writes at a time.
    """

    kind: str
    at: int
    wait: float
    gap: float
    cut: int


@dataclass
class Exchange:
    """One request as a replica saw it. `ends` are the bytes that the gateway has to get until each event is whole."""

    request_id: str
    replica: str
    mark: str
    kind: str
    events: Sequence[Event]
    wire: Wire
    ends: list[int] = field(default_factory=list)
    over_at: int | None = None

    @property
    def told(self) -> int:
        """How many events have reached the gateway."""
        delivered = self.wire.delivered if self.over_at is None else min(self.over_at, self.wire.delivered)
        return sum(end <= delivered for end in self.ends)

    @property
    def count(self) -> Count:
        """What the gateway was told of the usage."""
        return self.events[self.told - 1].count if self.told else None


class Engine:
    """One replica: `connects` and `behaviours` are what it does next, over and over."""

    def __init__(
        self, name: str, connects: Iterator[str], behaviours: Iterator[Behaviour], visits: Sequence[Visit]
    ) -> None:
        self.name, self.connects, self.behaviours, self.visits = name, connects, behaviours, visits
        self.exchanges: list[Exchange] = []
        self.running = self.connected = 0

    async def accept(self) -> asyncio.Protocol:
        """Take a connection, or do not."""
        match next(self.connects):
            case "refuses":
                raise ConnectionRefusedError
            case "hangs":
                await asyncio.get_running_loop().create_future()
        await turns(1)
        return _Connection(self)


class _Connection(asyncio.Protocol):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.received = b""
        self.written = 0
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire: Wire = transport  # type: ignore[assignment]
        self.engine.connected += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.connected -= 1
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) == int(headers[b"content-length"]):
            self.received = b""
            self.task = asyncio.create_task(self._serve(headers[b"x-request-id"].decode()))

    async def _serve(self, request_id: str) -> None:
        engine = self.engine
        engine.running += 1
        visit, behaviour = engine.visits[int(request_id)], next(engine.behaviours)
        mark = f"{engine.name}/{len(engine.exchanges)}"
        events = visit.said(mark)
        exchange = Exchange(request_id, engine.name, mark, behaviour.kind, events, self.wire.peer)
        engine.exchanges.append(exchange)
        try:
            if behaviour.wait:
                await pause(behaviour.wait)
            await self._answer(visit, behaviour, exchange)
        finally:
            engine.running -= 1
            exchange.over_at = self.written

    async def _answer(self, visit: Visit, behaviour: Behaviour, exchange: Exchange) -> None:
        kind = behaviour.kind
        if kind in REFUSALS:
            await self._plain(REFUSALS[kind], _refusal(kind), behaviour)
        elif behaviour.at < 0 and kind in STRIKES:
            await self._strike(behaviour, b"")
        elif visit.stream:
            await self._stream(behaviour, exchange)
        else:
            await self._one(behaviour, exchange)
        if kind == "hangs_up":
            self.wire.close()

    async def _write(self, data: bytes, cut: int) -> None:
        """Piece by piece, each of them for itself."""
        for at in range(0, len(data), cut or len(data)):
            piece = data[at : at + cut] if cut else data
            self.wire.write(piece)
            self.written += len(piece)
            await turns(1)

    async def _plain(self, status: int, body: bytes, behaviour: Behaviour) -> None:
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n" % status
        head += b"connection: close\r\n" if behaviour.kind == "says_close" else b""
        await self._write(head + b"content-length: %d\r\n\r\n" % len(body) + body, behaviour.cut)

    async def _one(self, behaviour: Behaviour, exchange: Exchange) -> None:
        (event,) = exchange.events
        if behaviour.kind in ("not_json", "error", "mistake"):
            await self._plain(200, _refusal(behaviour.kind), behaviour)
            return
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(event.sent)
        if behaviour.kind in STRIKES:
            await self._strike(behaviour, head + event.sent[: len(event.sent) // 2])
            return
        if behaviour.kind == "unfinished":
            await self._write(head + event.sent[:-1], behaviour.cut)
            self.wire.close()
            return
        # Told before it is written: a client that leaves ends this task in the middle.
        size = len(head) + len(event.sent)
        exchange.ends.append(self.written + size)
        await self._write(head + event.sent, behaviour.cut)
        if behaviour.kind == "says_close":
            self.wire.close()

    async def _stream(self, behaviour: Behaviour, exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
        head += b"connection: close\r\n" if behaviour.kind == "says_close" else b""
        await self._write(head + b"\r\n", behaviour.cut)
        struck = behaviour.kind in STRIKES
        events = exchange.events[:-1] if behaviour.kind == "unfinished" else exchange.events
        for event in events[: behaviour.at] if struck else events:
            size = b"%x\r\n" % len(event.sent)
            exchange.ends.append(self.written + len(size) + len(event.sent))
            await self._write(size + event.sent + b"\r\n", behaviour.cut)
            if behaviour.gap:
                await pause(behaviour.gap)
        if struck:
            await self._strike(behaviour, b"")
        else:
            await self._write(b"0\r\n\r\n", behaviour.cut)

    async def _strike(self, behaviour: Behaviour, before: bytes) -> None:
        """What ends an answer early; `before` is what it still says."""
        if before:
            await self._write(before, behaviour.cut)
        match behaviour.kind:
            case "close":
                self.wire.close()
            case "reset":
                await turns(4)
                self.wire.abort()
            case "stall":
                await asyncio.get_running_loop().create_future()
            case "garbage":
                await self._write(b"\x16\x03\x01 no HTTP\r\n\r\n", behaviour.cut)
                self.wire.close()
            case kind if behaviour.at < 0:
                await self._plain(200, _refusal(kind), behaviour)
            case kind:
                event = b"data: " + _refusal(kind) + b"\n\n"
                await self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event), behaviour.cut)


def _refusal(kind: str) -> bytes:
    if kind == "not_json":
        return b'{"id": '
    code = {"flat": 400, "mistake": 400, "nested": 500, "error": 500}.get(kind) or REFUSALS[kind]
    error = {"message": "scripted", "code": code}
    return json.dumps({"object": "error", **error} if kind == "flat" else {"type": "error", "error": error}).encode()
