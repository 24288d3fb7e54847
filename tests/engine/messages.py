"""Anthropic's API as vLLM speaks it: `/v1/messages` and `/v1/messages/count_tokens`.

vLLM makes a chat completion of each request and Anthropic's events of its chunks, and so do the oddities come about:
usage is split by what the cache held, and an error in a stream is told as the error of reading the error.
"""

import json
from typing import Any

from tests.engine.core import Run
from tests.engine.job import Job, Limits, Refusal, conversation, required, served
from tests.engine.wire import Stamp, dumps, named_event

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_use": "tool_use"}


def message(body: dict[str, Any], limits: Limits) -> Job:
    """A message to be answered."""
    messages = required(body, "messages")
    required(body, "max_tokens")
    model = served(body, limits)
    names = [tool["name"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or {"type": "auto"}
    tool = {"tool": choice.get("name"), "any": names[0] if names else None}.get(choice["type"])
    return conversation(_with_system(messages, body), body, limits, model, tool)


def count_tokens(body: dict[str, Any], limits: Limits) -> bytes:
    """How long a message would be; nothing is generated."""
    messages = required(body, "messages")
    model = served(body, limits)
    (tokens,) = conversation(_with_system(messages, body), {}, limits, model, None).prompt_tokens
    return dumps({"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}})


def _with_system(messages: list[dict[str, Any]], body: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": body["system"]}, *messages] if body.get("system") else messages


def refusal(error: Refusal) -> dict[str, Any]:
    """An error in Anthropic's envelope, with vLLM's type."""
    return {"type": "error", "error": {"type": error.kind, "message": error.message}}


class Messages:
    """`/v1/messages`."""

    def __init__(self, stamp: Stamp, job: Job) -> None:
        self.stamp, self.job = stamp, job
        self._open = False
        self._finish: str = "stop"

    def whole(self, run: Run) -> bytes:
        """The body of an answer that is not streamed; what is null is left out."""
        head = {"id": self.stamp.id, "type": "message", "role": "assistant", "content": [self._content(run.text(0))]}
        stop = {"model": self.stamp.model, "stop_reason": self._stop(run.finish[0])}
        return dumps({**head, **stop, **self._usage(run)})

    def _content(self, text: str) -> dict[str, Any]:
        if self.job.tool is None:
            return {"type": "text", "text": text}
        return {**self._tool(), "input": json.loads(text)}

    def _tool(self) -> dict[str, Any]:
        return {"type": "tool_use", "id": self.stamp.derived("chatcmpl-tool-"), "name": self.job.tool}

    def _stop(self, finish: str) -> str | None:
        return STOPS.get("tool_use" if self.job.tool and finish == "stop" else finish)

    def _usage(self, run: Run) -> dict[str, Any]:
        if not self.stamp.usage:
            return {}
        counted = {"input_tokens": self.job.prompt_tokens[0], "output_tokens": run.made[0]}
        if self.stamp.details:
            counted["input_tokens"] -= run.cached + run.created
            counted.update(cache_creation_input_tokens=run.created, cache_read_input_tokens=run.cached)
        return {"usage": counted}

    def opened(self) -> list[bytes]:
        """Nothing."""
        return []

    def started(self) -> list[bytes]:
        """The message, still empty, and the function that is called."""
        head = {"id": self.stamp.id, "type": "message", "role": "assistant", "content": [], "model": self.stamp.model}
        counted = {"usage": {"input_tokens": self.job.prompt_tokens[0], "output_tokens": 0}}
        empty = {**head, "stop_reason": None, "stop_sequence": None, **(counted if self.stamp.usage else {})}
        start = named_event({"type": "message_start", "message": empty})
        return [start] if self.job.tool is None else [start, self._start({**self._tool(), "input": {}})]

    def _start(self, block: dict[str, Any]) -> bytes:
        self._open = True
        return named_event({"type": "content_block_start", "content_block": block, "index": 0})

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """A delta of the block, which the first one starts. Tokens without a text leave no trace."""
        self._finish = finish or self._finish
        if not text:
            return []
        events = [] if self._open else [self._start({"type": "text", "text": ""})]
        tool = self.job.tool is not None
        delta = {"type": "input_json_delta", "partial_json": text} if tool else {"type": "text_delta", "text": text}
        return [*events, named_event({"type": "content_block_delta", "delta": delta, "index": 0})]

    def ended(self, run: Run) -> list[bytes]:
        """The end of the block, why it ended and what was used, and the end of the message."""
        block = [named_event({"type": "content_block_stop", "index": 0})] if self._open else []
        delta = {"stop_reason": self._stop(self._finish), "stop_sequence": None}
        end = named_event({"type": "message_delta", "delta": delta, **self._usage(run)})
        return [*block, end, named_event({"type": "message_stop"})]

    def failed(self, error: Refusal) -> list[bytes] | None:
        """An error event; no `message_stop`. The text is pydantic's, which took the error for a chunk."""
        given = repr(error.body())
        found = f"[type=missing, input_value={given[:25]}...{given[-24:]}, input_type=dict]"
        more = "For further information visit https://errors.pydantic.dev/2.14/v/missing"
        missing = "".join(f"\n{name}\n  Field required {found}\n    {more}" for name in ("model", "choices"))
        text = f"2 validation errors for ChatCompletionStreamResponse{missing}"
        return [named_event({"type": "error", "error": {"type": "internal_error", "message": text}})]
