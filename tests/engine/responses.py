"""OpenAI's Responses API as vLLM speaks it: `/v1/responses`."""

from typing import Any

from tests.engine.core import Run
from tests.engine.job import Job, Limits, Refusal, conversation, required, served
from tests.engine.wire import Stamp, dumps, named_event

NOTHING_OF = dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages"))


def response(body: dict[str, Any], limits: Limits) -> Job:
    """A response to be made. The input is a text, or a list of messages."""
    # vLLM gives every such body an id of its own before it looks at it.
    given = required(body, "input", items=len(body) + 1)
    if (previous := body.get("previous_response_id")) is not None:
        raise unknown(previous)
    model = served(body, limits)
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if body.get("instructions"):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    names = [tool["name"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    tool = choice["name"] if isinstance(choice, dict) else names[0] if choice == "required" else None
    return conversation(messages, body, limits, model, tool)


def unknown(response_id: str) -> Refusal:
    """The answer for a response that is not kept: none is, unless vLLM is told to."""
    return Refusal(404, f"Response with id '{response_id}' not found.", "invalid_request_error", "response_id")


def _listed(tool: dict[str, Any]) -> dict[str, Any]:
    absent = dict.fromkeys(("allowed_callers", "async", "defer_loading"))
    head = {"name": tool["name"], "parameters": tool.get("parameters"), "strict": tool.get("strict")}
    return {**head, "type": "function", **absent, "description": tool.get("description"), "output_schema": None}


class Responses:
    """`/v1/responses`. Every event of a stream carries its number."""

    def __init__(self, stamp: Stamp, job: Job) -> None:
        self.stamp, self.job = stamp, job
        self._number = 0
        self._text = ""
        self._item = stamp.derived("msg_" if job.tool is None else "fc_")

    def whole(self, run: Run) -> bytes:
        """The body of an answer that is not streamed."""
        return dumps(self._response(run, [self._done(run.text(0))]))

    def _response(self, run: Run | None, output: list[dict[str, Any]]) -> dict[str, Any]:
        """The response as it stands: begun, or with the run that made it."""
        asked = self.job.body
        cut = run is not None and run.finish[0] == "length"
        tools = [_listed(tool) for tool in asked.get("tools") or ()]
        return {
            "id": self.stamp.id,
            "created_at": self.stamp.created,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": asked.get("instructions"),
            "metadata": asked.get("metadata"),
            "model": self.stamp.model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": asked.get("parallel_tool_calls", True),
            "temperature": float(asked.get("temperature", 1.0)),
            "tool_choice": asked.get("tool_choice", "auto") if tools else "none",
            "tools": tools,
            "top_p": float(asked.get("top_p", 1.0)),
            "background": False,
            "max_output_tokens": self.job.limit,
            **dict.fromkeys(("max_tool_calls", "previous_response_id", "prompt", "reasoning")),
            "service_tier": "auto",
            "status": "in_progress" if run is None else "incomplete" if cut else "completed",
            "text": None,
            "top_logprobs": None,
            "truncation": "disabled",
            "usage": None if run is None or not self.stamp.usage else self._usage(run),
            "user": asked.get("user"),
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            **NOTHING_OF,
        }

    def _usage(self, run: Run) -> dict[str, Any]:
        prompt, output = self.job.prompt_tokens[0], run.made[0]
        turns: dict[str, list[int]] = {"input_tokens_per_turn": [], "cached_tokens_per_turn": []}
        made: dict[str, list[int]] = {"output_tokens_per_turn": [], "tool_output_tokens_per_turn": []}
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": run.cached, "cache_write_tokens": run.created, **turns},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0, "tool_output_tokens": 0, **made},
            "total_tokens": prompt + output,
        }

    def _done(self, text: str) -> dict[str, Any]:
        if self.job.tool is not None:
            return self._call(text, "completed")
        return self._message([self._part(text, None)] if text else [], "completed")

    def _message(self, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
        head = {"id": self._item, "content": content, "role": "assistant", "status": status}
        return {**head, "type": "message", "phase": None}

    def _call(self, arguments: str, status: str) -> dict[str, Any]:
        called = {"call_id": self.stamp.derived("chatcmpl-tool-"), "name": self.job.tool, "type": "function_call"}
        absent = dict.fromkeys(("async", "caller", "namespace"))
        return {"arguments": arguments, **called, "id": self._item, **absent, "status": status}

    @staticmethod
    def _part(text: str, logprobs: list[Any] | None) -> dict[str, Any]:
        return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}

    def _event(self, kind: str, **fields: Any) -> bytes:
        # vLLM's classes list their fields by the alphabet; a few have some of their own behind the type.
        last = {"name": fields.pop("name")} if "name" in fields else {}
        numbered = dict(sorted({**fields, "sequence_number": self._number}.items()))
        self._number += 1
        return named_event({**numbered, "type": f"response.{kind}", **last})

    def opened(self) -> list[bytes]:
        """The response, begun: vLLM sends it before anything is generated."""
        return [self._event(kind, response=self._response(None, [])) for kind in ("created", "in_progress")]

    def started(self) -> list[bytes]:
        """The function that is called."""
        if self.job.tool is None:
            return []
        return [self._event("output_item.added", item=self._call("", "in_progress"), output_index=0)]

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """A delta of the message, which the first one starts. Tokens without a text leave no trace."""
        if not text:
            return []
        first, self._text = not self._text, self._text + text
        place: dict[str, Any] = {"item_id": self._item, "output_index": 0}
        if self.job.tool is not None:
            return [self._event("function_call_arguments.delta", delta=text, **place)]
        events = []
        if first:
            events.append(self._event("output_item.added", item=self._message([], "in_progress"), output_index=0))
            part = self._part("", [])
            events.append(self._event("content_part.added", content_index=0, part=part, **place))
        return [*events, self._event("output_text.delta", content_index=0, delta=text, logprobs=[], **place)]

    def ended(self, run: Run) -> list[bytes]:
        """The end of the message and all that it is in, and the response as a whole."""
        if not self._text and self.job.tool is None:
            return [self._event("completed", response=self._response(run, []))]
        place: dict[str, Any] = {"item_id": self._item, "output_index": 0}
        if self.job.tool is not None:
            done = {"arguments": self._text, "name": self.job.tool}
            events = [self._event("function_call_arguments.done", **done, **place)]
        else:
            text, part = self._text, self._part(self._text, None)
            events = [
                self._event("output_text.done", content_index=0, logprobs=[], text=text, **place),
                self._event("content_part.done", content_index=0, part=part, **place),
            ]
        item = self._done(self._text)
        events.append(self._event("output_item.done", item=item, output_index=0))
        return [*events, self._event("completed", response=self._response(run, [item]))]

    def failed(self, error: Refusal) -> list[bytes] | None:
        """Nothing: vLLM lets the connection break."""
        return None
