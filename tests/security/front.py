"""A running gateway seen from outside: bytes in, bytes out, and what its engine heard. Driven step by step, so that one
gateway serves all examples of a fuzzed test."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config import Deployment
from tests.engine import raw
from tests.engine.simulator import Engine
from tests.gateway.listening import Answers, Talk
from tests.gateway.serving import Gateway, deployment, make_key, serving

CHAT = "/v1/chat/completions"
HELLO = {"model": "faq", "messages": [{"role": "user", "content": "one two"}]}
BODY = json.dumps(HELLO).encode()


@dataclass
class Front:
    """`key` may serve, `evaluate` evaluate, `admin` see decisions; `other` is an engine that nobody configured."""

    runner: asyncio.Runner
    folder: Path
    gateway: Gateway
    engine: Engine
    other: Engine
    key: str
    evaluate: str
    admin: str

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it."""
        return self.runner.run(work)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> raw.Answer:
        """One request on a connection of its own."""
        answer: raw.Answer = self.run(raw.exchange(self.gateway.url, method, path, body, headers))
        return answer

    def chat(self, key: str | None = None, headers: dict[str, str] | None = None, **fields: Any) -> raw.Answer:
        """A chat completion."""
        told = {"authorization": f"Bearer {key or self.key}", **(headers or {})}
        return self.ask("POST", CHAT, {**HELLO, **fields}, told)

    def says(self, said: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
        """Every answer to these bytes, until the gateway ends the connection, as a reader of HTTP takes them."""
        return parsed(self.run(self._rest(said)))

    async def _rest(self, said: bytes) -> bytes:
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.gateway.port))
        try:
            talk.say(said)
            return await talk.rest()
        finally:
            talk.cut()

    def heard(self) -> list[str]:
        """The paths that the engine was asked for since the last look; what /ready asks it is the gateway's own."""
        paths = [request.path for request in self.engine.requests if request.path != "/health"]
        self.engine.requests.clear()
        return paths


def parsed(said: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Answers out of bytes; nothing may be left over."""
    answers = Answers()
    if said:
        answers.parser.feed_data(said)
    return list(answers.done)


def request(
    method: bytes, target: bytes, *lines: bytes, key: str | None = None, body: bytes = b"", last: bool = True
) -> bytes:
    """A request as it is written."""
    told = [b"host: h", *lines]
    if key is not None:
        told.append(b"authorization: Bearer " + key.encode())
    if body:
        told += [b"content-type: application/json", b"content-length: %d" % len(body)]
    if last:
        told.append(b"connection: close")
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, target, b"\r\n".join(told), body)


def holding(folder: Path, text: str) -> list[Path]:
    """The files of a folder in which a text stands."""
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written, "nothing was written there"
    return [path for path in written if text.encode() in path.read_bytes()]


@contextmanager
def front(
    folder: Path, change: Callable[[Deployment], Deployment] = lambda made: made, **options: Any
) -> Iterator[Front]:
    """A gateway before an engine, on a loop that stands still between two steps."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Front:
            engine, other = [await stack.enter_async_context(Engine()) for _ in range(2)]
            deployed = change(deployment({"main": [engine.url]}))
            gateway, key, evaluate = await stack.enter_async_context(serving(deployed, folder, **options))
            admin = make_key(gateway.stores, team="platform", scope="admin")
            await asyncio.to_thread(gateway.app.state.refresh)
            return Front(runner, folder, gateway, engine, other, key, evaluate, admin)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())
