"""Tokens of one request, as the engine counted them, and the times that it tells beside them."""

from typing import Any, TypeGuard

import msgspec

MOST = 2**31 - 1
"""A larger count is no count: at the dearest price that a price file takes, the cost of so many tokens in and out still
fits a ledger's 64 bits. One row that did not fit would hold up every row after it."""
LONGEST_MS = 1e9
"""Eleven days. A longer time is no time of a request."""


class EngineTimes(msgspec.Struct, frozen=True):
    """What an engine says of its own time, in seconds: in its queue, and from there to the first token."""

    queue_s: float | None
    prefill_s: float | None


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one request.

    `input_tokens` includes `cached_tokens`. `cached_tokens` is None where the engine does not report it (vLLM needs
    `--enable-prompt-tokens-details`): unknown is not zero. So it is with `reasoning_tokens`, which `output_tokens`
    includes, and with `times` (`--enable-per-request-metrics`, and one choice alone).
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    times: EngineTimes | None = None


class Counts(msgspec.Struct):
    """The `usage` object of OpenAI's completions, embeddings and the like, read as it came."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None

    def usage(self) -> Usage | None:
        """None when it carries no prompt count.

        Embeddings have no `completion_tokens`; that is a count of zero, not a missing one.
        """
        prompt, output = self.prompt_tokens, self.completion_tokens or 0
        if not is_count(prompt) or not is_count(output):
            return None
        read, written = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            prompt,
            output,
            None if read is None else _detail(read, "cached_tokens"),
            None if written is None else _detail(written, "reasoning_tokens"),
        )


def from_openai(usage: Any) -> Usage | None:
    """Usage from the decoded `usage` object of a whole answer; None when it carries no prompt count."""
    if not isinstance(usage, dict):
        return None
    return Counts(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        usage.get("prompt_tokens_details"),
        usage.get("completion_tokens_details"),
    ).usage()


def from_responses(usage: Any) -> Usage | None:
    """Usage from the `usage` object of OpenAI's Responses; None when a count is missing."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("input_tokens"), usage.get("output_tokens")
    if not is_count(read) or not is_count(written):
        return None
    cached = _detail(usage.get("input_tokens_details"), "cached_tokens")
    return Usage(read, written, cached, _detail(usage.get("output_tokens_details"), "reasoning_tokens"))


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


def with_times(usage: Usage | None, metrics: Any) -> Usage | None:
    """The usage with the times in the decoded `metrics` object of an answer, where that has some.

    vLLM's `time_to_first_token_ms` begins where the request left its queue, which took `queue_time_ms`.
    """
    if usage is None or not isinstance(metrics, dict):
        return usage
    queue_s, prefill_s = _seconds(metrics.get("queue_time_ms")), _seconds(metrics.get("time_to_first_token_ms"))
    if queue_s is None and prefill_s is None:
        return usage
    return msgspec.structs.replace(usage, times=EngineTimes(queue_s, prefill_s))


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a count that a ledger can hold, and the cost of."""
    return type(value) is int and 0 <= value <= MOST  # a bool is an int, and no count


def _detail(details: Any, name: str) -> int | None:
    told = details.get(name) if isinstance(details, dict) else None
    return told if is_count(told) else None


def _seconds(told: Any) -> float | None:
    """Milliseconds as an engine tells them, in seconds; None for what is no time."""
    if type(told) not in (int, float) or not 0 <= told <= LONGEST_MS:
        return None
    return float(told) / 1000.0
