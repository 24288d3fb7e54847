"""Texts of strangers, made fit to be shown: no character that steers a terminal or a page, and no more than fits."""

import json
import re
from collections.abc import Iterable
from typing import Any

from evals.report.view import Message
from evals.schema import Sample, ToolCall

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(text: str) -> str:
    """The text with every character that would be obeyed and not seen written as its code, such as `<U+001B>`."""
    return _UNSEEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text.replace("\r\n", "\n"))


def cut(text: str, most: int) -> tuple[str, int]:
    """The beginning of a text, cleaned, and how many characters of it were left out."""
    return clean(text[:most]), max(0, len(text) - most)


def ending(text: str, most: int) -> str:
    """The beginning of a text, cleaned, which says how much was left out."""
    shown, left = cut(text, most)
    return f"{shown} … ({left:,} more characters)" if left else shown


def call(made: ToolCall) -> str:
    """`search({"city": "Oslo"})`."""
    return f"{made.name}({json.dumps(made.arguments, ensure_ascii=False)})"


def prompt(sample: Sample, most: int) -> tuple[Message, ...]:
    """What is asked, message by message: given passages first, follow-ups last. Each one at most so long."""
    messages = [Message("given passage", ending(text, most)) for text in sample.contexts or ()]
    asked: list[dict[str, Any]] = (
        [{"role": "user", "content": sample.input}] if isinstance(sample.input, str) else sample.input
    )
    messages += [Message(clean(str(one.get("role"))), ending(_content(one), most)) for one in asked]
    return (*messages, *(Message("user, then", ending(text, most)) for text in sample.follow_ups))


def _content(message: dict[str, Any]) -> str:
    """The text of a message; of its other parts, what they are and no data, which may be a whole picture."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(_parts(content))
    text = content if isinstance(content, str) else ""
    calls = message.get("tool_calls")
    return f"{text}\n{json.dumps(calls, ensure_ascii=False)}".strip() if calls else text


def _parts(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
        else:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            yield f"[{kind}]"
