"""The simulated engine: a vLLM server's paths, pages and refusals, and its answers as `endpoints` lists them."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Literal, Self

from tests.engine import adapters, answering, faults, pages, wire
from tests.engine.connection import Connection, Received, Reply
from tests.engine.core import Answer, Core, PrefixCache, busy
from tests.engine.endpoints import ENDPOINTS, Endpoint, Task
from tests.engine.faults import Faults
from tests.engine.job import Invalid, Limits, Refusal
from tests.engine.pooling import Head, overlap

GUARDED = ("/v1", "/v2", "/inference")


def echo(prompt: str) -> str:
    """The default answer: the prompt's own words."""
    return prompt


def count_words(text: str) -> int:
    """The default tokenizer: words."""
    return len(text.split())


class Engine(Core):
    """One replica on a loopback port. Every argument has a default; counters and `hold` are in `core`.

    `model` is one served name or several, separated by commas; `loras` are the names of adapters, as of
    `--lora-modules`; with `runtime_loras` they come and go, as VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 allows.
    `answer` turns a prompt into a text or a list of tokens; `count` counts a prompt's tokens.
    `task` is what kind of model it is, where `runner` does not say enough; `labels` are its classes, and `score`
    compares two texts. `max_num_queued_reqs`, `prompt_tokens_details` and `keep_alive_s` do what
    `--max-num-queued-reqs`, `--enable-prompt-tokens-details` and `--sse-keep-alive-interval` do. `dev_mode` has the
    pages of `VLLM_SERVER_DEV_MODE=1`. `tls` makes it an HTTPS server.
    """

    def __init__(
        self,
        model: str = "faq",
        *,
        runner: Literal["generate", "pooling"] = "generate",
        task: Task | None = None,
        loras: str = "",
        runtime_loras: bool = False,
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
        keep_alive_s: float | None = None,
        dimensions: int = 8,
        labels: tuple[str, ...] = ("LABEL_0", "LABEL_1"),
        score: Callable[[str, str], float] = overlap,
        dev_mode: bool = False,
        tls: ssl.SSLContext | None = None,
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
        self.loras = tuple(loras.split(",")) if loras else ()
        self.runtime_loras, self.lora_paths = runtime_loras, dict[str, str]()
        self.task: Task = task or ("embed" if runner == "pooling" else "generate")
        self.limits = Limits(self.names, max_model_len, count, self.loras, apart=self.task == "embed")
        self.model_head = Head(self.task, dimensions, labels, score)
        self.answer, self.clock = answer, clock
        self.prompt_tokens_details, self.keep_alive_s = prompt_tokens_details, keep_alive_s
        self.dev_mode, self.tls = dev_mode, tls
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
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}"

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
        self._server = await loop.create_server(self._connect, self.host, self.port, ssl=self.tls)
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
        return Connection(self._respond, self.clock, self._connected, self._disconnected, self.touch)

    def _connected(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.connections_made += 1

    def _disconnected(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.touch()

    async def _respond(self, received: Received, connection: Connection) -> None:
        if received.path == "/_fault":
            await self._command(received, Reply(connection, received, None))
            return
        self.requests.append(received)
        endpoint = ENDPOINTS.get(received.path)
        fault = self.faults.take(received.path, received.body, endpoint is not None)
        self.touch()
        reply = Reply(connection, received, fault)
        await reply.strike_before_head()
        worded = Refusal.body if endpoint is None else endpoint.refusal
        try:
            if not await self._wrong(reply, worded):
                await self._route(received, endpoint, reply)
        except Invalid as invalid:
            await reply.plain(invalid.status, wire.dumps(invalid.body()))
        except Refusal as refusal:
            await reply.plain(refusal.status, wire.dumps(worded(refusal)))
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

    async def _wrong(self, reply: Reply, worded: Callable[[Refusal], dict[str, Any]]) -> bool:
        """Answer in place of the engine, where the fault says so."""
        fault, message = reply.fault, reply.fault.message or answering.FAILED
        if reply.kind == "refuse":
            raise busy()
        if reply.kind == "error":
            raise Refusal(fault.status, message, "InternalServerError")
        if reply.kind == "redirect":
            await reply.plain(307, location=message)
        elif reply.kind == "error_200_nested":
            await reply.plain(200, wire.dumps(worded(Refusal(400, message))))
        elif reply.kind == "error_200_flat":
            inner = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
            await reply.plain(200, wire.dumps({"object": "error", **inner}))
        elif reply.kind == "garbage_json" and fault.after is None:
            await reply.plain(200, b'{"id": "chatcmpl-1", "choices": [')
        else:
            return False
        return True

    async def _route(self, received: Received, endpoint: Endpoint | None, reply: Reply) -> None:
        posted = endpoint is not None and self.task in endpoint.tasks
        method = (
            "POST" if posted else adapters.method(self, received.path) or pages.method(received.path, self.dev_mode)
        )
        if self._unauthorized(received):
            await reply.plain(401, b'{"error":"Unauthorized"}', vary=None)
        elif method is None:
            await reply.plain(404, b'{"detail":"Not Found"}')
        elif received.method != method:
            await reply.plain(405, b'{"detail":"Method Not Allowed"}', allow=method)
        elif endpoint is None:
            page = adapters.page if received.path in adapters.PATHS else pages.page
            await reply.plain(*page(self, received))
        else:
            await answering.answer(self, endpoint, received, reply)

    def _unauthorized(self, received: Received) -> bool:
        guarded = self.api_key is not None and received.path.startswith(GUARDED)
        return guarded and received.header("authorization") != f"Bearer {self.api_key}"
