"""`/tokenize` and `/detokenize`. A token's number depends on its text alone; as a text, it is its number."""

import hashlib
from typing import Any

from tests.engine.job import Limits, conversation, prompts, required, served
from tests.engine.wire import dumps

VOCABULARY = 32_000


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % VOCABULARY


def tokenize(body: dict[str, Any], limits: Limits) -> bytes:
    """The tokens of a text or of a conversation."""
    model = served(body, limits)
    if "messages" in body:
        job = conversation(body["messages"], {}, limits, model, None)
        text = job.texts[0]
    else:
        (text,) = prompts(required(body, "prompt"))
    count = limits.count(text)
    words = (text.split() + [""] * count)[:count]
    strings = words if body.get("return_token_strs") else None
    head = {"count": count, "max_model_len": limits.max_model_len}
    return dumps({**head, "tokens": [_number(word) for word in words], "token_strs": strings})


def detokenize(body: dict[str, Any], limits: Limits) -> bytes:
    """The text of tokens."""
    served(body, limits)
    return dumps({"prompt": " ".join(map(str, required(body, "tokens")))})
