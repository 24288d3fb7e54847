"""What a request costs inside the gateway: its steps one by one, and all of them together without sockets.

    python -m benchmarks.inside
    python -m benchmarks.inside --json

Each figure is the best of several, in microseconds of CPU time on a warm and idle core. Behind sockets
and under load the same code takes half as long again and more: these figures say where the time goes, not how fast the
gateway is. `whole` is a plain answer from the client's bytes in to the
client's bytes out; what the steps leave of it is the work of the two connections and of what ties the steps together.
`drain` comes after the answer: the spool's lines, the database and metrics, for each row.
"""

import argparse
import asyncio
import gc
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks import tollgate
from gateway import config
from gateway.app import Application, build
from gateway.cli.serving import NEW_OBJECTS
from gateway.policy.accounting import admit
from gateway.policy.auth import authenticate
from gateway.policy.endpoints import CHAT
from gateway.policy.fairness import Ticket
from gateway.policy.limits import told
from gateway.policy.metering import read_answer
from gateway.policy.request import parse, prepare
from gateway.policy.resolution import Asked, resolve
from gateway.policy.signals import Signals
from gateway.server.protocol import HttpProtocol
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.spool import decode
from gateway.telemetry import Telemetry
from gateway.upstreams.http1 import Connection

BODY = b'{"model":"bench","messages":[{"role":"user","content":"hello"}],"max_tokens":50}'
TOLD = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": " word" * 50}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "total_tokens": 62, "completion_tokens": 50},
}  # fmt: skip
ANSWER = json.dumps(TOLD, separators=(",", ":")).encode()
HEAD = b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 12:00:00 GMT\r\ncontent-type: application/json\r\n"
ID = "tg-0123456789abcdef0123456789ab"
TOGETHER = 64
"""Connections of `whole`, as many as of the benchmark's load."""
BEST_OF = 7


class Wire(asyncio.Transport):
    """A transport that is no socket: it keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []

    def write(self, data: Any) -> None:
        """Keep it."""
        self.said.append(data)

    def get_write_buffer_size(self) -> int:
        """Everything is sent."""
        return 0

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def close(self) -> None:
        """There is nothing to end."""

    abort = close


class _Entrant:
    """A request that enters a queue in which nobody waits."""

    def ticket(self) -> Ticket:
        """Nobody asks."""
        raise NotImplementedError


@dataclass
class Inside:
    """A gateway without sockets."""

    app: Application
    stores: Stores
    key: bytes

    def steps(self) -> dict[str, Callable[[], object]]:
        """What is decided and written of one request, each alone."""
        serving, now = self.app.state.serving, time.time()
        snapshot, prices, spool = serving.snapshot, serving.prices, self.app.data_plane.spool
        bearer = b"Bearer " + self.key
        principal = authenticate(bearer, None, snapshot.keys, now)
        request = parse(BODY, CHAT)
        asked = Asked(request, {}.get)
        release = resolve("bench", principal, snapshot, now, asked).release
        pool, account = serving.pools["bench"], admit(ID, now, principal, request, release, prices)
        account.usage, _ = read_answer(ANSWER)
        demand, admission = pool.demand(request, release, "bench", {}.get), self.app.data_plane.admission
        route, queue = pool.choose(pool.replicas, now, demand), pool.queue
        assert route is not None
        assert queue is not None
        if route.routed is not None:
            account.routed(serving.digest, demand, route.routed)
        row = account.settled(prices, 0.1)

        def rows() -> None:
            spool.admit(account.admitted)
            spool.settle(row)
            if spool.lag > 1000:
                spool.take()
                spool.stored()

        def limits() -> None:
            reservation = admission.admit(principal, demand.most, now)
            told(reservation.key, reservation.team)
            admission.settle(reservation, 62, now)

        entrant = _Entrant()

        def turn() -> None:
            if queue.capped:
                assert queue.ready(now)
                queue.enter(entrant)
                queue.leave(entrant)

        return {
            "authenticate": lambda: authenticate(bearer, None, snapshot.keys, now),
            "parse": lambda: parse(BODY, CHAT),
            "resolve": lambda: resolve("bench", principal, snapshot, now, asked),
            "prepare": lambda: prepare(request, release, "bench"),
            "admit": lambda: admit(ID, now, principal, request, release, prices),
            "demand": lambda: pool.demand(request, release, "bench", {}.get),
            "limits": limits,
            "turn": turn,
            "route": lambda: pool.choose(pool.replicas, now, demand),
            "meter": lambda: read_answer(ANSWER),
            "price": lambda: prices.cost("bench", account.usage, now),
            "settle": lambda: account.settled(prices, 0.1),
            "record": rows,
        }

    async def whole(self, count: int) -> float:
        """Microseconds of a plain answer, of `count` of them on `TOGETHER` connections."""
        served = uvicorn.Config(self.app, log_level="error")
        served.load()
        state = ServerState()
        state.default_headers = [(b"date", b"Tue, 24 Nov 2026 12:00:00 GMT")]
        length = b"content-length: %d\r\n\r\n"
        asked = b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\nauthorization: Bearer %b\r\n%b%b" % (
            CHAT.path.encode(), self.key, length % len(BODY), BODY,
        )  # fmt: skip
        answered = HEAD + length % len(ANSWER) + ANSWER
        clients = [_joined(HttpProtocol(served, state, {}, direct=self.app.direct)) for _ in range(TOGETHER)]
        engines: list[tuple[Connection, Wire]] = []
        for replica in self.app.state.serving.pools["bench"].engines:
            engines += [_joined(replica.pool.take(fresh=True)) for _ in range(TOGETHER)]
            for connection, _ in engines[-TOGETHER:]:
                replica.pool.close(connection)
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, 20, 20)  # as the server does it
        since = time.process_time()
        for _ in range(count // TOGETHER):
            for client, _ in clients:
                client.data_received(asked)
            await asyncio.sleep(0)
            for connection, wire in engines:
                if wire.said:
                    wire.said.clear()
                    connection.data_received(answered)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for _, wire in clients:
                if not wire.said.pop().startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError("a request was not answered")
        spent = time.process_time() - since
        for protocol, _ in (*clients, *engines):
            protocol.connection_lost(None)
        return spent / (count // TOGETHER * TOGETHER) * 1e6

    def drain(self) -> dict[str, float]:
        """Microseconds of metrics and of the database, for each of the rows that are settled."""
        telemetry, times = Telemetry(), [time.process_time()]
        lines = list(self.app.data_plane.spool.take())
        rows = [decode(line) for line in lines]
        times.append(time.process_time())
        self.stores.ledger.insert(rows)
        times.append(time.process_time())
        for row in rows:
            telemetry.settled(row)
        telemetry.hand_over()
        telemetry.count()
        times.append(time.process_time())
        self.app.data_plane.spool.stored()
        names = ("lines", "database", "metrics")
        each = [(end - begin) / len(rows) * 1e6 for begin, end in itertools.pairwise(times)]
        return dict(zip(names, each, strict=True))


def _joined(protocol: Any) -> tuple[Any, Wire]:
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire


def alone(step: Callable[[], object], count: int) -> float:
    """Microseconds of CPU that a step takes, the best of `BEST_OF` times `count`."""

    def once() -> float:
        since = time.process_time()
        for _ in range(count):
            step()
        return (time.process_time() - since) / count * 1e6

    return min(once() for _ in range(BEST_OF))


def made(folder: Path, setup: tollgate.Setup) -> Inside:
    """A gateway in a folder, which is the working directory. Its engines say that they have nothing to do, as ever."""
    gate = tollgate.prepare(folder, 1, ["http://127.0.0.1:1", "http://127.0.0.1:2"], setup)
    deployed = config.load(gate.config)
    stores = open_stores(deployed.config.database)
    app = build(deployed, stores)
    for replica in app.state.serving.pools["bench"].replicas:
        replica.signals = Signals(math.inf, kv_usage=0.0, running=0, waiting=0)
    return Inside(app, stores, gate.key.encode())


async def measure(folder: Path, count: int, setup: tollgate.Setup = tollgate.EVERYTHING) -> dict[str, dict[str, float]]:
    """`steps`, `whole` and `drain`, in microseconds."""
    inside = made(folder, setup)
    steps = {name: alone(step, count) for name, step in inside.steps().items()}
    wholes, drains = [], []
    for _ in range(BEST_OF):
        inside.app.data_plane.spool.take()
        inside.app.data_plane.spool.stored()
        wholes.append(await inside.whole(count))
        drains.append(inside.drain())
    whole = {"whole": min(wholes), "in no step": min(wholes) - sum(steps.values())}
    return {"steps": steps, "whole": whole, "drain": {name: min(each[name] for each in drains) for name in drains[0]}}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="of each measurement (20000)")
    parser.add_argument("--plain", action="store_true", help="without rules, limits, queue and scores")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    setup = tollgate.PLAIN if options.plain else tollgate.EVERYTHING
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        os.chdir(folder)
        figures = runner.run(measure(Path(folder), options.requests, setup))
    if options.json:
        print(json.dumps(figures))
        return
    for title, values in figures.items():
        print(f"{title}\n" + "\n".join(f"  {name:<14}{value:7.2f} µs" for name, value in values.items()))


if __name__ == "__main__":
    main()
