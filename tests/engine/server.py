"""The simulated engine's endpoints: vLLM's paths, its refusals, and the answers in its wire format."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from typing import Literal, Self

from tests.engine import faults, job, meters, wire
from tests.engine.connection import Connection, Received, Reply
from tests.engine.core import Answer, Core, PrefixCache, busy
from tests.engine.faults import Faults
from tests.engine.job import Job, Limits, Refusal
from tests.engine.wire import Choice, Stamp

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
GENERATES = {CHAT: job.chat, COMPLETION: job.completion}
GETS = ("/health", "/ping", "/load", "/version", "/v1/models", "/metrics")
FAILED = Refusal(500, "Internal server error", "InternalServerError")


def echo(prompt: str) -> str:
    """The default answer: the prompt's own words."""
    return prompt


def count_words(text: str) -> int:
    """The default tokenizer: words."""
    return len(text.split())


class Engine(Core):
    """One replica on a loopback port. Every argument has a default; counters and `hold` are in `core`.

    `model` is one served name or several, separated by commas. `answer` turns a prompt into a text or a list of
    tokens; `count` counts a prompt's tokens. `max_num_queued_reqs` refuses with 503 as vLLM's flag of that name does.
    `prompt_tokens_details` reports cached tokens, as `--enable-prompt-tokens-details` does.
    """

    def __init__(
        self,
        model: str = "faq",
        *,
        runner: Literal["generate", "pooling"] = "generate",
        answer: Answer = echo,
        count: Callable[[str], int] = count_words,
        max_model_len: int = 4096,
        prefill_s_per_token: float = 0.0,
        step_s: float = 0.0,
        max_num_seqs: int = 256,
        max_num_queued_reqs: int | None = None,
        prompt_tokens_details: bool = False,
        kv_blocks: int = 4096,
        block_tokens: int = 16,
        dimensions: int = 8,
        version: str = "0.32.0",
        fingerprint: str = "vllm-0.32.0-4a556b44",
        api_key: str | None = None,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(
            prefill_s_per_token=prefill_s_per_token,
            step_s=step_s,
            max_num_seqs=max_num_seqs,
            max_num_queued_reqs=max_num_queued_reqs,
            cache=PrefixCache(kv_blocks, block_tokens),
        )
        self.names = tuple(model.split(","))
        self.limits = Limits(self.names, max_model_len, count)
        self.runner, self.answer, self.clock = runner, answer, clock
        self.prompt_tokens_details, self.dimensions = prompt_tokens_details, dimensions
        self.version, self.fingerprint, self.api_key = version, fingerprint, api_key
        self.host, self.port = host, port
        self.healthy = True
        self.faults = Faults()
        self.requests: list[Received] = []
        self.connections: set[Connection] = set()
        self.connections_made = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    def received(self, path: str) -> list[Received]:
        """The requests that came for one path, in order."""
        return [request for request in self.requests if request.path == path]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection: what the loss of the process looks like from outside."""
        if self._server is None:
            return
        self._server.close()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _connect(self) -> Connection:
        connection = Connection(self._respond, self.clock, self._disconnected, self.touch)
        self.connections.add(connection)
        self.connections_made += 1
        return connection

    def _disconnected(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.touch()

    async def _respond(self, received: Received, connection: Connection) -> None:
        if received.path == "/_fault":
            await self._command(received, Reply(connection, received, None))
            return
        self.requests.append(received)
        inference = received.path in (CHAT, COMPLETION, EMBEDDING)
        fault = self.faults.take(received.path, received.body, inference)
        self.touch()
        reply = Reply(connection, received, fault)
        await reply.strike_before_head()
        try:
            if not await self._wrong(received, reply):
                await self._route(received, reply)
        except Refusal as refusal:
            await reply.plain(refusal.status, wire.dumps(refusal.body()))
        if reply.kind in ("hangup", "wrong_length"):
            connection.transport.close()

    async def _command(self, received: Received, reply: Reply) -> None:
        try:
            if received.method == "DELETE":
                self.faults.clear()
            else:
                self.faults.extend(faults.from_json(json.loads(received.body)))
        except (ValueError, TypeError) as error:
            await reply.plain(400, wire.dumps({"detail": str(error)}))
            return
        await reply.plain(200, wire.dumps({"faults": len(self.faults)}))

    async def _wrong(self, received: Received, reply: Reply) -> bool:
        """Answer in place of the engine, where the fault says so."""
        fault, message = reply.fault, reply.fault.message or FAILED.message
        if reply.kind == "refuse":
            raise busy()
        if reply.kind == "error":
            raise Refusal(fault.status, message, "InternalServerError")
        if reply.kind == "redirect":
            await reply.plain(307, location=message)
        elif reply.kind == "error_200_nested":
            await reply.plain(200, wire.dumps(Refusal(400, message).body()))
        elif reply.kind == "error_200_flat":
            inner = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
            await reply.plain(200, wire.dumps({"object": "error", **inner}))
        elif reply.kind == "garbage_json" and fault.after is None:
            await reply.plain(200, b'{"id": "chatcmpl-1", "choices": [')
        else:
            return False
        return True

    async def _route(self, received: Received, reply: Reply) -> None:
        posts = (CHAT, COMPLETION) if self.runner == "generate" else (EMBEDDING,)
        if received.path not in (*posts, *GETS):
            await reply.plain(404, b'{"detail":"Not Found"}')
            return
        method = "POST" if received.path in posts else "GET"
        if received.method != method:
            await reply.plain(405, b'{"detail":"Method Not Allowed"}', allow=method)
        elif self._unauthorized(received):
            await reply.plain(401, b'{"error":"Unauthorized"}')
        elif method == "GET":
            await self._get(received.path, reply)
        else:
            await self._infer(received, reply)

    def _unauthorized(self, received: Received) -> bool:
        guarded = self.api_key is not None and received.path.startswith("/v1")
        return guarded and received.header("authorization") != f"Bearer {self.api_key}"

    async def _get(self, path: str, reply: Reply) -> None:
        if path in ("/health", "/ping"):
            await reply.plain(200 if self.healthy else 503)
        elif path == "/metrics":
            await reply.plain(200, meters.render(self, self.names[0]), meters.CONTENT_TYPE)
        elif path == "/v1/models":
            await reply.plain(200, wire.models(self.names, int(self.clock()), self.limits.max_model_len))
        else:
            load = {"server_load": self.running + self.waiting}
            await reply.plain(200, wire.dumps({"version": self.version} if path == "/version" else load))

    async def _infer(self, received: Received, reply: Reply) -> None:
        body = job.decode(received.body, received.header("content-type") or "")
        if received.path == EMBEDDING:
            await self._embed(job.embedding(body, self.limits), received, reply)
            return
        asked = GENERATES[received.path](body, self.limits)
        stamp = self._stamp(received, reply, asked, "chatcmpl" if received.path == CHAT else "cmpl")
        await (self._stream if asked.stream else self._whole)(asked, stamp, reply)

    def _stamp(self, received: Received, reply: Reply, asked: Job, prefix: str) -> Stamp:
        made = hashlib.sha256(f"{self.port}/{len(self.requests)}".encode()).hexdigest()[:16]
        return Stamp(
            id=f"{prefix}-{received.header('x-request-id') or made}",
            created=int(self.clock()),
            model=asked.model,
            fingerprint=self.fingerprint,
            chat=prefix == "chatcmpl",
            usage=reply.kind != "no_usage",
        )

    def _cached(self, cached: int) -> int | None:
        return cached if self.prompt_tokens_details else None

    async def _whole(self, asked: Job, stamp: Stamp, reply: Reply) -> None:
        async with self.run(asked, self.answer) as run:
            while not run.done:
                await run.step()
                if reply.broken:
                    raise FAILED
        choices = [Choice(run.text(at), made, run.finish[at]) for at, made in enumerate(run.made)]
        await reply.plain(200, wire.answer(stamp, asked, choices, self._cached(run.cached)))

    async def _stream(self, asked: Job, stamp: Stamp, reply: Reply) -> None:
        async with self.run(asked, self.answer) as run:
            await reply.open()
            first = True
            while not run.done and not reply.broken:
                tokens = await run.step()
                if first and stamp.chat:
                    for index in range(asked.n):
                        await reply.event(wire.role_chunk(stamp, asked, index))
                first = False
                for index, text, finish in tokens:
                    if not reply.broken:
                        await reply.event(wire.token_chunk(stamp, asked, index, text, run.made[index], finish))
            if reply.broken:
                await reply.event(wire.error_event(FAILED.body()))
            elif asked.include_usage and stamp.usage:
                await reply.event(wire.usage_chunk(stamp, asked, sum(run.made), self._cached(run.cached)))
            await reply.end()

    async def _embed(self, asked: Job, received: Received, reply: Reply) -> None:
        stamp = self._stamp(received, reply, asked, "embd")
        self.started += 1
        await self.prefill(sum(asked.prompt_tokens), 0)
        self.finished += 1
        self.touch()
        await reply.plain(200, wire.embeddings(stamp, asked, self.dimensions))
