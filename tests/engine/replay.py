"""Replays recordings: an engine that says what the recorded one said, and the comparison of the two."""

import json
import re
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from tests.engine import raw
from tests.engine.recordings import Recording, blank, settled
from tests.engine.simulator import Engine

LIMITS = {"tiny": 1024, "faq": 256, "whisper": 448}
"""The context of each recorded model, in tokens."""


def events(body: bytes) -> list[dict[str, Any]]:
    """The data of each event of a stream."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def choices(recording: Recording) -> list[list[str]]:
    """The tokens of each choice, so far as the recording shows them; those without a text come before the last."""
    if b"data: " in recording.body:
        texts = [text for part in events(recording.body) for text in _deltas(part)]
        return [_padded(texts, max(_tokens(part, "output", "completion") for part in events(recording.body)))]
    body = json.loads(recording.body)
    texts = list(_texts(body))
    tokens = _tokens(body, "output", "completion")
    return [_padded([text], tokens // len(texts)) for text in texts]


def _padded(texts: list[str], tokens: int) -> list[str]:
    return [*texts[:-1], *repeat("", tokens - len(texts)), *texts[-1:]]


def _deltas(part: dict[str, Any]) -> Iterator[str]:
    if "choices" not in part:
        delta = part.get("delta", {})
        text = delta if isinstance(delta, str) else delta.get("text", delta.get("partial_json"))
        yield from () if text is None else (text,)
    for choice in part.get("choices", ()):
        delta = choice.get("delta", choice)
        for call in delta.get("tool_calls", ()):
            yield from (call["function"][name] for name in call["function"] if name == "arguments")
        text = delta.get("text", delta.get("content"))
        yield from () if text is None or "role" in delta else (text,)


def _texts(body: dict[str, Any]) -> Iterator[str]:
    if "text" in body and "choices" not in body and "output" not in body:
        yield body["text"]
    for part in body.get("content", ()):
        yield json.dumps(part["input"]) if "input" in part else part["text"]
    for item in body.get("output", ()):
        yield item["arguments"] if "arguments" in item else "".join(part["text"] for part in item["content"])
    for choice in body.get("choices", ()):
        message = choice.get("message", {})
        (call,) = message.get("tool_calls") or [None]
        yield call["function"]["arguments"] if call else choice.get("text") or message.get("content") or ""


def _tokens(part: dict[str, Any], *kinds: str) -> int:
    holder = part if part.get("usage") else part.get("response") or part.get("message") or {}
    usage = holder.get("usage") or {}
    cached = [f"cache_{how}_input_tokens" for how in ("read", "creation")] if "input" in kinds else []
    return sum(usage.get(name, 0) for name in [*(f"{kind}_tokens" for kind in kinds), *cached])


def _prompt_tokens(recording: Recording) -> int:
    parts = events(recording.body) if b"data: " in recording.body else [json.loads(recording.body)]
    return max(_tokens(part, "input", "prompt") for part in parts)


def engine(recording: Recording, **options: Any) -> Engine:
    """An engine that gives the recording's tokens; one more each where the limit cut them."""
    cut = any(word in recording.body for word in (b'"length"', b'"max_tokens"', b'"max_output_tokens"}'))
    answers = iter(tokens + [""] * cut for tokens in choices(recording))
    sent = json.loads(recording.sent)
    prompts = sent.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and isinstance(prompts[0], str) else 1
    tokens = _prompt_tokens(recording) // several
    fingerprint = re.search(rb'"system_fingerprint":"([^"]+)"', recording.body)
    model = sent.get("model", "tiny")
    given = {
        "model": model,
        "answer": lambda _: next(answers),
        "count": lambda _: tokens,
        "max_model_len": LIMITS.get(model, 256),
        "fingerprint": fingerprint[1].decode() if fingerprint else "",
        "prompt_tokens_details": b"cached_tokens" in recording.body or b"cache_read" in recording.body,
        "clock": lambda: 1795364183.0,
    }
    return Engine(**given | options)


async def ask(engine: Engine, recording: Recording) -> raw.Answer:
    """Send what was sent."""
    return await raw.exchange(engine.url, recording.method, recording.path, recording.sent, recording.sent_headers)


def same(answer: raw.Answer, recording: Recording, *, computed: bool = False) -> None:
    """Compare status, headers and bytes; where a model has `computed` numbers, all but those."""
    compared = blank if computed else settled
    assert compared(answer.body) == compared(recording.body)
    assert answer.status == recording.status
    varies = {"date", "content-length"} if computed else {"date"}
    assert _without(answer.headers, varies) == _without(recording.headers, varies)


def _without(headers: list[tuple[str, str]], names: set[str]) -> list[tuple[str, str]]:
    return [(name, "" if name in names else value) for name, value in headers]
