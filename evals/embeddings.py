"""Embedding models: text to vectors of unit length, or an error; never a vector of nothing.

Two of them, with one face (`Embedder`):

- `Wordllama` runs in this process. Its weights and tokenizer come inside the package of that name, so that it works
  without a network: the mean of static token vectors, 256 dimensions, tens of thousands of short texts a second.
- `Served` asks `/v1/embeddings`, of the gateway or of any server that speaks OpenAI's API.

What an embedder cannot embed (blank text) or a server answers wrongly (another count, another length, a number that is
not finite, a vector without a direction) raises `Unjudged("not_measured")`. wordllama is loaded on the first use.
"""

import importlib.util
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from evals.client import DIGEST, Client, Reply, read_response
from evals.retrieval_config import LOCAL_MODEL, EmbeddingsConfig
from evals.schema import Failure, Unjudged
from gateway.contracts import canonical
from gateway.contracts.errors import InputError

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference

Vector = list[float]
BATCH = 128
"""Texts in one request, or in one turn of the local model."""
PROBE = "The quick brown fox jumps over the lazy dog."
"""A text that a model is asked to embed to learn what it is."""
_PADDED_CHARACTERS = 200_000
_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
_BACKOFF_S, _BACKOFF_CAP_S, _LONGEST_WAIT_S = 0.5, 30.0, 120.0


class Embedder(Protocol):
    """A model that is ready. Its vectors have unit length."""

    @property
    def name(self) -> str:
        """The name that it is asked for by."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        ...

    @property
    def digest(self) -> str:
        """Its identity, `sha256:...`: another one means other vectors."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text, in their order. Raises Unjudged("not_measured")."""
        ...


def unit(vector: Sequence[float]) -> Vector:
    """The vector at length 1. Raises Unjudged for one without a direction or with a number that is not finite."""
    # The largest part first: squares of the parts themselves may be too large or too small for a float.
    largest = max(map(abs, vector), default=0.0)
    if not all(map(math.isfinite, vector)):
        raise Unjudged("not_measured", "the embedding holds a number that is not finite")
    if largest == 0.0:
        raise Unjudged("not_measured", "the embedding is all zeros: it points nowhere, and resembles nothing")
    scaled = [part / largest for part in vector]
    length = math.sqrt(math.fsum(part * part for part in scaled))
    return [part / length for part in scaled]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors, in [-1, 1]; exactly 1 for equal ones. Raises Unjudged where there is none."""
    if len(one) != len(other):
        raise Unjudged("not_measured", f"vectors of {len(one)} and {len(other)} dimensions cannot be compared")
    one, other = unit(one), unit(other)
    if one == other:
        return 1.0
    return max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(one, other, strict=True))))


def _refuse_blank(texts: Sequence[str]) -> None:
    for position, text in enumerate(texts):
        if not text.strip():
            raise Unjudged("not_measured", f"text {position + 1} of {len(texts)} is blank: it has no embedding")


@dataclass
class Wordllama:
    """WordLlama's `l2_supercat`, 256 dimensions, from the package's own files."""

    name: str = LOCAL_MODEL
    dimensions: int = 256

    @cached_property
    def digest(self) -> str:
        """Over both files and what is done with them. Raises InputError when the package is not installed."""
        files = [canonical.file_digest(self._file(name)) for name in (_WEIGHTS, _TOKENIZER)]
        return canonical.digest({"weights": files[0], "tokenizer": files[1], "pooling": "mean"})

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text, in their order. Raises Unjudged for blank text, InputError without the package."""
        _refuse_blank(texts)
        found: dict[int, Vector] = {}
        # The model pads every text of a batch to the longest one: neighbours in length waste little, and a long
        # document gets a batch to itself.
        for batch in _batches(texts):
            made: list[Vector] = self._model.embed(
                [texts[i] for i in batch], norm=False, batch_size=len(batch)
            ).tolist()
            found |= {i: unit(vector) for i, vector in zip(batch, made, strict=True)}
        return [found[i] for i in range(len(texts))]

    @cached_property
    def _model(self) -> "WordLlamaInference":
        paths = self._file(_WEIGHTS), self._file(_TOKENIZER)
        root = logging.getLogger()
        before = list(root.handlers), root.level
        import safetensors
        import tokenizers
        from wordllama.inference import WordLlamaInference

        # The package sets up logging for the whole program when it is imported.
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        with safetensors.safe_open(paths[0], framework="np") as file:
            weights = file.get_tensor("embedding.weight")
        return WordLlamaInference(weights, tokenizers.Tokenizer.from_file(str(paths[1])))

    @staticmethod
    def _file(name: str) -> Path:
        found = importlib.util.find_spec("wordllama")
        if found is None or found.origin is None:
            raise InputError("wordllama is not installed: pip install 'tollgate[evals]'")
        path = Path(found.origin).parent / name
        if not path.is_file():
            raise InputError(f"this version of wordllama brings no {name!r}: pip install 'wordllama>=0.4,<0.5'")
        return path


def _batches(texts: Sequence[str]) -> list[list[int]]:
    """Positions of texts, the shortest first; no batch is wider than BATCH or, padded, too large for the memory."""
    batches: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        last = batches[-1] if batches else []
        if not last or len(last) == BATCH or (len(last) + 1) * len(texts[i]) > _PADDED_CHARACTERS:
            batches.append([i])
        else:
            last.append(i)
    return batches


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _List(msgspec.Struct):
    data: list[_Item]


_decoder = msgspec.json.Decoder(_List)


@dataclass
class Served:
    """A model behind `/v1/embeddings`.

    `dimensions` and `digest` are known once `open_embedder` has asked for the probe. The digest is the release's own
    where the gateway names it; a bare engine names none, and then it is over the model's name alone.
    `sleep` is in seconds, `rng` jitters the waits.
    """

    name: str
    client: Client
    sleep: Callable[[float], Awaitable[object]]
    rng: random.Random
    timeout_s: float = 60.0
    max_retries: int = 4
    dimensions: int = 0
    digest: str = ""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text, in their order; BATCH of them in one request. Raises Unjudged("not_measured")."""
        _refuse_blank(texts)
        found: list[Vector] = []
        for start in range(0, len(texts), BATCH):
            found += await self._ask(texts[start : start + BATCH])
        return found

    async def probe(self) -> None:
        """Learn dimensions and identity. Raises InputError when the model cannot be asked."""
        try:
            await self.embed([PROBE])
        except Unjudged as error:
            raise InputError(f"the embedding model {self.name!r} at {self.client.base_url!r}: {error}") from error

    async def _ask(self, texts: Sequence[str]) -> list[Vector]:
        body = msgspec.json.encode({"model": self.name, "input": list(texts), "encoding_format": "float"})
        for attempt in range(self.max_retries + 1):
            reply = await self.client.post("/embeddings", body, self.timeout_s)
            if reply.status == 200:
                return self._read(reply, len(texts))
            result = reply.broken or read_response(reply.status, reply.headers, reply.content, reply.latency_s)
            failure = result.failure or Failure("bad_response", "no embeddings")
            wait = max(self.rng.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_S * 2**attempt)), result.retry_after or 0.0)
            if not result.retryable or attempt == self.max_retries or wait > _LONGEST_WAIT_S:
                break
            await self.sleep(wait)
        raise Unjudged("not_measured", f"no embedding from {self.name!r}: {failure.kind}: {failure.message}")

    def _read(self, reply: Reply, count: int) -> list[Vector]:
        try:
            items = sorted(_decoder.decode(reply.content).data, key=lambda item: item.index)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unjudged("not_measured", f"{self.name!r} answered 200, but no list of embeddings: {error}") from error
        if [item.index for item in items] != list(range(count)):
            raise Unjudged("not_measured", f"{self.name!r}: expected {count} embeddings, one each, found {len(items)}")
        self._recognise(reply, {len(item.embedding) for item in items})
        return [unit(item.embedding) for item in items]

    def _recognise(self, reply: Reply, lengths: set[int]) -> None:
        """One model, from the first answer to the last."""
        digest = canonical.digest({"model": self.name, "release": reply.headers.get(DIGEST)})
        self.dimensions = self.dimensions or min(lengths)
        self.digest = self.digest or digest
        if lengths != {self.dimensions}:
            found = ", ".join(map(str, sorted(lengths)))
            raise Unjudged("not_measured", f"{self.name!r}: expected {self.dimensions} dimensions, found {found}")
        if digest != self.digest:
            raise Unjudged("not_measured", f"{self.name!r} became another release while it was used: start again")


def read_key(variable: str, environ: Mapping[str, str]) -> str:
    """The key that a variable holds. Raises InputError when there is none."""
    if not environ.get(variable):
        raise InputError(f"expected a key in the variable {variable!r}, found none: export it")
    return environ[variable]


@asynccontextmanager
async def open_embedder(
    config: EmbeddingsConfig,
    *,
    base_url: str,
    api_key: str | None,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    rng: random.Random,
    connections: int = 32,
) -> AsyncIterator[Embedder]:
    """The embedder that a suite asks for, ready.

    `base_url` and `api_key` are the run's own; the key goes to no other URL. `environ` holds the variable that
    `api_key_env` names. Raises InputError for a package or a key that is missing, or a model that does not answer.
    """
    if config.local:
        yield Wordllama()
        return
    key = api_key if config.base_url is None else None
    if config.api_key_env is not None:
        key = read_key(config.api_key_env, environ)
    async with Client(config.base_url or base_url, key, connections=connections, clock=clock) as client:
        served = Served(config.model, client, sleep, rng)
        await served.probe()
        yield served
