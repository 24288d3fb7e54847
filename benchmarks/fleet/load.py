"""The load: an open loop that sends each request at its moment, whatever became of those before it.

python -m benchmarks.fleet.load, with a `Plan` as JSON on the first line of its input, and the moment (of
`time.monotonic`) when simulated time begins on the second; it prints what became of each request.
"""

import asyncio
import gc
import http.client
import json
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import uvloop

from benchmarks.fleet.clock import Alarm, Clock
from benchmarks.fleet.wire import LAST_CHUNK, WORD
from benchmarks.fleet.workload import WORKLOADS, Request, Texts, Workload, requests

AHEAD = 32
"""Bodies that are made before their moment, so that making them delays none."""


@dataclass(frozen=True)
class Plan:
    """What to send, where, and by which clock.

    `spread` is the field of a request that chooses among several ports; `session` the one that `x-session-id` names.

    When all have been sent, the engines' clock (at `control`) goes `hurry` times as fast: nothing is decided any more,
    and a backlog need not be waited for. Whatever has not ended `patience_s` real seconds later has failed.
    """

    workload: str
    seed: int
    ports: Sequence[int]
    scale: float
    control: int
    headers: Sequence[str] = ()
    spread: str = "number"
    session: str | None = None
    hurry: float = 5.0
    patience_s: float = 60.0
    hold_s: float | None = None

    def chosen(self) -> Workload:
        """The workload, held for as long as this plan says."""
        workload = WORKLOADS[self.workload]
        return workload if self.hold_s is None else replace(workload, hold_s=self.hold_s)


@dataclass
class Seen:
    """What became of a request: when it was due, how late it was sent, when its first token came (real seconds)."""

    request: Request
    due: float
    sent: float = 0.0
    first: float | None = None
    failure: str | None = "unfinished"


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    """One exchange with the engines' control."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body))
        return json.loads(connection.getresponse().read())


class Client(asyncio.Protocol):
    """One connection to a gateway, which carries one answer after the other."""

    def __init__(self, load: "Load", port: int) -> None:
        self._load, self._port = load, port
        self._transport: asyncio.Transport
        self._seen: Seen | None = None
        self._got = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._socket: socket.socket = transport.get_extra_info("socket")

    def ask(self, seen: Seen, request: bytes) -> None:
        """Send a request."""
        self._seen = seen
        self._got.clear()
        seen.sent = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        # Without this, a gateway that writes twice waits for an acknowledgement that is delayed by 40 real ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        seen, got = self._seen, self._got
        if seen is None:
            self._transport.abort()
            return
        got += data
        if seen.first is None and WORD in got:
            seen.first = time.monotonic()
        if not got.startswith(b"HTTP/1.1 200"):
            self._end(bytes(got[:300]).decode(errors="replace"))
        elif got.endswith(LAST_CHUNK):
            self._end(wrong(bytes(got), self._load.words))

    def _end(self, failure: str | None) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            seen.failure = failure
            self._load.ended(self, self._port, failure)

    def abort(self) -> None:
        """Leave."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self, self._port)
        self._end(f"the connection was closed: {exc}")


def wrong(answer: bytes, words: int) -> str | None:
    """What is wrong with a whole answer; None: nothing."""
    found = answer.count(WORD)
    if found != words:
        return f"{found} of {words} words"
    return None if b"data: [DONE]" in answer else "no [DONE]"


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self._plan, self._loop = plan, loop
        self.clock = Clock(0.0, plan.scale)
        self.workload = plan.chosen()
        self.words = self.workload.output_tokens
        self.seen = [Seen(each, 0.0) for each in requests(self.workload, plan.seed)]
        self._texts = Texts(self.workload, plan.seed)
        self._idle: dict[int, list[Client]] = {port: [] for port in plan.ports}
        self._ready: deque[tuple[Seen, int, bytes]] = deque()
        self._next = self._open = 0
        self._sent, self._done = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(loop, self._due)
        self._prepare()

    async def run(self, origin: float) -> None:
        """Send everything, hurry, and wait for the rest."""
        self.clock = Clock(origin, self._plan.scale)
        for seen in self.seen:
            seen.due = self.clock.real(seen.request.at)
        self._alarm.set(self._ready[0][0].due)
        await self._sent.wait()
        # The last request shall have reached its engine, by a slow gateway too.
        await asyncio.sleep(0.1)
        scale = self._plan.scale * self._plan.hurry
        changed = await asyncio.to_thread(ask, self._plan.control, "POST", "/_fleet/rescale", {"scale": scale})
        self.clock.rescale(**changed)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), self._plan.patience_s)

    def _prepare(self) -> None:
        while len(self._ready) < AHEAD and self._next < len(self.seen):
            seen = self.seen[self._next]
            self._next += 1
            port = self._plan.ports[getattr(seen.request, self._plan.spread) % len(self._plan.ports)]
            body = self._texts.body(seen.request)
            lines = [
                "POST /v1/chat/completions HTTP/1.1", "host: bench", "content-type: application/json",
                f"content-length: {len(body)}", *self._plan.headers,
            ]  # fmt: skip
            if self._plan.session is not None:
                lines.append(f"x-session-id: {self._plan.session}-{getattr(seen.request, self._plan.session)}")
            self._ready.append((seen, port, "\r\n".join([*lines, "", ""]).encode() + body))

    def _due(self) -> None:
        now = time.monotonic()
        while self._ready and self._ready[0][0].due <= now:
            seen, port, request = self._ready.popleft()
            self._open += 1
            if self._idle[port]:
                self._idle[port].pop().ask(seen, request)
            else:
                task = self._loop.create_task(self._connect(seen, port, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._prepare()
        if self._ready:
            self._alarm.set(self._ready[0][0].due)
        else:
            self._sent.set()

    async def _connect(self, seen: Seen, port: int, request: bytes) -> None:
        try:
            _, client = await self._loop.create_connection(lambda: Client(self, port), "127.0.0.1", port)
        except OSError as error:
            seen.failure = f"no connection: {error}"
            self._count()
        else:
            client.ask(seen, request)

    def ended(self, client: Client, port: int, failure: str | None) -> None:
        """An answer has ended; its connection carries the next one when all was well."""
        if failure is None:
            self._idle[port].append(client)
        else:
            client.abort()
        self._count()

    def lost(self, client: Client, port: int) -> None:
        """A connection is closed."""
        if client in self._idle[port]:
            self._idle[port].remove(client)

    def _count(self) -> None:
        self._open -= 1
        if self._sent.is_set() and not self._open:
            self._done.set()

    def report(self) -> dict[str, Any]:
        """Per request: number, whether it is measured, simulated TTFT and lateness, failure."""
        at = self.clock.simulated
        return {
            "workload": asdict(self.workload),
            "requests": [
                (
                    seen.request.number,
                    seen.request.measured,
                    None if seen.first is None else at(seen.first) - seen.request.at,
                    at(seen.sent) - seen.request.at,
                    seen.failure,
                )
                for seen in self.seen
            ],
        }


async def _main() -> None:
    load = Load(Plan(**json.loads(sys.stdin.readline())), asyncio.get_running_loop())
    gc.freeze()
    gc.disable()
    await load.run(float(sys.stdin.readline()))
    print(json.dumps(load.report()))


if __name__ == "__main__":
    uvloop.run(_main())
