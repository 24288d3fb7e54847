"""One request for each endpoint, and for each thing that an endpoint can do: what goes in, and what it counts."""

import io
import json
import wave
from dataclasses import dataclass, field
from typing import Any

from gateway.policy.endpoints import ENDPOINTS, Endpoint
from tests.engine.endpoints import Task
from tests.engine.simulator import Engine

SERVED = "engine-side-name"
"""What the engines call the model; clients call it `faq`."""
WORDS = "one two three four"
ANSWER = ['{"city":', ' "Paris",', ' "days":', " 4}"]
"""Four tokens that are JSON together, so that they may be a function's arguments."""
SECONDS = 0.05
AUDIO_TOKENS = 9
"""Of a sound that long: four that say what to do, and one for each hundredth of a second."""

TOOL = {"name": "weather", "description": "w"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL = {"type": "function", "function": {**TOOL, "parameters": SCHEMA}}


@dataclass(frozen=True)
class Call:
    """A request. `usage` is (input, output) of the whole answer; a text that is cut off counts `cut` after 2 tokens.

    Its `form`, where it has one, goes instead of JSON. `None` is a count that nobody can know.
    """

    name: str
    path: str
    fields: dict[str, Any]
    task: Task = "generate"
    usage: tuple[int, int] | None = (4, 4)
    cut: tuple[int, int] | None = (4, 2)
    engine: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> Endpoint:
        """The gateway's entry for its path."""
        return ENDPOINTS[self.path]

    @property
    def several(self) -> bool:
        """Whether it asks for more than one answer."""
        return "n" in self.fields

    def sent(self, model: str, **more: Any) -> tuple[bytes, str]:
        """(body, content type)."""
        fields = {"model": model, **self.fields, **more}
        if self.endpoint.wire == "audio":
            return form(fields), "multipart/form-data; boundary=x"
        return json.dumps(fields).encode(), "application/json"

    def served(self, **options: Any) -> Engine:
        """An engine for it, whose clock stands still and whose answers are `ANSWER`."""
        given = {"answer": lambda _: ANSWER, "clock": lambda: 1795364183.0, **self.engine}
        return Engine(SERVED, task=self.task, **{**given, **options})


def sound() -> bytes:
    """A WAV file of `SECONDS`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(b"\x80" * int(8000 * SECONDS))
    return file.getvalue()


def form(fields: dict[str, Any], file: bytes | None = None) -> bytes:
    """A multipart form with the boundary `x`, its file last."""
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in texts.items()
    ]
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return b"".join(parts) + head + (sound() if file is None else file) + b"\r\n--x--\r\n"


_MESSAGES = [{"role": "user", "content": WORDS}]
_PAIR = {"text_1": "a b", "text_2": ["c", "d e"]}
_RANKED = {"query": "a b", "documents": ["c", "a b c"]}
CHAT = Call("chat", "/v1/chat/completions", {"messages": _MESSAGES})
COMPLETION = Call("completion", "/v1/completions", {"prompt": WORDS})
RESPONSE = Call("response", "/v1/responses", {"input": WORDS}, cut=None)
MESSAGE = Call("message", "/v1/messages", {"messages": _MESSAGES, "max_tokens": 100})
HEARD: dict[str, Any] = {"usage": None, "cut": (AUDIO_TOKENS, 2), "task": "transcribe"}
TRANSCRIPTION = Call("transcription", "/v1/audio/transcriptions", {}, **HEARD)
TRANSLATION = Call("translation", "/v1/audio/translations", {}, **HEARD)

STREAMS = (CHAT, COMPLETION, RESPONSE, MESSAGE, TRANSCRIPTION, TRANSLATION)
ENDS = (
    *STREAMS,
    Call("count_tokens", "/v1/messages/count_tokens", {"messages": _MESSAGES}, usage=(0, 0)),
    Call("embeddings", "/v1/embeddings", {"input": ["a b", "c"]}, "embed", (3, 0)),
    Call("pooling", "/pooling", {"input": ["a b", "c"]}, "embed", (3, 0)),
    Call("classify", "/classify", {"input": ["a b", "c"]}, "classify", (3, 0)),
    Call("v1_score", "/v1/score", _PAIR, "score", (7, 0)),
    Call("score", "/score", _PAIR, "score", (7, 0)),
    Call("v1_rerank", "/v1/rerank", _RANKED, "score", (8, 0)),
    Call("v2_rerank", "/v2/rerank", _RANKED, "score", (8, 0)),
    Call("rerank", "/rerank", _RANKED, "score", (8, 0)),
    Call("tokenize", "/tokenize", {"prompt": WORDS}, usage=(0, 0)),
    Call("detokenize", "/detokenize", {"tokens": [1, 2]}, usage=(0, 0)),
)
"""One of each endpoint."""
_CHAT: dict[str, Any] = {"messages": _MESSAGES}
_NAMED = {"type": "function", "function": {"name": "weather"}}
_USE = {"tools": [{**TOOL, "input_schema": SCHEMA}], "tool_choice": {"type": "any"}}
_CALL = {"tools": [{"type": "function", **TOOL, "parameters": SCHEMA}], "tool_choice": "required"}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
ABLE = (
    Call("tools", CHAT.path, {**_CHAT, "tools": [CHAT_TOOL], "tool_choice": "required"}),
    Call("a tool", CHAT.path, {**_CHAT, "tools": [CHAT_TOOL], "tool_choice": _NAMED}),
    Call("logprobs", CHAT.path, {**_CHAT, "logprobs": True, "top_logprobs": 1}),
    Call("two answers", CHAT.path, {**_CHAT, "n": 2}, usage=(4, 8)),
    Call("two prompts", COMPLETION.path, {"prompt": ["a b", "c"], "n": 2, "logprobs": 1}, usage=(3, 16)),
    Call("token ids", COMPLETION.path, {"prompt": [7, 8, 9]}, usage=(3, 4)),
    Call("schema", CHAT.path, {**_CHAT, "response_format": _FORMAT}),
    Call("structured", CHAT.path, {**_CHAT, "structured_outputs": {"json": SCHEMA}, "vllm_xargs": {"a": 1}}),
    Call("details", CHAT.path, _CHAT, engine={"prompt_tokens_details": True}),
    Call("a use", MESSAGE.path, {**MESSAGE.fields, **_USE}),
    Call("a call", RESPONSE.path, {**RESPONSE.fields, **_CALL}),
)
"""What the endpoints can do beside plain text."""
PACKED = (
    Call("base64", "/v1/embeddings", {"input": "a b", "encoding_format": "base64"}, "embed", (2, 0)),
    Call("bytes", "/v1/embeddings", {"input": ["a b", "c"], "encoding_format": "bytes"}, "embed", (3, 0)),
    Call("packed pooling", "/pooling", {"input": ["a b", "c"], "encoding_format": "bytes"}, "embed", (3, 0)),
    Call("transcript", TRANSCRIPTION.path, {"response_format": "text"}, **HEARD),
    Call("verbose", TRANSCRIPTION.path, {"response_format": "verbose_json"}, **HEARD),
)
"""Answers in other forms."""
