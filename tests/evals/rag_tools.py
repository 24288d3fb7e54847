"""Small pieces that the tests of retrieval share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from evals.corpus import Chunk, Document, chunks
from evals.embeddings import Vector, unit
from evals.index import Manifest, manifest_of
from evals.retrieval_config import ChunkerConfig
from evals.schema import Unjudged

WORDS = ("red", "green", "blue", "cat", "dog", "sea")


@dataclass
class Counting:
    """Counts words: a text is the vector of how often each of WORDS is in it. Remembers what it was asked."""

    name: str = "counting"
    dimensions: int = len(WORDS)
    digest: str = "sha256:" + "1" * 64
    asked: list[str] = field(default_factory=list)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.asked += texts
        found = [[float(text.lower().split().count(word)) for word in WORDS] for text in texts]
        if any(not any(vector) for vector in found):
            raise Unjudged("not_measured", "none of the words")
        return [unit(vector) for vector in found]


def made(
    *texts: str, by: ChunkerConfig | None = None, embedder: Counting | None = None
) -> tuple[list[Chunk], Manifest]:
    """Chunks of documents d0, d1, ... and their manifest."""
    chunker = by or ChunkerConfig()
    cut = chunks([Document(f"d{number}", text) for number, text in enumerate(texts)], chunker)
    return cut, manifest_of(cut, chunker, embedder or Counting())


async def no_wait(seconds: float) -> None:
    """A sleep that takes no time."""
