"""vLLM's bytes: key order, spacing, which keys are absent and which are null."""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

from tests.engine.job import Job

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every part of one answer repeats. `usage` is whether usage may be reported at all."""

    id: str
    created: int
    model: str
    fingerprint: str
    chat: bool
    usage: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """A whole choice: its text, and why it ended."""

    text: str
    tokens: int
    finish: str


def dumps(value: Any) -> bytes:
    """JSON as pydantic and Starlette write it: no spaces, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + dumps(value) + b"\n\n"


def error_event(body: dict[str, Any]) -> bytes:
    """An error in a stream. vLLM writes these with `json.dumps` as it is: with spaces."""
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _details(cached: int | None) -> dict[str, Any] | None:
    if cached is None:
        return None
    return {"cached_tokens": cached, "created_cache_tokens": None, "multimodal_tokens": None}


def _usage(prompt: int, output: int, cached: int | None = None) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + output,
        "completion_tokens": output,
        "prompt_tokens_details": _details(cached),
        "completion_tokens_details": None,
    }


def _message(text: str) -> dict[str, Any]:
    absent = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    return {"role": "assistant", "content": text, **absent}


def _choice(stamp: Stamp, index: int, choice: Choice) -> dict[str, Any]:
    end = {"logprobs": None, "finish_reason": choice.finish, "stop_reason": None, "token_ids": None}
    if stamp.chat:
        return {"index": index, "message": _message(choice.text), **end, "routed_experts": None}
    prompt = {"prompt_logprobs": None, "prompt_token_ids": None}
    return {"index": index, "text": choice.text, **end, **prompt, "routed_experts": None}


def answer(stamp: Stamp, job: Job, choices: list[Choice], cached: int | None) -> bytes:
    """The body of a plain chat or text completion."""
    usage = _usage(sum(job.prompt_tokens), sum(choice.tokens for choice in choices), cached)
    prompt = dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")) if stamp.chat else {}
    return dumps(
        {
            "id": stamp.id,
            "object": "chat.completion" if stamp.chat else "text_completion",
            "created": stamp.created,
            "model": stamp.model,
            "choices": [_choice(stamp, index, choice) for index, choice in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": stamp.fingerprint,
            **({"usage": usage} if stamp.usage else {}),
            **prompt,
            **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
        }
    )


def _chunk(stamp: Stamp, choices: list[dict[str, Any]], **more: Any) -> bytes:
    kind = "chat.completion.chunk" if stamp.chat else "text_completion"
    head = {"id": stamp.id, "object": kind, "created": stamp.created, "model": stamp.model}
    return event({**head, "choices": choices, **more})


def _running_usage(stamp: Stamp, job: Job, prompt: int, output: int) -> dict[str, Any]:
    """Usage so far, in a chunk. With several choices vLLM counts the tokens of the chunk's own choice only."""
    if not job.continuous or not stamp.usage:
        return {}
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + output, "completion_tokens": output}
    return {"usage": {**usage, "completion_tokens_details": None} if stamp.chat else usage}


def role_chunk(stamp: Stamp, job: Job, index: int) -> bytes:
    """The first chunk of a chat stream, one for each choice."""
    delta = {"role": "assistant", "content": ""}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    usage = _running_usage(stamp, job, job.prompt_tokens[0], 0)
    return _chunk(stamp, [choice], **usage, prompt_token_ids=None, prompt_text=None)


def token_chunk(stamp: Stamp, job: Job, index: int, text: str, tokens: int, finish: str | None) -> bytes:
    """One token of one choice; the last one says why the choice ended."""
    if stamp.chat:
        stop = {"stop_reason": None} if finish else {}
        body = {"delta": {"content": text}, "logprobs": None, "finish_reason": finish, **stop, "token_ids": None}
    else:
        ids = {"prompt_token_ids": None, "token_ids": None}
        body = {"text": text, "logprobs": None, "finish_reason": finish, "stop_reason": None, **ids}
    usage = _running_usage(stamp, job, job.prompt_tokens[index // job.n], tokens)
    last = {"system_fingerprint": stamp.fingerprint} if finish and not job.include_usage else {}
    return _chunk(stamp, [{"index": index, **body}], **usage, **last)


def usage_chunk(stamp: Stamp, job: Job, tokens: int, cached: int | None) -> bytes:
    """The chunk without choices that ends a stream with `include_usage`."""
    prompt = sum(job.prompt_tokens)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return _chunk(stamp, [], usage=usage, system_fingerprint=stamp.fingerprint)


def vector(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone; exact in 32-bit floats."""
    seed = hashlib.shake_256(text.encode()).digest(dimensions)
    return [(byte - 128) / 128 for byte in seed]


def embeddings(stamp: Stamp, job: Job, dimensions: int) -> bytes:
    """The body of `/v1/embeddings`, as numbers or as base64 of little-endian 32-bit floats."""
    data = []
    for index, text in enumerate(job.prompts):
        numbers: Any = vector(text, dimensions)
        if job.body.get("encoding_format") == "base64":
            numbers = base64.b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode()
        data.append({"index": index, "object": "embedding", "embedding": numbers})
    usage = {"usage": _usage(sum(job.prompt_tokens), 0)} if stamp.usage else {}
    head = {"id": stamp.id, "object": "list", "created": stamp.created, "model": stamp.model}
    return dumps({**head, "data": data, **usage})


def models(names: tuple[str, ...], created: int, max_model_len: int) -> bytes:
    """The body of `/v1/models`."""
    return dumps({"object": "list", "data": [_model(name, created, max_model_len) for name in names]})


def _model(name: str, created: int, max_model_len: int) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{hashlib.sha256(name.encode()).hexdigest()[:16]}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": f"models/{name}",
        "parent": None,
        "max_model_len": max_model_len,
        "permission": [permission],
    }
