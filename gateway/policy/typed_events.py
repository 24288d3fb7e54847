"""The streams whose events have types: Anthropic's Messages and OpenAI's Responses. Every byte of them passes."""

import re
from typing import Any

from gateway.contracts.usage import Usage, from_anthropic, from_responses, with_times
from gateway.policy import shapes
from gateway.policy.events import EventMeter, error_object, read

_TRUE_CODE = re.compile(r"'code': ([45]\d\d)\}")
"""Of the error that vLLM failed to read, in the message of that failure."""
_NO_EVENT = "an event of the stream is not an object in JSON"


class MessagesMeter(EventMeter):
    """Anthropic's Messages: the first event counts the input, the last but one everything.

    Between them nothing is counted by the engine. It sends at most one delta for each step of a generation, and none
    without a token: each delta of content counts as one token, which is the output of an aborted stream from below.
    """

    __slots__ = ()

    def event(self, event: bytes, data: bytes) -> bytes:
        """All of its bytes, unless it is an error."""
        told = read(shapes.messages_event, data, _NO_EVENT)
        if told.type == "content_block_delta":
            if self.usage is not None and told.delta is not None and told.delta.type != "signature_delta":
                before = self.usage
                self.usage = Usage(before.input_tokens, before.output_tokens + 1, before.cached_tokens)
        elif told.type == "message_start" and told.message is not None:
            self.usage = _counted(from_anthropic(told.message.usage))
        elif told.type == "message_delta":
            self.usage = _counted(from_anthropic(told.usage, self.usage))
        elif told.type == "message_stop":
            self.finished = True
        elif told.type == "error":
            self.error = _unwrapped(error_object(bytes(told.error) or data))
            return b""
        return event


def _counted(usage: Usage | None) -> Usage | None:
    """Usage, unless its input is nothing: every prompt has a token, and LiteLLM begins each stream with zeros that
    nobody has counted. What is unknown is charged as it was reserved; what is zero would be free."""
    return usage if usage is not None and usage.input_tokens else None


def _unwrapped(error: dict[str, Any]) -> dict[str, Any]:
    """The error with the status that it has below. vLLM translates its chat stream event by event, and of an error
    there tells only that it is no chunk: without its code, a client's mistake would be the engine's failure."""
    code = _TRUE_CODE.search(str(error.get("message")))
    return error if code is None else {"code": int(code[1]), **error}


class ResponsesMeter(EventMeter):
    """OpenAI's Responses: the last event alone counts, so the usage of a stream that was cut off is unknown.

    Nothing before it counts the input, and a delta may hold any number of tokens; None is not zero.
    """

    __slots__ = ()

    def event(self, event: bytes, data: bytes) -> bytes:
        """All of its bytes, unless it is an error."""
        told = read(shapes.responses_event, data, _NO_EVENT)
        if told.type in ("response.completed", "response.incomplete", "response.failed"):
            ended = read(shapes.responses_end, data, _NO_EVENT)
            if (response := ended.response) is not None:
                self.usage = with_times(from_responses(response.usage), response.metrics)
            self.finished = True
        elif told.type == "error" or (told.type is None and told.error):
            # vLLM's own has the members of the error in the event itself, or in `error`.
            self.error = error_object(bytes(told.error) or data)
            return b""
        return event
