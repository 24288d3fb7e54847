"""A model behind /v1/embeddings, over a real server."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from evals.embeddings import BATCH, PROBE, Embedder, open_embedder
from evals.retrieval_config import EmbeddingsConfig
from evals.schema import Unjudged
from gateway.contracts.errors import InputError

Reply = Callable[[list[str], int], Any]
DIGEST = "x-tollgate-digest"


def good(texts: list[str]) -> list[dict[str, Any]]:
    """The length of each text and 1, the last first."""
    return [{"index": i, "embedding": [len(text), 1.0]} for i, text in reversed(list(enumerate(texts)))]


class Model:
    """Answers with what `reply(texts, number of the request)` gives: a list, a status, text or a whole response."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.bodies, self.keys, self.waits = reply, [], [], []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        made = self.reply(body["input"], len(self.bodies))
        if not isinstance(made, tuple):
            made = (made, {})
        content, headers = made
        if isinstance(content, int):
            return web.json_response({"error": {"message": "no"}}, status=content, headers=headers)
        text = content if isinstance(content, str) else json.dumps({"data": content})
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@asynccontextmanager
async def served(reply: Reply, **config: Any) -> AsyncIterator[tuple[Embedder, Model]]:
    model = Model(reply)
    app = web.Application()
    app.router.add_post("/v1/embeddings", model.handle)
    async with TestServer(app) as server:
        url = str(server.make_url("/v1"))
        config = {key: url if value == "OWN" else value for key, value in config.items()}
        async with open_embedder(
            EmbeddingsConfig(model="bge", **config),
            base_url=url,
            api_key="sk-run",
            environ={"EMBED_KEY": "sk-own"},
            clock=lambda: 0.0,
            sleep=model.sleep,
            rng=random.Random(1),
        ) as embedder:
            yield embedder, model


async def test_vectors_come_in_the_order_of_the_texts_and_at_length_1() -> None:
    async with served(lambda texts, n: good(texts)) as (embedder, model):
        found = await embedder.embed(["abc", "a"])
        assert found == [pytest.approx([3 / 10**0.5, 1 / 10**0.5]), pytest.approx([0.5**0.5, 0.5**0.5])]
        assert (embedder.name, embedder.dimensions) == ("bge", 2)
        assert [body["input"] for body in model.bodies] == [[PROBE], ["abc", "a"]]
        assert model.bodies[0] | {"input": []} == {"model": "bge", "input": [], "encoding_format": "float"}


async def test_many_texts_are_asked_for_in_batches() -> None:
    async with served(lambda texts, n: good(texts)) as (embedder, model):
        found = await embedder.embed(["x" * (1 + i % 7) for i in range(2 * BATCH + 1)])
        assert [len(body["input"]) for body in model.bodies[1:]] == [BATCH, BATCH, 1]
        assert len(found) == 2 * BATCH + 1
        assert found[8] == found[1] != found[2]


async def test_what_may_pass_is_asked_again_and_the_servers_wish_is_kept() -> None:
    replies = {1: (429, {"Retry-After": "7"}), 2: 503}
    async with served(lambda texts, n: replies.get(n) or good(texts)) as (embedder, model):
        assert len(model.waits) == 2
        assert model.waits[0] == 7.0
        assert 0 <= model.waits[1] <= 1.0
        assert embedder.dimensions == 2


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (404, 1), (503, 5), (401, 1)])
async def test_a_model_that_does_not_answer_is_told_at_once_or_after_every_retry(status: int, asked: int) -> None:
    seen: list[int] = []

    def refuse(texts: list[str], n: int) -> int:
        seen.append(n)
        return status

    with pytest.raises(InputError, match=rf"the embedding model 'bge' at 'http.*{status}: no"):
        async with served(refuse):
            pass
    assert len(seen) == asked


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("not json", "no list of embeddings"),
        ('{"data": [{"index": 0, "embedding": [NaN, 1]}]}', "no list of embeddings"),
        ('{"data": [{"index": 0, "embedding": [null, 1]}]}', "no list of embeddings"),
        ([], "expected 1 embeddings, one each, found 0"),
        ([{"index": 1, "embedding": [1, 1]}], "one each"),
        ([{"index": 0, "embedding": [1, 1]}, {"index": 0, "embedding": [1, 1]}], "found 2"),
        ([{"index": 0, "embedding": [1, 1, 1]}], "expected 2 dimensions, found 3"),
        ([{"index": 0, "embedding": [0, 0]}], "all zeros"),
        ([{"index": 0, "embedding": []}], "expected 2 dimensions, found 0"),
    ],
)
async def test_an_answer_that_is_no_embedding_is_missing_evidence(content: Any, told: str) -> None:
    async with served(lambda texts, n: good(texts) if n == 1 else content) as (embedder, _):
        with pytest.raises(Unjudged, match=told) as caught:
            await embedder.embed(["abc"])
        assert caught.value.kind == "not_measured"


async def test_the_release_is_the_models_identity() -> None:
    digests = []
    for release in ("sha256:a", "sha256:b", None):
        headers = {DIGEST: release} if release else {}
        async with served(lambda texts, n, headers=headers: (good(texts), headers)) as (embedder, _):
            digests.append(embedder.digest)
    assert len(set(digests)) == 3


async def test_another_release_in_the_middle_is_told() -> None:
    async with served(lambda texts, n: (good(texts), {DIGEST: f"sha256:{min(n, 2)}"})) as (embedder, _):
        with pytest.raises(Unjudged, match="became another release"):
            await embedder.embed(["abc"])


async def test_the_runs_key_goes_to_the_runs_url_alone() -> None:
    for config, key in (
        ({}, "Bearer sk-run"),
        ({"base_url": "OWN"}, None),
        ({"base_url": "OWN", "api_key_env": "EMBED_KEY"}, "Bearer sk-own"),
    ):
        async with served(lambda texts, n: good(texts), **config) as (_, model):
            assert model.keys == [key]


async def test_nobody_there_is_told() -> None:
    with pytest.raises(InputError, match="unreachable"):
        async with served(lambda texts, n: good(texts), base_url=f"http://127.0.0.1:{unused_port()}/v1"):
            pass


async def test_blank_text_is_not_sent() -> None:
    async with served(lambda texts, n: good(texts)) as (embedder, model):
        with pytest.raises(Unjudged, match="blank"):
            await embedder.embed(["a", " "])
        assert len(model.bodies) == 1
