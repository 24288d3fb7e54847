"""Tokens of one request, as the engine counted them."""

from typing import Any, TypeGuard

import msgspec

MOST = 2**63 - 1
"""What a ledger can hold. A larger count is no count."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one request.

    `input_tokens` includes `cached_tokens`. `cached_tokens` is None where the engine does not report it (vLLM needs
    `--enable-prompt-tokens-details`): unknown is not zero.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None


class Counts(msgspec.Struct):
    """The `usage` object of OpenAI's completions, embeddings and the like, read as it came."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: Any = None

    def usage(self) -> Usage | None:
        """None when it carries no prompt count.

        Embeddings have no `completion_tokens`; that is a count of zero, not a missing one.
        """
        prompt, output = self.prompt_tokens, self.completion_tokens or 0
        if not is_count(prompt) or not is_count(output):
            return None
        details = self.prompt_tokens_details
        return Usage(prompt, output, None if details is None else _cached(details))


def from_openai(usage: Any) -> Usage | None:
    """Usage from the decoded `usage` object of a whole answer; None when it carries no prompt count."""
    if not isinstance(usage, dict):
        return None
    return Counts(
        usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("prompt_tokens_details")
    ).usage()


def from_responses(usage: Any) -> Usage | None:
    """Usage from the `usage` object of OpenAI's Responses; None when a count is missing."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("input_tokens"), usage.get("output_tokens")
    if not is_count(read) or not is_count(written):
        return None
    return Usage(read, written, _cached(usage.get("input_tokens_details")))


def from_anthropic(usage: Any, before: Usage | None = None) -> Usage | None:
    """Usage from the `usage` object of Anthropic's Messages, whose `input_tokens` leave out what a cache gave or took.

    `before` is what an earlier event of the same stream told: a later one may carry the output alone. None when no
    event has told the input.
    """
    if not isinstance(usage, dict):
        return before
    output = usage.get("output_tokens") or 0
    if not is_count(output):
        return before
    if usage.get("input_tokens") is None:
        return None if before is None else Usage(before.input_tokens, output, before.cached_tokens)
    cached, created = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    parts = [usage["input_tokens"], cached or 0, created or 0]
    if not all(is_count(part) for part in parts) or not is_count(sum(parts)):
        return before
    return Usage(sum(parts), output, cached)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a count that a ledger can hold."""
    return type(value) is int and 0 <= value <= MOST  # a bool is an int, and no count


def _cached(details: Any) -> int | None:
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return cached if is_count(cached) else None
