"""Engines that generate nothing answer in the recorded bytes, but for the numbers that a model computes."""

import base64
import json
import struct
from typing import Any

import pytest

from tests.engine import raw, recordings, replay
from tests.engine.pooling import overlap
from tests.engine.recordings import blank
from tests.engine.replay import same
from tests.engine.simulator import Engine

LABELS = ("billing", "support", "other")
LENGTHS = {"Can I pay by invoice?": 6, "hello": 3, "Do you take invoices?": 10, "By card?": 4}


def _scored(_: str, document: str) -> float:
    return {"hello": 0.7, "By card?": 0.4}.get(document, 0.3)


def _engine(task: Any, **options: Any) -> Engine:
    given: dict[str, Any] = {"labels": LABELS, "dimensions": 192, "score": _scored, "max_model_len": 256}
    given["count"] = lambda text: LENGTHS.get(text, len(text.split()))
    return Engine("faq", runner="pooling", task=task, clock=lambda: 1795382709.0, **given | options)


EMBED = ("embeddings", "embeddings_batch_base64", "pooling", "score_embed", "rerank_embed")
SCORE = ("score", "rerank", "rerank_v2", "pooling_classify_one")
CLASSIFY = ("classify", "classify_one", "pooling_numbers")


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(("embed", name) for name in EMBED),
        *(("score", name) for name in SCORE),
        *(("classify", name) for name in CLASSIFY),
    ],
)
async def test_answers_are_the_recorded_bytes(task: str, name: str) -> None:
    recording = recordings.load(name)
    async with _engine(task) as engine:
        same(await replay.ask(engine, recording), recording, computed=True)
        assert (engine.started, engine.finished, engine.running) == (1, 1, 0)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("embed", "embeddings_err_bad_model"),
        ("embed", "chat_on_pooling"),
        ("embed", "messages_on_pooling"),
        ("embed", "classify_on_embed"),
        ("score", "score_err_mismatch"),
        ("score", "rerank_err_multimodal"),
        ("classify", "score_on_classify"),
    ],
)
async def test_refusals_are_the_recorded_bytes(task: str, name: str) -> None:
    recording = recordings.load(name)
    async with _engine(task) as engine:
        same(await replay.ask(engine, recording), recording)
        assert engine.started == 0


async def test_a_text_that_is_too_long_is_refused() -> None:
    recording = recordings.load("embeddings_err_too_long")
    async with _engine("embed") as engine:
        same(await replay.ask(engine, recording), recording)


async def test_vectors_as_bytes_have_their_usage_in_a_header() -> None:
    recording = recordings.load("embeddings_bytes")
    async with _engine("embed") as engine:
        answer = await replay.ask(engine, recording)
        assert len(answer.body) == len(recording.body) == 192 * 4
        assert [name for name, _ in answer.headers] == [name for name, _ in recording.headers]
        made, recorded = [json.loads(dict(headers)["metadata"]) for headers in (answer.headers, recording.headers)]
        assert made | {"id": 0} == recorded | {"id": 0}


async def test_a_conversation_is_one_text() -> None:
    recording = recordings.load("embeddings_messages")
    async with _engine("embed", count=lambda _: 8) as engine:
        recorded, made = blank(recording.body), blank((await replay.ask(engine, recording)).body)
        assert made.partition(b'"usage"')[0] == recorded.partition(b'"usage"')[0]


@pytest.mark.parametrize(("path", "key"), [("/v1/embeddings", "embedding"), ("/pooling", "data")])
async def test_base64_is_the_same_vector(path: str, key: str) -> None:
    async with _engine("embed", dimensions=4) as engine:
        numbers = (await raw.post(engine.url, path, {"input": "one two"})).json["data"][0][key]
        packed = (await raw.post(engine.url, path, {"input": "one two", "encoding_format": "base64"})).json
        assert list(struct.unpack("<4f", base64.b64decode(packed["data"][0][key]))) == numbers


async def test_ranks_are_by_score_and_as_many_as_asked_for() -> None:
    documents = ["nothing", "pay by card", "pay by invoice"]
    body = {"query": "may I pay by invoice", "documents": documents, "top_n": 2}
    async with _engine("score", score=overlap) as engine:
        for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
            results = (await raw.post(engine.url, path, body)).json["results"]
            assert [result["index"] for result in results] == [2, 1]


@pytest.mark.parametrize("path", ["/v1/score", "/score"])
async def test_queries_and_documents_are_scored_in_pairs(path: str) -> None:
    recording = recordings.load("score_unversioned")
    async with _engine("score", count=lambda _: 2) as engine:
        answer = await raw.post(engine.url, path, json.loads(recording.sent))
        recorded = json.loads(recording.body)
        assert [list(each) for each in answer.json["data"]] == [list(each) for each in recorded["data"]]
        assert answer.json["usage"]["prompt_tokens"] == 8


async def test_a_client_that_leaves_stops_the_reading() -> None:
    async with _engine("embed") as engine:
        engine.hold()
        async with raw.connect(engine.url) as client:
            await client.send("POST", "/v1/embeddings", {"input": "a"})
            await engine.wait_for(lambda e: e.running == 1)
        await engine.wait_for(lambda e: e.running == 0)


@pytest.mark.parametrize("name", ["tokenize_on_pooling"])
async def test_the_tokenizer_answers_on_any_engine(name: str) -> None:
    recording = recordings.load(name)
    async with _engine("embed") as engine:
        answer = await replay.ask(engine, recording)
        assert list(answer.json) == list(json.loads(recording.body))
