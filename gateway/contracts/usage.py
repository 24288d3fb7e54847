"""Tokens of one request, as the engine counted them."""

from dataclasses import dataclass
from typing import Any, TypeGuard

MOST = 2**63 - 1
"""What a ledger can hold. A larger count is no count."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request.

    `input_tokens` includes `cached_tokens`. `cached_tokens` is None where the engine does not report it (vLLM needs
    `--enable-prompt-tokens-details`): unknown is not zero.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None


def from_openai(usage: Any) -> Usage | None:
    """Usage from the `usage` object of a response or chunk; None when it carries no prompt count.

    Embeddings have no `completion_tokens`; that is a count of zero, not a missing one.
    """
    if not isinstance(usage, dict):
        return None
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens") or 0
    if not _is_count(prompt) or not _is_count(output):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(prompt, output, cached if _is_count(cached) else None)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
