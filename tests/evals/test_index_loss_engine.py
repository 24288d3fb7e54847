"""The loss of a real HNSW graph: Qdrant's own engine answers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.embeddings import Vector, unit
from evals.index import full_name
from evals.index_loss import Loss, measure
from evals.retrieval import SPARE, open_store
from evals.schema import Sample
from tests.evals.qdrant_engine import engine
from tests.evals.rag_tools import Counting, made, no_wait

CHUNKS, QUESTIONS, K = 1500, 80, 10


class Directions(Counting):
    """A text is a direction of its own, drawn from its hash: the hardest case for a graph of neighbours."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [direction(text) for text in texts]


def direction(text: str) -> Vector:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return unit(np.random.default_rng(seed).normal(size=32).tolist())


async def loss_of(folder: Path, *, m: int, ef_construct: int) -> tuple[Loss, float]:
    """What is measured over HTTP, and the same recall worked out here from the engine's answers and numpy's ranks."""
    texts = [f"chunk {number}" for number in range(CHUNKS)]
    asked = [Sample(id=f"q{number}", input=f"question {number}") for number in range(QUESTIONS)]
    embedder = Directions(dimensions=32)
    chunks, manifest = made(*texts, embedder=embedder)
    with engine(folder, m=m, ef_construct=ef_construct) as server:
        async with open_store(server.url, api_key=None, say=print, sleep=no_wait) as store:
            name = full_name("d", manifest)
            await store.build(name, manifest, chunks, embedder, lambda done: None)
            found = await measure(asked, K, embedder, store, name)
        points = list(server.points[name].values())
        rows = np.array([point["vector"] for point in points])
        kept = 0
        for sample in asked:
            wanted = direction(str(sample.input))
            best = {points[place]["id"] for place in np.argsort(-rows @ np.array(wanted))[:K]}
            quick = server.nearest(points, {"query": wanted, "limit": K + SPARE})[:K]
            kept += len(best & {point["id"] for point in quick})
    return found, kept / (QUESTIONS * K)


async def test_a_poor_graph_loses_what_exact_search_finds(tmp_path: Path) -> None:
    found, expected = await loss_of(tmp_path / "shard", m=4, ef_construct=8)
    assert found.recall == pytest.approx(expected, abs=1e-9)
    assert 0.1 < found.recall < 0.95
    assert found.lower < found.recall < found.upper
    assert (found.points, found.indexed, found.notes) == (CHUNKS, CHUNKS, [])


async def test_a_good_graph_loses_next_to_nothing(tmp_path: Path) -> None:
    found, expected = await loss_of(tmp_path / "shard", m=32, ef_construct=200)
    assert found.recall == pytest.approx(expected, abs=1e-9)
    assert found.recall > 0.98
