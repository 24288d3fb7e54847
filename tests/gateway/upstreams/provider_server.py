"""An external provider on a loopback port: Anthropic's messages and OpenAI's responses, with canned answers."""

import asyncio
import json
from contextlib import closing, suppress
from typing import Any, Self

KEY = "sk-of-the-operator"
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello you"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0},
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello you", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 8,
        "output_tokens": 2,
        "total_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
MESSAGE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello you"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
RESPONSE_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "hello"},
    {"type": "response.completed", "response": RESPONSE},
]


class ProviderServer:
    """`refusal` is what it answers with in place of an answer; `cut` is the number of events after which a stream ends.

    `wait` is the Retry-After of all that it says. With `endless` a stream stays open before its last event.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.wait: int | None = None
        self.endless = False
        self.cut: int | None = None
        self.closed = asyncio.Event()
        self.url = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            path = head.split(" ")[1]
            self.received.append((path, body))
            status, kind, data = self._answer(path, head, body)
            wait = "" if self.wait is None else f"retry-after: {self.wait}\r\n"
            top = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{wait}connection: close\r\n\r\n"
            writer.write(top.encode() + data)
            await writer.drain()
            if self.endless:
                await reader.read()
                self.closed.set()

    def _answer(self, path: str, head: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
        if KEY not in head:
            wrong = {"type": "error", "error": {"type": "authentication_error", "message": f"not {KEY}: {head}"}}
            return 401, "application/json", json.dumps(wrong).encode()
        if self.refusal is not None:
            return self.refusal[0], "application/json", json.dumps(self.refusal[1]).encode()
        messages = path == "/v1/messages"
        if not body.get("stream"):
            return 200, "application/json", json.dumps(MESSAGE if messages else RESPONSE).encode()
        events = MESSAGE_EVENTS if messages else RESPONSE_EVENTS
        events = events[: -1 if self.endless else self.cut]
        data = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return 200, "text/event-stream", data.encode()
