"""vLLM's bytes: key order, spacing, which keys are absent and which are null. What all APIs share, and text
completions; the other APIs have modules of their own.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from tests.engine.core import Run
from tests.engine.job import Job, Refusal

DONE = b"data: [DONE]\n\n"
LOGPROB = -0.5
"""What every token is said to have been worth."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every part of one answer repeats. `usage` is whether usage may be reported at all, `details` whether cached
    tokens are.
    """

    id: str
    created: int
    model: str
    fingerprint: str
    usage: bool = True
    details: bool = False

    def derived(self, prefix: str) -> str:
        """An id of something within the answer."""
        return prefix + hashlib.sha256(f"{self.id}/{prefix}".encode()).hexdigest()[:16]


class Writer(Protocol):
    """One answer in one API's format. A stream is `opened`, `started` with its first token, `token` for each, `ended`;
    the last event of `ended` is the one by which a client knows that the answer is whole.
    """

    def whole(self, run: Run) -> bytes:
        """The body of an answer that is not streamed."""

    def opened(self) -> list[bytes]:
        """What is sent before anything is generated."""

    def started(self) -> list[bytes]:
        """What comes with the first token."""

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """A token of a choice: the `tokens`-th; the last one says why the choice ended."""

    def ended(self, run: Run) -> list[bytes]:
        """What ends the stream."""

    def failed(self, refusal: Refusal) -> list[bytes] | None:
        """What ends the stream when generation fails; None: the connection is cut."""


def dumps(value: Any) -> bytes:
    """JSON as pydantic and Starlette write it: no spaces, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + dumps(value) + b"\n\n"


def named_event(value: dict[str, Any]) -> bytes:
    """One server-sent event that has a name: its type."""
    return b"event: " + value["type"].encode() + b"\n" + event(value)


def error_events(refusal: Refusal) -> list[bytes]:
    """An error in a stream. vLLM writes these with `json.dumps` as it is: with spaces."""
    return [b"data: " + json.dumps(refusal.body()).encode() + b"\n\n", DONE]


def usage(prompt: int, output: int, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The usage of an answer that is not streamed."""
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + output,
        "completion_tokens": output,
        "prompt_tokens_details": details,
        "completion_tokens_details": None,
    }


class Completion:
    """`/v1/completions`."""

    kind, chunk_kind = "text_completion", "text_completion"

    def __init__(self, stamp: Stamp, job: Job) -> None:
        self.stamp, self.job = stamp, job
        self._sent: dict[int, int] = {}

    def whole(self, run: Run) -> bytes:
        """The body of an answer that is not streamed."""
        details = {**self._cache(run), "multimodal_tokens": None} if self.stamp.details else None
        counted = {"usage": usage(sum(self.job.prompt_tokens), sum(run.made), details)}
        choices = [self._choice(run, index, finish) for index, finish in enumerate(run.finish)]
        return dumps(
            {
                "id": self.stamp.id,
                "object": self.kind,
                "created": self.stamp.created,
                "model": self.stamp.model,
                "choices": choices,
                "service_tier": None,
                "system_fingerprint": self.stamp.fingerprint,
                **(counted if self.stamp.usage else {}),
                **self._prompt(),
                **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
            }
        )

    def _cache(self, run: Run) -> dict[str, Any]:
        return {"cached_tokens": run.cached, "created_cache_tokens": None}

    def _prompt(self) -> dict[str, Any]:
        return {}

    def _choice(self, run: Run, index: int, finish: str) -> dict[str, Any]:
        end = {"finish_reason": finish, "stop_reason": None, "token_ids": None}
        prompt = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "routed_experts"))
        logprobs = self._logprobs(run.pieces[index][: run.made[index]], 0)
        return {"index": index, "text": run.text(index), "logprobs": logprobs, **end, **prompt}

    def _logprobs(self, tokens: list[str], offset: int) -> dict[str, Any] | None:
        if self.job.body.get("logprobs") is None:
            return None
        return {
            "text_offset": [offset + len("".join(tokens[:at])) for at in range(len(tokens))],
            "token_logprobs": [LOGPROB] * len(tokens),
            "tokens": tokens,
            "top_logprobs": [{token: LOGPROB} for token in tokens],
        }

    def opened(self) -> list[bytes]:
        """Nothing."""
        return []

    def started(self) -> list[bytes]:
        """Nothing."""
        return []

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """One token of one choice; the last one says why the choice ended."""
        at = self._sent.get(index, 0)
        self._sent[index] = at + len(text)
        ids = {"stop_reason": None, "prompt_token_ids": None, "token_ids": None}
        logprobs = self._logprobs([text], at)
        return [
            self.chunk({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish, **ids}, tokens)
        ]

    def chunk(self, choice: dict[str, Any], tokens: int) -> bytes:
        """A chunk with one choice, and with what has been used so far where that was asked for."""
        last = choice["finish_reason"] and not self.job.include_usage
        fingerprint = {"system_fingerprint": self.stamp.fingerprint} if last else {}
        return self._chunk([choice], **self.running_usage(choice["index"], tokens), **fingerprint)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": self.stamp.id, "object": self.chunk_kind, "created": self.stamp.created}
        return event({**head, "model": self.stamp.model, "choices": choices, **more})

    def running_usage(self, index: int, tokens: int) -> dict[str, Any]:
        """Usage so far. With several choices vLLM counts the tokens of the chunk's own choice only."""
        if not self.job.continuous or not self.stamp.usage:
            return {}
        prompt = self.job.prompt_tokens[index // self.job.n]
        return {"usage": {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}}

    def ended(self, run: Run) -> list[bytes]:
        """The chunk without choices, where usage was asked for, and `[DONE]`."""
        if not self.job.include_usage or not self.stamp.usage:
            return [DONE]
        prompt, output = sum(self.job.prompt_tokens), sum(run.made)
        counted: dict[str, Any] = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + output,
            "completion_tokens": output,
        }
        if self.stamp.details:
            known = {name: count for name, count in self._cache(run).items() if count is not None}
            counted["prompt_tokens_details"] = known
        return [self._chunk([], usage=counted, system_fingerprint=self.stamp.fingerprint), DONE]

    def failed(self, refusal: Refusal) -> list[bytes] | None:
        """An event with the error, and `[DONE]`."""
        return error_events(refusal)
