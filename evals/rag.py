"""What a sample is asked with: passages from an index, or the sample's own, put around its question.

    async with opened(suite, folder, embedder, ...) as asker:
        asked = await asker.prepare(sample)      # asked.sample goes to the model, asked.passages into the answer

The sample that is scored stays the one of the data set, so that retrieval and answer are judged apart: scorers of
retrieval read `Answer.passages`, scorers of answers the text.
"""

import hashlib
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evals import corpus
from evals.config import SuiteConfig
from evals.embeddings import Embedder, read_key
from evals.index import Manifest, base_name, full_name, manifest_of
from evals.retrieval import Store, open_store
from evals.retrieval_config import MEMORY, TEMPLATE, ChunkerConfig, EmbeddingsConfig, RetrievalConfig
from evals.schema import Passage, Sample, Unjudged
from gateway.contracts.errors import InputError

_PLACE = re.compile(r"\{(passages|question)\}")


class Asked(msgspec.Struct, frozen=True):
    """A sample as the model gets it, and the passages that it gets with it; None where there are none to give."""

    sample: Sample
    passages: list[Passage] | None = None


@dataclass(frozen=True, slots=True)
class OwnContexts:
    """Passages are the sample's `contexts`, `context#0` the first; a sample without any goes as it is."""

    template: str = TEMPLATE

    async def prepare(self, sample: Sample) -> Asked:
        """The sample with its own passages."""
        if not sample.contexts:
            return Asked(sample)
        passages = [Passage(f"context#{number}", text) for number, text in enumerate(sample.contexts)]
        return Asked(with_passages(sample, passages, self.template), passages)


@dataclass(frozen=True, slots=True)
class Retriever:
    """Passages are the `config.k` chunks of a collection that are nearest to `sample.question()`.

    `sums` has the sha256 of every chunk's text by the chunk's id: a manifest tells of what an index was made, not what
    became of its points.
    """

    config: RetrievalConfig
    embedder: Embedder
    store: Store
    collection: str
    manifest: Manifest
    sums: Mapping[str, str]

    async def passages(self, question: str) -> list[Passage]:
        """The passages for a question, the nearest first, as the documents have them.

        Raises Unjudged("retrieval_failed").
        """
        if not question.strip():
            raise Unjudged("retrieval_failed", "the sample asks nothing in plain text: there is nothing to search for")
        try:
            (vector,) = await self.embedder.embed([question])
            found = await self.store.search(self.collection, vector, self.config.k, exact=self.config.exact)
        except (Unjudged, InputError) as error:
            raise Unjudged("retrieval_failed", str(error)) from error
        if not found.passages:
            raise Unjudged("retrieval_failed", f"collection {self.collection!r} gave no passage: it is empty")
        for passage in found.passages:
            if hashlib.sha256(passage.text.encode()).hexdigest() != self.sums.get(passage.id):
                raise Unjudged(
                    "retrieval_failed",
                    f"chunk {passage.id!r} in collection {self.collection!r} has another text than the documents: it "
                    "was changed after it was indexed; `evals index` puts it right",
                )
        return found.passages

    async def prepare(self, sample: Sample) -> Asked:
        """The sample with retrieved passages; contexts of its own are not given besides."""
        passages = await self.passages(sample.question())
        return Asked(with_passages(sample, passages, self.config.template), passages)


def with_passages(sample: Sample, passages: Sequence[Passage], template: str) -> Sample:
    """The sample with its last question, the one that `question()` gives, inside the template.

    Raises Unjudged("retrieval_failed") for a sample without a question in plain text.
    """
    if sample.follow_ups:
        *before, last = sample.follow_ups
        return msgspec.structs.replace(sample, follow_ups=[*before, prompt(template, passages, last)])
    if isinstance(sample.input, str):
        return msgspec.structs.replace(sample, input=prompt(template, passages, sample.input))
    asked = [i for i, message in enumerate(sample.input) if message.get("role") == "user"]
    if not asked or not isinstance(sample.input[asked[-1]].get("content"), str):
        raise Unjudged(
            "retrieval_failed", "the sample's last user message is no plain text: passages have no place in it"
        )
    messages = list(sample.input)
    last_message = messages[asked[-1]]
    messages[asked[-1]] = {**last_message, "content": prompt(template, passages, last_message["content"])}
    return msgspec.structs.replace(sample, input=messages)


def prompt(template: str, passages: Sequence[Passage], question: str) -> str:
    """The template filled in one pass, so that braces in a passage or a question stay text.

    Passages are numbered from 1, with their ids: `[1] plans.md#0`, a line break, the text.
    """
    listed = "\n\n".join(f"[{number}] {each.id}\n{each.text}" for number, each in enumerate(passages, start=1))
    places = {"passages": listed, "question": question}
    return _PLACE.sub(lambda place: places[place[1]], template)


def identity(embedder: Embedder, retriever: Retriever | None) -> dict[str, Any]:
    """What a suite's digest takes in (see `SuiteConfig.digest`): the model, the index's manifest, how it is used."""
    found: dict[str, Any] = {"embeddings": embedder.digest}
    if retriever is not None:
        config = retriever.config
        found |= {"index": retriever.manifest.digest(), "k": config.k, "exact": config.exact}
        found["template"] = config.template
    return found


def chunked(path: Path, chunker: ChunkerConfig, embedder: Embedder) -> tuple[list[corpus.Chunk], Manifest]:
    """The chunks of a corpus and the manifest of their index. Raises DocumentError."""
    chunks = corpus.chunks(corpus.load(path), chunker)
    return chunks, manifest_of(chunks, chunker, embedder)


@asynccontextmanager
async def opened(
    suite: SuiteConfig,
    folder: Path,
    embedder: Embedder | None,
    *,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[object]],
) -> AsyncIterator[Retriever | OwnContexts]:
    """Who prepares a suite's samples; `folder` is the suite's own, from which `corpus` and a store's folder count.

    In memory the index is made now. Otherwise it has to be there, with exactly the manifest that the corpus, the
    chunker and the model have today: InputError says what differs and which command makes it.
    """
    config = suite.retrieval
    if config is None or suite.embeddings is None or embedder is None:
        yield OwnContexts()
        return
    path = folder / config.corpus
    chunks, wanted = chunked(path, config.chunker, embedder)
    base = base_name(path, config.collection)
    key = read_key(config.api_key_env, environ) if config.api_key_env else None
    location = where(config.store, folder)
    async with open_store(location, api_key=key, say=say, sleep=sleep) as store:
        if location == MEMORY:
            name = full_name(base, wanted)
            await store.build(name, wanted, chunks, embedder, lambda done: None)
        else:
            name = await store.find(base, wanted, make=command(path, config, location, suite.embeddings))
        yield Retriever(config, embedder, store, name, wanted, {chunk.id: chunk.sha256 for chunk in chunks})


def where(store: str, folder: Path) -> str:
    """A store's location: a folder counts from the suite's own."""
    return store if store == MEMORY or store.startswith(("http://", "https://")) else str(folder / store)


def command(path: Path, config: RetrievalConfig, location: str, embeddings: EmbeddingsConfig) -> str:
    """The command line that makes the index which a suite asks for."""
    words = ["evals", "index", str(path), "--into", location, "--embedding", embeddings.model]
    words += ["--chunk", config.chunker.by]
    for flag, value in (
        ("--chunk-size", config.chunker.size),
        ("--chunk-overlap", config.chunker.overlap),
        ("--collection", config.collection),
        ("--store-key-env", config.api_key_env),
        ("--base-url", embeddings.base_url),
        ("--api-key-env", embeddings.api_key_env),
    ):
        words += [flag, str(value)] if value is not None else []
    return f"`{shlex.join(words)}`"
