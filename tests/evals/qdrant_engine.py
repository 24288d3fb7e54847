"""Qdrant's own engine, which comes as a package, behind the HTTP of `qdrant_server`: real segments, a real HNSW graph.

What stays a stand-in is the HTTP alone. `m` and `ef_construct` make the graph as poor or as good as a test needs it.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HnswIndexConfig,
    Point,
    Query,
    QueryRequest,
    SearchParams,
    UpdateOperation,
)

from tests.evals.qdrant_server import Qdrant, running


@dataclass
class Engine(Qdrant):
    """A server whose searches are answered by Qdrant's engine. Everything is indexed at the first search."""

    folder: Path = Path()
    m: int = 16
    ef_construct: int = 100
    searched: EdgeShard | None = field(default=None)

    def nearest(self, points: list[dict[str, Any]], body: Any) -> list[dict[str, Any]]:
        if self.searched is None:
            self.searched = self.built(points)
        asked = body["query"]["nearest"] if isinstance(body["query"], dict) else body["query"]
        exact = bool((body.get("params") or {}).get("exact"))
        search = SearchParams(exact=exact, indexed_only=False)
        wanted = QueryRequest(limit=body["limit"], query=Query.Nearest(asked), params=search, with_payload=True)
        found = self.searched.query(wanted)
        return [{"id": str(p.id), "version": 1, "score": p.score, "payload": p.payload} for p in found]

    def built(self, points: list[dict[str, Any]]) -> EdgeShard:
        """The points in a shard, each of them in the graph. Raises AssertionError where some are not."""
        graph = HnswIndexConfig(m=self.m, ef_construct=self.ef_construct, full_scan_threshold=1)
        size = len(points[0]["vector"])
        config = EdgeConfig(
            vectors={"": EdgeVectorParams(size=size, distance=Distance.Cosine, hnsw_config=graph)},
            optimizers=EdgeOptimizersConfig(indexing_threshold=1),
        )
        shard = EdgeShard.create(str(self.folder), config)
        shard.update(
            UpdateOperation.upsert_points(
                [Point(id=uuid.UUID(p["id"]), vector={"": p["vector"]}, payload=p["payload"]) for p in points]
            )
        )
        shard.optimize()
        info = shard.info()
        assert info.indexed_vectors_count == info.points_count == len(points), info
        return shard


@contextmanager
def engine(folder: Path, *, m: int = 16, ef_construct: int = 100) -> Iterator[Engine]:
    """A server with an engine on a free port of this machine."""
    with running(Engine(folder=folder, m=m, ef_construct=ef_construct)) as server:
        try:
            yield server
        finally:
            if server.searched is not None:
                server.searched.close()
