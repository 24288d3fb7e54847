"""Texts made comparable: without case, punctuation and white space."""

import re
import unicodedata
from typing import Any

from evals.schema import Sample

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")
_GUIDANCE = frozenset({"system", "developer"})


def words(text: str) -> list[str]:
    """The words of a text, case-folded. Chinese and Japanese have no spaces: each of their signs counts as a word."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def fold(text: str) -> str:
    """A text's words with one space between them; the text itself where it has none (`???`)."""
    return " ".join(words(text)) or text.strip()


def asked(sample: Sample) -> str:
    """Everything that a sample asks: its messages without the system's, then its follow-ups."""
    if isinstance(sample.input, str):
        parts = [sample.input]
    else:
        parts = [content(message) for message in sample.input if message.get("role") not in _GUIDANCE]
    return "\n".join([*parts, *sample.follow_ups])


def guidance(sample: Sample) -> str:
    """What a sample itself tells the model beforehand: its system messages."""
    if isinstance(sample.input, str):
        return ""
    return "\n".join(content(message) for message in sample.input if message.get("role") in _GUIDANCE)


def content(message: dict[str, Any]) -> str:
    """The text of a chat message; of parts, those that are text."""
    held = message.get("content")
    if isinstance(held, list):
        return "\n".join(str(part.get("text", "")) for part in held if isinstance(part, dict))
    return held if isinstance(held, str) else ""
