"""Indexes in Qdrant: build, look at, search. The only file that imports qdrant_client, which is loaded on first use.

A store is a server's URL, a folder, or `:memory:`; the last two are Qdrant's local mode, which compares a question with
every chunk, so that its answer is exact. Only one process at a time opens a folder. A server searches through an
approximate index (HNSW) unless it is told to be `exact`.

Results have one order, the same on every machine: by score, rounded to 6 decimals, the highest first, then by chunk id.
Equal scores at the cut are all fetched before they are ordered, for Qdrant itself returns any of them.
Collection metadata, where the manifest stands, is kept by servers from 1.16 on.
"""

import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from evals.corpus import Chunk
from evals.embeddings import Embedder, Vector
from evals.index import Manifest, Stored, absent, full_name, is_of, why
from evals.retrieval_config import MEMORY, is_server
from evals.schema import Passage, Unjudged
from evals.store_faults import LOCAL, opening, reason
from gateway.contracts.errors import InputError

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

LOCAL_LIMIT = 20_000
"""Chunks above which local mode, which compares every one of them, is better replaced by a server."""
_KEY = "tollgate"
_NAMESPACE = uuid.UUID("6f0cf7e2-5f0c-5c8e-9d53-0e0f0a6d5b1a")
_BATCH, _PAGE = 256, 1_000
SPARE = 8
_DECIMALS = 6
_TIMEOUT_S = 30
_WAITS_S = (0.5, 1.0, 2.0)
_BUSY = frozenset({429, 500, 502, 503, 504})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The passages nearest to a question, and the ids that tie with the last of them, itself among them."""

    passages: list[Passage]
    tied: frozenset[str]


@dataclass
class Store:
    """An open Qdrant. `say` takes notes for people; `sleep` is in seconds."""

    location: str
    client: "AsyncQdrantClient"
    say: Callable[[str], None]
    sleep: Callable[[float], Awaitable[object]]

    @property
    def server(self) -> bool:
        """Whether this is a server, and not local mode."""
        return is_server(self.location)

    async def names(self) -> list[str]:
        """All collections, sorted. Raises InputError when the store cannot be asked; so do the others."""
        found = await self._call(self.client.get_collections)
        return sorted(each.name for each in found.collections)

    async def look(self, name: str) -> Stored:
        """One collection."""
        info = await self._call(lambda: self.client.get_collection(name))
        points = await self._call(lambda: self.client.count(name, exact=True))
        held = (info.config.metadata or {}).get(_KEY)
        try:
            manifest = msgspec.convert(held, Manifest) if held is not None else None
        except msgspec.ValidationError:
            manifest = None
        return Stored(name, manifest, points.count, info.indexed_vectors_count or 0, info.status.value == "green")

    async def find(self, base: str, wanted: Manifest, *, make: str) -> str:
        """The name of the complete index with this manifest.

        Raises InputError when there is none: it says which part of the nearest one differs, and that `make` makes it.
        """
        name, names = full_name(base, wanted), await self.names()
        if name not in names:
            others = [await self.look(other) for other in names if is_of(other, base)]
            raise InputError(absent(self.location, base, wanted, others) + f"; make it: {make}")
        stored = await self.look(name)
        if stored.manifest != wanted:
            told = why(wanted, stored.manifest)
            raise InputError(f"collection {name!r} in {self.location!r} is not what its name says: {told}; {make}")
        if stored.points != wanted.chunks:
            raise InputError(
                f"collection {name!r} in {self.location!r} holds {stored.points} of {wanted.chunks} chunks: indexing "
                f"was interrupted, or somebody changed it; {make}"
            )
        self._warn(stored.points)
        return name

    async def build(
        self,
        name: str,
        manifest: Manifest,
        chunks: Sequence[Chunk],
        embedder: Embedder,
        on_chunks: Callable[[int], None],
    ) -> int:
        """Make a collection complete, and return how many chunks had to be embedded; 0 when nothing was to do.

        One that was interrupted goes on; what does not belong is removed, and a chunk with another text put right.
        `on_chunks` is told how many are done. Raises InputError when a chunk cannot be embedded, or the name is taken
        by something else.
        """
        wanted = {point_id(chunk.id): chunk for chunk in chunks}
        held, altered = await self._prepare(name, manifest, wanted)
        if gone := sorted(altered - set(wanted)):
            await self._call(lambda: self.client.delete(name, points_selector=list(gone), wait=True))
        todo = [(point, chunk) for point, chunk in wanted.items() if point not in held]
        on_chunks(len(chunks) - len(todo))
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            await self._upsert(name, batch, await _embed(embedder, [chunk for _, chunk in batch]))
            on_chunks(len(batch))
        self._warn(len(chunks))
        return len(todo)

    async def search(self, name: str, vector: Vector, k: int, *, exact: bool = False) -> Found:
        """The k nearest chunks, in their one order; fewer where the collection holds fewer."""
        limit = k + SPARE
        while True:
            ranked = await self._query(name, vector, limit, exact)
            if len(ranked) < limit or ranked[-1].score != ranked[k - 1].score:
                break
            limit *= 2
        best = ranked[:k]
        last = best[-1].score if best else None
        return Found(best, frozenset(passage.id for passage in ranked if passage.score == last))

    async def drop(self, name: str) -> None:
        """Delete a collection."""
        await self._call(lambda: self.client.delete_collection(name))

    def _warn(self, chunks: int) -> None:
        if not self.server and chunks > LOCAL_LIMIT:
            self.say(
                f"{chunks} chunks in local mode, which compares every one of them with each question: above "
                f"{LOCAL_LIMIT:,} a Qdrant server is faster (--into http://HOST:6333)"
            )

    async def _prepare(self, name: str, manifest: Manifest, wanted: Mapping[str, Chunk]) -> tuple[set[str], set[str]]:
        """The points of the collection that are as `wanted`, and all others; it is made when there is none."""
        from qdrant_client import models

        if name not in await self.names():
            shape = models.VectorParams(size=manifest.dimensions, distance=models.Distance.COSINE)
            about = {_KEY: msgspec.to_builtins(manifest)}
            await self._call(lambda: self.client.create_collection(name, vectors_config=shape, metadata=about))
        stored = await self.look(name)
        if stored.manifest != manifest:
            raise InputError(
                f"collection {name!r} in {self.location!r} is not what its name says: "
                f"{why(manifest, stored.manifest)}; delete it, or choose another --collection"
            )
        found: set[str] = set()
        held: set[str] = set()
        offset: Any = None
        while stored.points:
            page = partial(self.client.scroll, name, limit=_PAGE, offset=offset, with_payload=True)
            records, offset = await self._call(page)
            payloads = {str(record.id): record.payload for record in records}
            found |= set(payloads)
            held |= {point for point, payload in payloads.items() if payload == _payload(wanted.get(point))}
            if offset is None:
                break
        return held, found - held

    async def _upsert(self, name: str, batch: Sequence[tuple[str, Chunk]], vectors: Sequence[Vector]) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=point, vector=vector, payload=_payload(chunk))
            for (point, chunk), vector in zip(batch, vectors, strict=True)
        ]
        with _quiet():
            await self._call(lambda: self.client.upsert(name, points=points, wait=True))

    async def _query(self, name: str, vector: Vector, limit: int, exact: bool) -> list[Passage]:
        from qdrant_client import models

        # Local mode is exact, and warns whoever asks it to be.
        params = models.SearchParams(exact=exact) if self.server else None
        reply = await self._call(
            lambda: self.client.query_points(name, query=vector, limit=limit, search_params=params, with_payload=True)
        )
        try:
            found = [_passage(point.payload or {}, point.score) for point in reply.points]
        except KeyError as error:
            raise InputError(f"collection {name!r} holds a point that is no chunk of a corpus") from error
        return sorted(found, key=lambda passage: (-(passage.score or 0.0), passage.id))

    async def _call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, again while the store is busy or away."""
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        for wait in (*_WAITS_S, None):
            try:
                return await ask()
            except (ResourceExhaustedResponse, ResponseHandlingException, UnexpectedResponse) as error:
                status = getattr(error, "status_code", None)
                if wait is None or (status is not None and status not in _BUSY):
                    raise InputError(f"Qdrant at {self.location!r}: {reason(error)}") from error
                await self.sleep(max(wait, float(getattr(error, "retry_after_s", 0))))
            except LOCAL as error:
                raise InputError(f"Qdrant at {self.location!r}: {error}") from error
        raise AssertionError("the last attempt returns or raises")


@asynccontextmanager
async def open_store(
    location: str, *, api_key: str | None, say: Callable[[str], None], sleep: Callable[[float], Awaitable[object]]
) -> AsyncIterator[Store]:
    """A store by URL, folder or `:memory:`. Raises InputError when the package is missing or the folder is in use."""
    try:
        import qdrant_client
    except ModuleNotFoundError as error:
        raise InputError("qdrant_client is not installed: pip install 'tollgate[evals]'") from error

    with _quiet():
        if is_server(location):
            client = qdrant_client.AsyncQdrantClient(
                url=location, api_key=api_key, timeout=_TIMEOUT_S, check_compatibility=False
            )
        else:
            client = _local(location)
    try:
        yield Store(location, client, say, sleep)
    finally:
        await client.close()


def point_id(chunk_id: str) -> str:
    """The id of a chunk's point: Qdrant takes UUIDs, and one chunk keeps its own."""
    return str(uuid.uuid5(_NAMESPACE, chunk_id))


def _payload(chunk: Chunk | None) -> dict[str, Any] | None:
    """What is kept beside a chunk's vector."""
    return None if chunk is None else {"chunk": chunk.id, "text": chunk.text}


def _passage(payload: Mapping[str, Any], score: float) -> Passage:
    return Passage(str(payload["chunk"]), str(payload["text"]), round(score, _DECIMALS))


def _local(location: str) -> "AsyncQdrantClient":
    import qdrant_client

    with opening(location):
        if location == MEMORY:
            return qdrant_client.AsyncQdrantClient(location)
        return qdrant_client.AsyncQdrantClient(path=location)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without those warnings of the package that the harness words itself. Not around what runs at the same time."""
    with warnings.catch_warnings():
        for about in ("Local mode is not recommended", "Api key is used with an insecure"):
            warnings.filterwarnings("ignore", message=about)
        yield


async def _embed(embedder: Embedder, chunks: Sequence[Chunk]) -> list[Vector]:
    try:
        return await embedder.embed([chunk.text for chunk in chunks])
    except Unjudged as error:
        raise InputError(f"chunks {chunks[0].id!r} to {chunks[-1].id!r}: {error}") from error
