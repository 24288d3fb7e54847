"""Embeddings through the real gateway, in front of a simulated engine that embeds."""

import random
import time
from pathlib import Path

import pytest

from evals.embeddings import BATCH, Embedder, cosine, open_embedder
from evals.retrieval_config import EmbeddingsConfig
from gateway.contracts import canonical
from gateway.contracts.errors import InputError
from tests.engine.simulator import Engine
from tests.evals.rag_tools import no_wait
from tests.gateway.serving import deployment, release, serving


async def test_the_gateways_release_is_the_models_identity_and_every_request_is_in_its_ledger(tmp_path: Path) -> None:
    async with Engine(runner="pooling") as engine, serving(deployment({"main": [engine.url]}), tmp_path) as (
        gateway, key, _,
    ):  # fmt: skip
        about = {"environ": {}, "clock": time.perf_counter, "sleep": no_wait, "rng": random.Random(0)}
        asked = {"base_url": f"{gateway.url}/v1", "api_key": key}
        embedder: Embedder
        async with open_embedder(EmbeddingsConfig(model="faq"), **asked, **about) as embedder:
            vectors = await embedder.embed([f"text {number}" for number in range(BATCH + 1)])
            assert (len(vectors), embedder.dimensions) == (BATCH + 1, 8)
            assert embedder.digest == canonical.digest({"model": "faq", "release": release("1").digest})
            again = await embedder.embed(["text 3", "text 4"])
            assert cosine(again[0], vectors[3]) == pytest.approx(1.0)
            assert cosine(again[0], vectors[4]) < 1.0
        rows = await gateway.rows(4)
        assert {row.endpoint for row in rows} == {"/v1/embeddings"}
        with pytest.raises(InputError, match=r"the embedding model 'nope' at .*not_found: 404 model_not_found"):
            async with open_embedder(EmbeddingsConfig(model="nope"), **asked, **about):
                pass
