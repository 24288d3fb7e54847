"""Which paths an engine has: what they read, what they answer, and for which kinds of model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.engine import audio, job, messages, pooling, responses, tokens
from tests.engine.chat import Chat
from tests.engine.job import Job, Limits, Refusal
from tests.engine.pooling import Head
from tests.engine.wire import Completion, Stamp, Writer

Task = Literal["generate", "transcribe", "embed", "score", "classify"]
Read = Callable[[dict[str, Any], Limits], Job]
ANY: tuple[Task, ...] = ("generate", "transcribe", "embed", "score", "classify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path that is posted to, for models of some tasks."""

    tasks: tuple[Task, ...]
    decode: Callable[[bytes, str], dict[str, Any]] = job.decode
    refusal: Callable[[Refusal], dict[str, Any]] = Refusal.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Generates(Endpoint):
    """Makes tokens, and may stream them. `id` is how the ids of its answers begin."""

    read: Read
    write: Callable[[Stamp, Job], Writer]
    id: str
    keeps_alive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools(Endpoint):
    """Reads texts, and makes numbers of them."""

    read: Read
    write: Callable[[Stamp, Job, Head], bytes]
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(Endpoint):
    """Answers from the tokenizer; the engine behind it has no part."""

    answer: Callable[[dict[str, Any], Limits], bytes]


_TEXT: tuple[Task, ...] = ("generate",)
_SPEECH: tuple[Task, ...] = ("transcribe",)
_SCORE = Pools(tasks=("embed", "score"), read=pooling.pairs, write=pooling.score, id="score-")
_RANK = Pools(tasks=("embed", "score"), read=pooling.ranking, write=pooling.rerank, id="score-")

ENDPOINTS: dict[str, Endpoint] = {
    "/v1/chat/completions": Generates(tasks=_TEXT, read=job.chat, write=Chat, id="chatcmpl-", keeps_alive=True),
    "/v1/completions": Generates(tasks=_TEXT, read=job.completion, write=Completion, id="cmpl-", keeps_alive=True),
    "/v1/messages": Generates(
        tasks=_TEXT, read=messages.message, write=messages.Messages, id="chatcmpl-", refusal=messages.refusal
    ),
    "/v1/messages/count_tokens": Counts(tasks=_TEXT, answer=messages.count_tokens, refusal=messages.refusal),
    "/v1/responses": Generates(tasks=_TEXT, read=responses.response, write=responses.Responses, id="resp_"),
    "/v1/audio/transcriptions": Generates(
        tasks=_SPEECH, read=audio.speech, write=audio.Transcription, id="transcribe-", decode=audio.decode
    ),
    "/v1/audio/translations": Generates(
        tasks=_SPEECH, read=audio.speech, write=audio.Translation, id="translate-", decode=audio.decode
    ),
    "/v1/embeddings": Pools(tasks=("embed",), read=pooling.texts, write=pooling.embeddings, id="embd-"),
    "/pooling": Pools(tasks=("embed", "score", "classify"), read=pooling.texts, write=pooling.pooling, id="pooling-"),
    "/classify": Pools(tasks=("classify",), read=pooling.texts, write=pooling.classify, id="classify-"),
    "/v1/score": _SCORE,
    "/score": _SCORE,
    "/v1/rerank": _RANK,
    "/v2/rerank": _RANK,
    "/rerank": _RANK,
    "/tokenize": Counts(tasks=ANY, answer=tokens.tokenize),
    "/detokenize": Counts(tasks=ANY, answer=tokens.detokenize),
}
