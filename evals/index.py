"""What an index was made of, so that a run can refuse one that was made of something else.

The manifest's digest covers the documents, the chunker and the embedding model. It stands in the name of the collection
and, with the whole manifest, in the collection's metadata.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals.corpus import Chunk
from evals.embeddings import Embedder
from evals.retrieval_config import ChunkerConfig
from gateway.contracts import canonical

VERSION = "tollgate.index/v1"
_DIGITS = 12
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a search result depends on, apart from the question.

    `documents` is a digest over the pairs of chunk id and text, sorted. Vectors are scaled to length 1 before they are
    stored and are compared by their cosine.
    """

    version: str = VERSION
    documents: str
    chunks: int
    chunker: dict[str, Any]
    embedding: str
    embedding_digest: str
    dimensions: int
    distance: str = "cosine"
    normalised: bool = True

    def digest(self) -> str:
        """`sha256:...` over every field."""
        return canonical.digest(msgspec.to_builtins(self))


@dataclass(frozen=True, slots=True)
class Stored:
    """A collection as it stands. `manifest` is None for one that the harness did not make.

    `indexed` counts the vectors that a server's HNSW index holds; `ready` is false while it still builds one.
    """

    name: str
    manifest: Manifest | None
    points: int
    indexed: int
    ready: bool


def manifest_of(chunks: Sequence[Chunk], chunker: ChunkerConfig, embedder: Embedder) -> Manifest:
    """The manifest that an index of these chunks has; the order of the chunks changes nothing."""
    return Manifest(
        documents=canonical.digest(sorted([chunk.id, chunk.sha256] for chunk in chunks)),
        chunks=len(chunks),
        chunker=chunker.model_dump(mode="json", exclude_none=True),
        embedding=embedder.name,
        embedding_digest=embedder.digest,
        dimensions=embedder.dimensions,
    )


def base_name(corpus: Path, collection: str | None) -> str:
    """The name that all indexes of one corpus begin with."""
    return collection or _UNSAFE.sub("-", corpus.resolve().stem).strip("-._")[:64] or "corpus"


def full_name(base: str, manifest: Manifest) -> str:
    """The name of the collection: `documents-0f3a...`, with the first digits of the manifest's digest."""
    return f"{base}-{manifest.digest().removeprefix('sha256:')[:_DIGITS]}"


def is_of(name: str, base: str) -> bool:
    """Whether a collection is an index of the corpus of that name."""
    return re.fullmatch(re.escape(base) + rf"-[0-9a-f]{{{_DIGITS}}}", name) is not None


def differences(wanted: Manifest, found: Manifest) -> list[str]:
    """Which parts of two manifests differ, in words. Documents count only where they were cut alike."""
    told: list[str] = []
    if wanted.version != found.version:
        told.append(f"its version is {found.version}, expected {wanted.version}")
    if wanted.chunker != found.chunker:
        told.append(f"its chunker is {_words(found.chunker)}, expected {_words(wanted.chunker)}")
    elif wanted.documents != found.documents:
        told.append(f"its documents are others ({found.chunks} chunks, expected {wanted.chunks})")
    if wanted.embedding != found.embedding:
        told.append(f"its embedding model is {found.embedding!r}, expected {wanted.embedding!r}")
    elif wanted.embedding_digest != found.embedding_digest:
        told.append(f"its embedding model {found.embedding!r} was another release")
    elif wanted.dimensions != found.dimensions:
        told.append(f"its vectors have {found.dimensions} dimensions, expected {wanted.dimensions}")
    if (wanted.distance, wanted.normalised) != (found.distance, found.normalised):
        told.append(f"its vectors are compared by {found.distance}, normalised: {found.normalised}")
    return told


def absent(location: str, base: str, wanted: Manifest, others: Sequence[Stored]) -> str:
    """Why no collection fits, by the one that differs least."""
    made = [(differences(wanted, other.manifest), other.name) for other in others if other.manifest is not None]
    if not made:
        return f"the store {location!r} holds no index {base!r}"
    told, name = min(made, key=lambda pair: (len(pair[0]), pair[1]))
    return f"the store {location!r} holds no such index {base!r}: of {name!r}, {', and '.join(told)}"


def why(wanted: Manifest, found: Manifest | None) -> str:
    """The differences as one piece of a sentence."""
    return "it holds no manifest" if found is None else ", and ".join(differences(wanted, found))


def _words(chunker: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(chunker.items()))
