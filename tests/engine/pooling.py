"""The endpoints of an engine that generates nothing: embeddings, scores, ranks and classes.

vLLM serves such a model with `--runner pooling`. Which of the endpoints it has depends on the model's task.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from tests.engine.job import Job, Limits, Refusal, fits, prompts, required
from tests.engine.wire import Stamp, dumps, usage

BINARY = ("bytes", "bytes_only")


def overlap(one: str, other: str) -> float:
    """The default score: the share of words that two texts have in common."""
    here, there = set(one.lower().split()), set(other.lower().split())
    return len(here & there) / max(1, len(here | there))


@dataclass(frozen=True, slots=True)
class Head:
    """What the model makes of a text, or of two."""

    task: str
    dimensions: int
    labels: tuple[str, ...]
    score: Callable[[str, str], float]

    def vector(self, text: str) -> list[float]:
        """Numbers that depend on the text alone; exact in 32-bit floats."""
        size = {"classify": len(self.labels), "score": 1}.get(self.task, self.dimensions)
        seed = hashlib.shake_256(text.encode()).digest(size)
        if self.task == "embed":
            return [(byte - 128) / 128 for byte in seed]
        return [(byte + 1) / (sum(seed) + len(seed)) for byte in seed]


def _served(body: dict[str, Any], limits: Limits) -> str:
    name = body.get("model") or limits.names[0]
    if name not in limits.names:
        raise Refusal(404, f"The model `{name}` does not exist.", "NotFoundError")
    return str(name)


def _job(body: dict[str, Any], limits: Limits, texts: list[str], counted: list[str]) -> Job:
    tokens = tuple(limits.count(text) for text in counted)
    fits(max(tokens), limits.max_model_len)
    return Job(_served(body, limits), tuple(texts), tuple(counted), tokens, body, n=0)


def texts(body: dict[str, Any], limits: Limits) -> Job:
    """Texts, of which each is embedded or classified by itself; or a conversation, which is one."""
    if "messages" in body:
        given = [" ".join(str(message["content"]) for message in body["messages"])]
    else:
        given = prompts(required(body, "input"))
    return _job(body, limits, given, given)


def pairs(body: dict[str, Any], limits: Limits) -> Job:
    """Texts to compare: one with one, one with several, or several in pairs."""
    names = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))
    first, second = next((pair for pair in names if pair[0] in body and pair[1] in body), names[0])
    one, other = prompts(required(body, first)), prompts(required(body, second))
    if len(one) not in (1, len(other)):
        raise Refusal(400, "Input lengths must be either 1:1, 1:N or N:N")
    left = one if len(one) == len(other) else list(repeat(one[0], len(other)))
    compared = [text for pair in zip(left, other, strict=True) for text in pair]
    return _job(body, limits, compared, [*one, *other] if limits.apart else [*left, *other])


def ranking(body: dict[str, Any], limits: Limits) -> Job:
    """Documents to put in order."""
    query, documents = required(body, "query"), required(body, "documents")
    if any(isinstance(each, dict) for each in documents):
        message = "MultiModalParam is not supported for LlamaForSequenceClassification"
        raise Refusal(400, message)
    return pairs({**body, "text_1": query, "text_2": documents}, limits)


def _list(stamp: Stamp, job: Job, data: list[dict[str, Any]]) -> bytes:
    counted = {"usage": usage(sum(job.prompt_tokens), 0)} if stamp.usage else {}
    head = {"id": stamp.id, "object": "list", "created": stamp.created, "model": stamp.model}
    return dumps({**head, "data": data, **counted})


def _packed(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def _numbers(job: Job, head: Head) -> list[Any]:
    """As numbers, or as base64 of little-endian 32-bit floats."""
    vectors = [head.vector(text) for text in job.prompts]
    if job.body.get("encoding_format") == "base64":
        return [base64.b64encode(_packed(vector)).decode() for vector in vectors]
    return vectors


def embeddings(stamp: Stamp, job: Job, head: Head) -> bytes:
    """The body of `/v1/embeddings`."""
    made = enumerate(_numbers(job, head))
    return _list(stamp, job, [{"index": at, "object": "embedding", "embedding": each} for at, each in made])


def pooling(stamp: Stamp, job: Job, head: Head) -> bytes:
    """The body of `/pooling`."""
    made = enumerate(_numbers(job, head))
    return _list(stamp, job, [{"index": at, "object": "pooling", "data": each} for at, each in made])


def classify(stamp: Stamp, job: Job, head: Head) -> bytes:
    """The body of `/classify`."""
    data = []
    for at, text in enumerate(job.prompts):
        shares = head.vector(text)
        label = head.labels[shares.index(max(shares))]
        data.append({"index": at, "label": label, "probs": shares, "num_classes": len(shares)})
    return _list(stamp, job, data)


def _scores(job: Job, head: Head) -> list[float]:
    return [head.score(one, other) for one, other in zip(job.prompts[::2], job.prompts[1::2], strict=True)]


def score(stamp: Stamp, job: Job, head: Head) -> bytes:
    """The body of `/score`."""
    made = enumerate(_scores(job, head))
    return _list(stamp, job, [{"index": at, "object": "score", "score": each} for at, each in made])


def rerank(stamp: Stamp, job: Job, head: Head) -> bytes:
    """The body of `/rerank`: the best first, and as many as were asked for."""
    results = [
        {"index": at, "document": {"text": text, "multi_modal": None}, "relevance_score": score}
        for at, (text, score) in enumerate(zip(job.prompts[1::2], _scores(job, head), strict=True))
    ]
    best = sorted(results, key=lambda result: -float(result["relevance_score"]))  # type: ignore[arg-type]
    tokens = sum(job.prompt_tokens)
    counted = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if stamp.usage else {}
    return dumps({"id": stamp.id, "model": stamp.model, **counted, "results": best[: job.body.get("top_n") or None]})


def binary(stamp: Stamp, job: Job, head: Head) -> tuple[bytes, str]:
    """Vectors as bytes, and the header `metadata` that describes them: usage is nowhere else."""
    vectors = [_packed(head.vector(text)) for text in job.prompts]
    data, at = [], 0
    for index, vector in enumerate(vectors):
        form = {"embed_dtype": "float32", "endianness": "native", "start": at, "end": at + len(vector)}
        data.append({"index": index, **form, "shape": [len(vector) // 4]})
        at += len(vector)
    tokens = sum(job.prompt_tokens)
    counted = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if stamp.usage else {}
    metadata = {"id": stamp.id, "created": stamp.created, "model": stamp.model, "data": data, **counted}
    return b"".join(vectors), json.dumps(metadata)
