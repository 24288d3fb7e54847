"""Clients that follow a script, on the network of `virtual`; what each of them saw is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine import raw
from tests.gateway import tallies
from tests.gateway.tallies import Event
from tests.gateway.virtual import join, pause, turns


@dataclass(frozen=True)
class Visit:
    """One request of one client, and what the client does meanwhile.

    It comes at `arrives` and leaves after `leaves` seconds, or after `reads` pieces of a body; with `half` it sends
    half a body. `pace` is how slowly it takes what it is sent. Through the `server`, or as another server would call.
    """

    path: str
    stream: bool
    usage: bool
    continuous: bool
    tokens: int
    arrives: float
    leaves: float | None
    reads: int | None
    half: bool
    pace: tuple[int, float] | None
    server: bool

    @property
    def stays(self) -> bool:
        """Whether it waits for the whole answer, and takes it as it comes."""
        return self.leaves is None and self.reads is None and not self.half and self.pace is None

    def said(self, mark: str) -> list[Event]:
        """All that an engine has to say to it."""
        if not self.stream:
            return [tallies.whole(self.path, mark, self.tokens)]
        return tallies.events(self.path, mark, self.tokens, usage=self.usage, continuous=self.usage and self.continuous)


@dataclass
class Seen:
    """What a client got. `whole`: to its end; `left`: it went before. `watched`: after its answer somebody waits for it
    to leave."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: int = 0
    whole: bool = False
    left: bool = False
    watched: bool = False


App = Callable[[Any, Any, Any], Awaitable[None]]


async def visit(plan: Visit, app: App, server: Callable[[], asyncio.Protocol], key: str) -> Seen:
    """Play a client's part; returns once the gateway has done with it, or it with the gateway."""
    await pause(plan.arrives)
    body, kind = tallies.ask(plan.path, stream=plan.stream, usage=plan.usage, continuous=plan.continuous)
    headers = {"authorization": f"Bearer {key}", "content-type": kind}
    seen = Seen()
    try:
        async with asyncio.timeout(plan.leaves):
            await (
                _by_server(plan, body, headers, server, seen) if plan.server else _call(plan, body, headers, app, seen)
            )
    except TimeoutError:
        seen.left = True
    return seen


async def _by_server(
    plan: Visit, body: bytes, headers: dict[str, str], server: Callable[[], asyncio.Protocol], seen: Seen
) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    wire, far = join(protocol, server())
    wire.pace, far.high_water = plan.pace, 64
    client = raw.Client(reader, asyncio.StreamWriter(wire, protocol, reader, asyncio.get_running_loop()), "x")
    try:
        if plan.half:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"POST {plan.path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(body)}\r\n\r\n"
            wire.write(head.encode() + body[:-1])
            await turns(plan.reads or 0)
            seen.left = True
            return
        await client.send("POST", plan.path, body, headers)
        await _read(plan, client, seen)
    except (asyncio.IncompleteReadError, ConnectionError):
        return  # cut
    finally:
        wire.abort()


async def _read(plan: Visit, client: raw.Client, seen: Seen) -> None:
    answer = await client.head()
    seen.status, seen.headers = answer.status, dict(answer.headers)
    if (length := seen.headers.get("content-length")) is not None:
        if plan.reads == 0:
            seen.left = True
            return
        seen.body = await client.reader.readexactly(int(length))
        seen.whole = True
        return
    while True:
        if seen.pieces == plan.reads:
            seen.left = True
            return
        piece = await client.chunk()
        if not piece:
            seen.whole = True
            return
        seen.pieces += 1
        seen.body += piece


async def _call(plan: Visit, body: bytes, headers: dict[str, str], app: App, seen: Seen) -> None:
    """As a server does that knows nothing of the gateway's link."""
    gone = asyncio.Event()
    waiting: list[asyncio.Event] = []
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body[:-1], "more_body": True}]
    if not plan.half:
        messages.append({"type": "http.request", "body": body[-1:], "more_body": False})

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if plan.half:
            gone.set()
        waiting.append(gone)
        try:
            await gone.wait()
        finally:
            waiting.pop()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if plan.pace is not None:
            await pause(plan.pace[1])
        await turns(1)
        if gone.is_set():
            return
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            seen.body += message["body"]
            seen.pieces += bool(message["body"])
            seen.whole = not message.get("more_body")
        if plan.reads is not None and seen.pieces >= plan.reads and not seen.whole:
            gone.set()

    scope = {"type": "http", "method": "POST", "path": plan.path, "headers": _raw(headers)}
    running = asyncio.ensure_future(app(scope, receive, send))
    try:
        await asyncio.shield(running)
        await turns(2)
        seen.watched = bool(waiting)
    finally:
        gone.set()
        await running
        seen.left = not seen.whole and (seen.left or plan.reads is not None or plan.half)


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
