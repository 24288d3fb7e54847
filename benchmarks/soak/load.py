"""The clients of a soak: each asks again and again, in a way that it draws, and notes what it was answered."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks.soak.stack import AWAY, Stack
from tests.engine import raw

CHAT, COMPLETIONS, MESSAGES, RESPONSES = PATHS = (
    "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses",
)  # fmt: skip
LAST = (b"data: [DONE]", b'"type":"message_stop"', b'"type":"response.completed"')
"""How whole streams end."""
CODE = re.compile(rb'"code":\s*"(\w+)"')
PATIENCE_S = 25.0
"""What a client waits for anything: longer than any request may take."""
PAUSE_S = 0.15
"""Between two requests of a client, in the mean."""


@dataclass(frozen=True)
class Seen:
    """What a client was answered: whether it had it whole, and its error's code; `left`: it did not wait for more."""

    status: int
    whole: bool
    code: str | None = None
    left: bool = False

    @property
    def word(self) -> str:
        """For the table."""
        if self.left:
            return "left"
        if self.code is not None:
            return self.code
        if not self.whole:
            return "broken"
        return "ok" if self.status == 200 else str(self.status)


@dataclass
class Load:
    """`seen`: answers by request id, since they were last compared with the ledger; `words`: how many of each kind.

    `sent` counts requests that may have reached a gateway. `extra`: other keys that are used. `twice`: ids that two
    answers had; `hung`: requests that were not answered within PATIENCE_S.
    """

    stack: Stack
    draw: random.Random
    seen: dict[str, Seen] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    active: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    extra: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    _going: asyncio.Event = field(default_factory=asyncio.Event)

    def go(self) -> None:
        """Begin, or go on."""
        self._going.set()

    async def pause(self) -> None:
        """Ask nothing more, and wait until all have had their answers. Raises TimeoutError."""
        self._going.clear()
        async with asyncio.timeout(3 * PATIENCE_S):
            await self.idle.wait()

    async def client(self) -> None:
        """One of the clients, for as long as the soak lasts."""
        kinds: list[tuple[float, Callable[[str], Awaitable[None]]]] = [
            (30, self._plain), (35, self._stream), (10, self._leaves), (5, self._slow), (3, self._never_reads),
            (12, self._limited), (5, self._refused),
        ]  # fmt: skip
        weights = [weight for weight, _ in kinds]
        while True:
            await self._going.wait()
            ((_, kind),) = self.draw.choices(kinds, weights)
            url = self.draw.choice(self.stack.gateways).url
            self.active += 1
            self.idle.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await kind(url)
            except TimeoutError:
                self.hung.append(f"{kind.__name__} at {url}, at {time.strftime('%H:%M:%S', time.gmtime())}")
            except AWAY:
                self.words["nobody there"] += 1
            finally:
                self.active -= 1
                if not self.active:
                    self.idle.set()
            await asyncio.sleep(self.draw.expovariate(1 / PAUSE_S))

    async def ask(self, url: str, key: str, path: str, *, stream: bool, words: int = 8) -> raw.Answer | None:
        """One request, to its end. None where nobody answered."""
        async with raw.connect(url) as connection:
            await self._send(connection, key, path, stream=stream, words=words)
            answer = await connection.answer()
            self._note(answer, stream=stream)
            return answer

    async def _send(self, connection: raw.Client, key: str, path: str, *, stream: bool, words: int = 8) -> None:
        self.sent += 1
        await connection.send("POST", path, body_of(path, stream, words), {"authorization": f"Bearer {key}"})

    def _key(self) -> str:
        return self.draw.choice([*self.extra, self.stack.keys["free"], self.stack.keys["free"]])

    async def _plain(self, url: str) -> None:
        await self.ask(url, self._key(), self.draw.choice(PATHS), stream=False)

    async def _stream(self, url: str) -> None:
        await self.ask(url, self._key(), self.draw.choice(PATHS), stream=True, words=self.draw.randint(5, 60))

    async def _limited(self, url: str) -> None:
        key = self.stack.keys[self.draw.choice(["search", "search", "pilot", "tiny"])]
        await self.ask(url, key, CHAT, stream=self.draw.random() < 0.5)

    async def _refused(self, url: str) -> None:
        key = self._key()
        kind = self.draw.randrange(3)
        async with raw.connect(url) as connection:
            self.sent += 1
            body: Any = {**body_of(CHAT, False, 3), **({"model": "nobody"} if kind == 0 else {})}
            told = {"authorization": f"Bearer {'sk-tg-no' if kind == 1 else key}"}
            await connection.send("POST", CHAT, b"{" if kind == 2 else body, told)
            self._note(await connection.answer(), stream=False)

    async def _leaves(self, url: str) -> None:
        """Somewhere: before the answer, or within it."""
        stream = self.draw.random() < 0.7
        async with raw.connect(url) as connection:
            await self._send(connection, self._key(), CHAT, stream=stream, words=40)
            if self.draw.random() < 0.4:
                await asyncio.sleep(self.draw.random() * 0.1)
                self.words["left"] += 1
                return
            answer = await connection.head()
            if answer.status == 200 and stream:
                for _ in range(self.draw.randint(0, 10)):
                    if not (chunk := await connection.chunk()):
                        break  # an error ended it early
                    answer.chunks.append(chunk)
            self._note(answer, stream=stream, left=True)

    async def _slow(self, url: str) -> None:
        """Reads, but slowly."""
        async with raw.connect(url) as connection:
            await self._send(connection, self._key(), CHAT, stream=True, words=60)
            answer = await connection.head()
            answer.whole = answer.header("transfer-encoding") == "chunked"
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while answer.whole and (chunk := await connection.chunk()):
                    answer.chunks.append(chunk)
                    if len(answer.chunks) < 12:
                        await asyncio.sleep(0.05 + self.draw.random() * 0.2)
                self._note(answer, stream=True, left=not answer.whole)
                return
            answer.whole = False
            self._note(answer, stream=True)

    async def _never_reads(self, url: str) -> None:
        """Asks for much, and reads nothing until it is cut."""
        async with raw.connect(url) as connection:
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets has it
            await self._send(connection, self._key(), CHAT, stream=True, words=1000)
            await asyncio.sleep(1 + self.draw.random() * 3)
            self.words["left"] += 1

    def _note(self, answer: raw.Answer, *, stream: bool, left: bool = False) -> None:
        request_id = answer.header("x-tollgate-request-id")
        code = CODE.search(answer.body) if not left or answer.status != 200 else None
        ended = not (stream and answer.status == 200) or any(last in answer.body for last in LAST)
        found = Seen(answer.status, answer.whole and ended, code[1].decode() if code else None, left)
        self.words[found.word] += 1
        if request_id is None:
            return
        if request_id in self.seen:
            self.twice.append(request_id)
        self.seen[request_id] = found


def body_of(path: str, stream: bool, words: int) -> dict[str, Any]:
    """A request of one of the dialects."""
    text = " ".join(["word"] * words)
    common = {"model": "faq", "stream": stream}
    if path == COMPLETIONS:
        return {**common, "prompt": text, "max_tokens": words}
    if path == RESPONSES:
        return {**common, "input": text, "max_output_tokens": words}
    return {**common, "messages": [{"role": "user", "content": text}], "max_tokens": words}


def outcomes(words: Counter[str]) -> str:
    """Counts, the largest first."""
    return json.dumps(dict(words.most_common()), separators=(", ", " "))[1:-1].replace('"', "")
