"""The bytes of the simulated engines: vLLM 0.32's, as benchmarks/vllm.h has them, with fewer and larger chunks."""

import json
from functools import lru_cache

import msgspec

from benchmarks.fleet.model import BLOCK_TOKENS, Happening, Replica
from benchmarks.fleet.workload import MODEL, TOKEN_CHARS

WORD = b" zig"
"""One token of an answer; nothing else on the wire contains it."""
HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"vary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
_START = (
    b'data: {"id":"chatcmpl-%016x","object":"chat.completion.chunk","created":1795365651,"model":"'
    + MODEL.encode()
    + b'","choices":['
)
_ROLE = b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
_DELTA = b'{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":%s,"token_ids":null}'
_USAGE = b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d%s}'
_DETAILS = b',"prompt_tokens_details":{"cached_tokens":%d}'


class Options(msgspec.Struct):
    """`stream_options` of a request."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Message(msgspec.Struct):
    """One message; its content is a text here, since no other workload is sent."""

    role: str
    content: str


class Chat(msgspec.Struct):
    """What an engine reads of a `/v1/chat/completions` or, with a `prompt`, of a `/v1/completions`."""

    messages: list[Message] = []
    prompt: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: Options | None = None

    @property
    def contents(self) -> list[str]:
        """The texts of the prompt, in order."""
        return [message.content for message in self.messages] if self.prompt is None else [self.prompt]


decode = msgspec.json.Decoder(Chat).decode


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(happening: Happening, told: int, options: Options) -> bytes:
    """What a stream says at a happening, when `told` tokens have been told before; the last one ends the answer."""
    job, tokens = happening.job, happening.tokens
    start = _START % (job.number & 0xFFFFFFFF)
    counted = _usage(job.prompt_tokens, tokens) if options.continuous_usage_stats else b""
    parts = []
    if not told:
        parts.append(start + _ROLE + b"]" + (_usage(job.prompt_tokens, 0) if counted else b"") + b"}\n\n")
    ends = tokens == job.output_tokens
    delta = _DELTA % (WORD * (tokens - told), b'"length","stop_reason":null' if ends else b"null")
    parts.append(start + delta + b"]" + counted + b"}\n\n")
    if ends:
        if options.include_usage:
            details = _DETAILS % job.cached_tokens
            parts.append(start + b"]" + _usage(job.prompt_tokens, tokens, details) + b"}\n\n")
        parts.append(b"data: [DONE]\n\n")
    return b"".join(map(_chunk, parts)) + (LAST_CHUNK if ends else b"")


def _usage(prompt: int, output: int, details: bytes = b"") -> bytes:
    return _USAGE % (prompt, prompt + output, output, details)


def whole(happening: Happening) -> bytes:
    """An answer that is not streamed, with its head."""
    job = happening.job
    usage = {"prompt_tokens": job.prompt_tokens, "completion_tokens": job.output_tokens}
    text = (WORD * job.output_tokens).decode()
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": "length"}
    body = {
        "id": f"chatcmpl-{job.number & 0xFFFFFFFF:016x}",
        "object": "chat.completion",
        "created": 1795365651,
        "model": MODEL,
        "choices": [choice],
        "system_fingerprint": "vllm-0.32.0-4a556b44",
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
    return page(json.dumps(body).encode())


def page(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-length: {len(body)}\r\ncontent-type: {kind}\r\n\r\n"
    return head.encode() + body


_CARD = {"id": MODEL, "object": "model", "created": 1795365651, "owned_by": "vllm", "root": MODEL, "parent": None}
_ABOUT = {"model_id": MODEL, "model_path": MODEL, "served_model_name": MODEL, "tokenizer_path": MODEL}
_ABOUT_ENGINE = {**_ABOUT, "tp_size": 1, "dp_size": 1, "is_generation": True}
PAGES = {
    "/health": page(b""),
    "/version": page(b'{"version":"0.32.0"}'),
    "/v1/models": page(json.dumps({"object": "list", "data": [{**_CARD, "max_model_len": 32768}]}).encode()),
    # SGLang's own pages: its router asks for them before it takes a worker.
    **dict.fromkeys(
        ("/server_info", "/model_info", "/get_server_info", "/get_model_info"),
        page(json.dumps(_ABOUT_ENGINE).encode()),
    ),
}
"""What a router may ask of an engine, and gets the same answer each time."""


def tokenized(chat: Chat) -> bytes:
    """`/tokenize`."""
    return _tokenized("".join(chat.contents))


def rendered(chat: Chat) -> bytes:
    """`/v1/chat/completions/render`, which an engine has with `--enable-scale-out`."""
    return _rendered("".join(chat.contents))


# vllm-router asks each engine about each request: what they say is made once.
@lru_cache(maxsize=64)
def _tokenized(text: str) -> bytes:
    ids = _tokens(text)
    return page(msgspec.json.encode({"count": len(ids), "max_model_len": 32768, "tokens": ids, "token_strs": None}))


@lru_cache(maxsize=64)
def _rendered(text: str) -> bytes:
    return page(msgspec.json.encode({"request_id": "render", "token_ids": _tokens(text), "model": MODEL}))


def _tokens(text: str) -> list[int]:
    """Token ids below 150,000, as large vocabularies have them: one for each four characters."""
    words = memoryview(text.encode()[: len(text) // TOKEN_CHARS * TOKEN_CHARS]).cast("I")
    return [word % 149_993 for word in words]


ABOUT_TOKENS = {"/tokenize": tokenized, "/v1/chat/completions/render": rendered}
MISSING = page(b'{"detail":"Not Found"}', "404 Not Found")


def metrics(replica: Replica) -> bytes:
    """`/metrics` of an engine, with the families of vLLM that a router reads."""
    cache, one = replica.cache, f'engine="0",model_name="{MODEL}"'
    gauges = {
        "num_requests_running": replica.running,
        "num_requests_waiting": len(replica.waiting),
        "kv_cache_usage_perc": cache.in_use / cache.capacity,
    }
    counters = {"prefix_cache_queries_total": replica.queried, "prefix_cache_hits_total": replica.hit}
    lines = [
        f"# TYPE vllm:{name} {kind}\nvllm:{name}{{{one}}} {float(value)}"
        for kind, values in (("gauge", gauges), ("counter", counters))
        for name, value in values.items()
    ]
    sizes = f'block_size="{BLOCK_TOKENS}",engine="0",num_gpu_blocks="{cache.capacity}"'
    lines.append(f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{sizes}}} 1.0")
    lines.append(f'# TYPE vllm:engine_sleep_state gauge\nvllm:engine_sleep_state{{{one},sleep_state="awake"}} 1.0')
    return page(("\n".join(lines) + "\n").encode(), kind="text/plain; version=1.0.0; charset=utf-8")
