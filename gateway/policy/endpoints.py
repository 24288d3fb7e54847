"""The paths of the data plane, and the wire that each of them speaks. A path that is not here is denied."""

from dataclasses import dataclass
from typing import Literal

from gateway.contracts.envelopes import Dialect

Wire = Literal["chat", "completions", "responses", "messages", "count_tokens", "pooling", "audio", "tokenize"]
"""What a body and an answer look like; several paths may share one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path with its wire and the dialect of its errors. `streams` says whether a client may ask for a stream."""

    path: str
    wire: Wire
    streams: bool = False
    dialect: Dialect = "openai"


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        Endpoint("/v1/chat/completions", "chat", streams=True),
        Endpoint("/v1/completions", "completions", streams=True),
        Endpoint("/v1/responses", "responses", streams=True, dialect="responses"),
        Endpoint("/v1/messages", "messages", streams=True, dialect="anthropic"),
        Endpoint("/v1/messages/count_tokens", "count_tokens", dialect="anthropic"),
        Endpoint("/v1/audio/transcriptions", "audio", streams=True),
        Endpoint("/v1/audio/translations", "audio", streams=True),
        Endpoint("/v1/embeddings", "pooling"),
        Endpoint("/pooling", "pooling"),
        Endpoint("/classify", "pooling"),
        Endpoint("/v1/score", "pooling"),
        Endpoint("/score", "pooling"),
        Endpoint("/v1/rerank", "pooling"),
        Endpoint("/v2/rerank", "pooling"),
        Endpoint("/rerank", "pooling"),
        Endpoint("/tokenize", "tokenize"),
        Endpoint("/detokenize", "tokenize"),
    )
}
CHAT = ENDPOINTS["/v1/chat/completions"]
