"""What an engine says on each wire, written by hand: its bytes, what a client gets of them, and what they count."""

import json
from dataclasses import dataclass
from typing import Any

INPUT = 7
"""Tokens of every prompt here."""
Count = tuple[int, int] | None
"""(input, output) tokens that an engine has told of, or None."""


@dataclass(frozen=True)
class Event:
    """One event: as the engine sends it, what its client gets of it, and the count from then on."""

    sent: bytes
    seen: bytes
    count: Count


STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/audio/transcriptions")
WHOLE = (*STREAMED, "/v1/messages/count_tokens", "/v1/embeddings", "/v1/rerank", "/tokenize")


def _data(value: dict[str, Any], name: str | None = None) -> bytes:
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def events(path: str, mark: str, tokens: int, *, usage: bool, continuous: bool) -> list[Event]:
    """A whole stream. `usage`: its client wants the count; `continuous`: in every chunk."""
    if path == "/v1/messages":
        return _messages(mark, tokens)
    if path == "/v1/responses":
        return _responses(mark, tokens)
    return _chunks(path, mark, tokens, usage=usage, continuous=continuous)


def _chunks(path: str, mark: str, tokens: int, *, usage: bool, continuous: bool) -> list[Event]:
    made = []
    first = 0 if path == "/v1/chat/completions" else 1
    for at in range(first, tokens + 1):
        finish = "stop" if at == tokens else None
        chunk = {"id": mark, "choices": [{"index": 0, "text": f"t{at}", "finish_reason": finish}]}
        sent = _data({**chunk, "usage": _usage(at)})
        made.append(Event(sent, sent if continuous else _data(chunk), (INPUT, at)))
    last = _data({"id": mark, "choices": [], "usage": _usage(tokens)})
    done = b"data: [DONE]\n\n"
    return [*made, Event(last, last if usage else b"", (INPUT, tokens)), Event(done, done, (INPUT, tokens))]


def _usage(output: int) -> dict[str, int]:
    return {"prompt_tokens": INPUT, "total_tokens": INPUT + output, "completion_tokens": output}


def _messages(mark: str, tokens: int) -> list[Event]:
    start = {"id": mark, "usage": {"input_tokens": INPUT, "output_tokens": 0}}
    made = [(_typed("message_start", message=start), 0)]
    for at in range(1, tokens + 1):
        made.append((_typed("content_block_delta", index=0, delta={"type": "text_delta", "text": f"t{at}"}), at))
    made.append((_typed("message_delta", delta={}, usage={"output_tokens": tokens}), tokens))
    made.append((_typed("message_stop"), tokens))
    return [Event(data, data, (INPUT, at)) for data, at in made]


def _responses(mark: str, tokens: int) -> list[Event]:
    made = [_typed("response.created", response={"id": mark})]
    made += [_typed("response.output_text.delta", delta=f"t{at}") for at in range(1, tokens + 1)]
    usage = {"input_tokens": INPUT, "output_tokens": tokens}
    last = _typed("response.completed", response={"id": mark, "usage": usage})
    return [*(Event(data, data, None) for data in made), Event(last, last, (INPUT, tokens))]


def _typed(kind: str, **fields: Any) -> bytes:
    return _data({"type": kind, **fields}, kind)


def whole(path: str, mark: str, tokens: int) -> Event:
    """A whole answer."""
    count: Count = (INPUT, tokens)
    usage: Any = _usage(tokens)
    if path in ("/v1/responses", "/v1/messages"):
        usage = {"input_tokens": INPUT, "output_tokens": tokens}
    elif path in ("/v1/messages/count_tokens", "/tokenize"):
        count, usage = (0, 0), None
    body = json.dumps({"id": mark, **({} if usage is None else {"usage": usage})}).encode()
    return Event(body, body, count)


def ask(path: str, *, stream: bool, usage: bool, continuous: bool) -> tuple[bytes, str]:
    """(body, content type) of a request for the model `faq`."""
    if path.startswith("/v1/audio"):
        flags = {"stream": stream, "stream_include_usage": usage, "stream_continuous_usage_stats": usage and continuous}
        parts = {"model": "faq", **{name: "true" for name, flag in flags.items() if flag and stream}}
        form = "".join(
            f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
        )
        return f"{form}--X--\r\n".encode(), "multipart/form-data; boundary=X"
    body: dict[str, Any] = {"model": "faq", "prompt": "x"}
    if stream:
        body["stream"] = True
        if usage and path in ("/v1/chat/completions", "/v1/completions"):
            body["stream_options"] = {"include_usage": True, **({"continuous_usage_stats": True} if continuous else {})}
    return json.dumps(body).encode(), "application/json"
