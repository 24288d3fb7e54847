"""`evals index`: put a corpus into Qdrant, look at what is there, measure what the index itself loses."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from evals import dataset, index, index_loss, rag
from evals.cli import tables
from evals.cli.common import Command, Interrupted, console
from evals.cli.progress import ChunkProgress
from evals.embeddings import Embedder, open_embedder, read_key
from evals.retrieval import Store, open_store
from evals.retrieval_config import LOCAL_MODEL, MEMORY, ChunkerConfig, EmbeddingsConfig, is_server
from gateway.contracts.errors import InputError

_KEY = "TOLLGATE_API_KEY"
T = TypeVar("T")


class _Default(click.Group):
    """`evals index CORPUS` is `evals index build CORPUS`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["build", *args]
        return super().parse_args(ctx, args)


@click.group("index", cls=_Default)
def index_group() -> None:
    """Put a corpus into Qdrant, so that suites can retrieve from it.

    A corpus is a JSON Lines file of {"id", "text"} or a folder of .md and .txt files. The store is a folder, which
    Qdrant's local mode uses without a server, or the URL of a server.

    \b
    Examples:
      evals index documents.jsonl --into .index
      evals index docs/ --into http://127.0.0.1:6333 --chunk paragraphs --chunk-size 800
      evals index show .index
      evals index loss questions.jsonl --into http://127.0.0.1:6333 --collection documents-0f3a5c7e9b1d
    """


_into = click.option("--into", required=True, help="The store: a folder, or a Qdrant server's URL.")
_store_key = click.option("--store-key-env", help="Variable that holds the Qdrant server's key.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_embedding = click.option(
    "--embedding", default=LOCAL_MODEL, show_default=True, help="wordllama, or a model behind /v1/embeddings."
)
_base_url = click.option("--base-url", default="http://127.0.0.1:8080/v1", show_default=True, help="Where that is.")
_key = click.option("--api-key-env", default=_KEY, show_default=True, help="Variable that holds its key.")


@index_group.command("build", cls=Command)
@click.argument("corpus", type=click.Path(path_type=Path))
@_into
@click.option("--collection", help="What the collection's name begins with  [the corpus's name].")
@_embedding
@click.option("--chunk", type=click.Choice(["document", "characters", "paragraphs"]), default="document")
@click.option("--chunk-size", type=click.IntRange(min=1), help="The most characters of a chunk.")
@click.option("--chunk-overlap", type=click.IntRange(min=0), help="Characters that neighbours share.")
@click.option("--prune", is_flag=True, help="Delete the other indexes of this name: earlier documents, other settings.")
@_base_url
@_key
@_store_key
@_as_json
def build(corpus: Path, into: str, as_json: bool, **flags: Any) -> None:
    """Index a corpus. What is there already is not done again.

    \b
    Examples:
      evals index documents.jsonl --into .index
    """
    sizes = {"size": flags["chunk_size"], "overlap": flags["chunk_overlap"]}
    try:
        chunker = ChunkerConfig(by=flags["chunk"], **sizes)
    except ValueError as error:
        raise click.UsageError(f"--chunk, --chunk-size, --chunk-overlap: {_first(error)}") from error
    if into == MEMORY:
        raise click.UsageError("--into: what is in memory is gone when this command ends; give a folder or a URL")
    result = _run(_build(corpus, into, chunker, flags))
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    did = f"{result['embedded']} embedded, {result['chunks'] - result['embedded']} there already"
    click.echo(f"{result['collection']}: {result['chunks']} chunks of {result['documents']} documents ({did})")
    click.echo(f"manifest: {result['manifest']}")
    for name in result["others"]:
        click.echo(f"{'deleted' if flags['prune'] else 'also there (--prune deletes it)'}: {name}")


@index_group.command("show", cls=Command)
@click.argument("store")
@_store_key
@_as_json
def show(store: str, store_key_env: str | None, as_json: bool) -> None:
    """List the collections of a store and what they were made of.

    \b
    Examples:
      evals index show .index
    """
    if not is_server(store) and not Path(store).is_dir():
        raise InputError(f"no store {store!r}: `evals index CORPUS --into {store}` makes one")
    found = _run(_show(store, store_key_env))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    table = tables.table("collection", ">chunks", "complete", "chunker", "embedding", ">dimensions", "manifest")
    for each in found:
        made = each.manifest
        if made is None:
            table.add_row(each.name, str(each.points), "?", "not made by evals index", "", "", "")
            continue
        complete = "yes" if each.points == made.chunks else f"no, of {made.chunks}"
        cut = " ".join(str(value) for value in made.chunker.values())
        digest = made.digest().removeprefix("sha256:")[:12]
        table.add_row(each.name, str(each.points), complete, cut, made.embedding, str(made.dimensions), digest)
    console().print(table)


@index_group.command("loss", cls=Command)
@click.argument("questions", type=click.Path(path_type=Path, dir_okay=False))
@_into
@click.option("--collection", required=True, help="The collection, by its full name (`evals index show`).")
@click.option("-k", type=click.IntRange(min=1), default=5, show_default=True, help="Passages of a question.")
@_embedding
@_base_url
@_key
@_store_key
@_as_json
def loss(questions: Path, into: str, collection: str, k: int, as_json: bool, **flags: Any) -> None:
    """Measure what a server's approximate index loses against exact search over the same vectors.

    Recall@k of the one against the other, over the questions of a data set: a loss of the index, apart from what the
    embedding model does not find. Local mode is exact, and has nothing to measure.

    \b
    Examples:
      evals index loss questions.jsonl --into http://127.0.0.1:6333 --collection documents-0f3a5c7e9b1d -k 10
    """
    if not is_server(into):
        told = "local mode compares a question with every chunk: its search is exact, and there is no loss to measure"
        click.echo(msgspec.json.encode({"exact": True, "recall": None, "note": told}) if as_json else told)
        return
    result = _run(_loss(questions, into, collection, k, flags))
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    interval = f"95% interval [{result.lower:.4f}, {result.upper:.4f}]"
    click.echo(f"recall@{k} against exact search: {result.recall:.4f}, {interval}, {result.questions} questions")
    click.echo(f"vectors in the index: {result.indexed} of {result.points}")
    for note in result.notes:
        click.echo(f"note: {note}")


def _first(error: ValueError) -> str:
    return str(error).split("Value error, ")[-1].split(" [type=")[0]


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return uvloop.run(work)
    except KeyboardInterrupt:
        raise Interrupted("stopped; the same command goes on") from None


def _say(text: str) -> None:
    console(stderr=True).print(f"note: {text}", markup=False)


@asynccontextmanager
async def _opened(location: str, store_key: str | None) -> AsyncIterator[Store]:
    key = read_key(store_key, os.environ) if store_key else None
    async with open_store(location, api_key=key, say=_say, sleep=asyncio.sleep) as store:
        yield store


@asynccontextmanager
async def _embedder(flags: dict[str, Any]) -> AsyncIterator[Embedder]:
    config = EmbeddingsConfig(model=flags["embedding"])
    variable = flags["api_key_env"]
    key = os.environ.get(variable) if variable == _KEY or config.local else read_key(variable, os.environ)
    rng = random.Random(0)  # noqa: S311 - jitter, no secret
    async with open_embedder(
        config,
        base_url=flags["base_url"],
        api_key=key,
        environ=os.environ,
        clock=time.perf_counter,
        sleep=asyncio.sleep,
        rng=rng,
    ) as made:
        yield made


async def _build(corpus: Path, into: str, chunker: ChunkerConfig, flags: dict[str, Any]) -> dict[str, Any]:
    async with _embedder(flags) as embedder, _opened(into, flags["store_key_env"]) as store:
        chunks, manifest = rag.chunked(corpus, chunker, embedder)
        base = index.base_name(corpus, flags["collection"])
        name = index.full_name(base, manifest)
        with ChunkProgress(len(chunks), time.monotonic) as progress:
            embedded = await store.build(name, manifest, chunks, embedder, progress)
        others = [each for each in await store.names() if index.is_of(each, base) and each != name]
        if flags["prune"]:
            for each in others:
                await store.drop(each)
        return {
            "store": into,
            "collection": name,
            "manifest": manifest.digest(),
            "documents": len({chunk.document for chunk in chunks}),
            "chunks": len(chunks),
            "embedded": embedded,
            "others": others,
        }


async def _show(location: str, store_key: str | None) -> list[index.Stored]:
    async with _opened(location, store_key) as store:
        return [await store.look(name) for name in await store.names()]


async def _loss(questions: Path, into: str, collection: str, k: int, flags: dict[str, Any]) -> index_loss.Loss:
    data = dataset.load(questions)
    async with _embedder(flags) as embedder, _opened(into, flags["store_key_env"]) as store:
        return await index_loss.measure(data.samples, k, embedder, store, collection)
