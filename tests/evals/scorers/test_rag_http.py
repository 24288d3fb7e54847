"""RAG metrics in a run over HTTP: the same server answers as the system and as its judge."""

import itertools
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from evals.client import Client, Result
from evals.dataset import Dataset, sample_digest, whole_digest
from evals.lines import Record
from evals.runner import Request, Run
from evals.schema import Sample, Unjudged
from evals.scorers.rag import SCORERS
from tests.evals.scorers.rag.scripted import input_of
from tests.polling import tick

STATEMENTS = ["Ada wrote notes.", "Ada liked horses."]
PASSAGE = "In 1843 Ada wrote notes."


def verdicts(names: Sequence[str]) -> dict[str, Any]:
    return {"statements": [{"statement": s, "reason": "r", "verdict": int(s == STATEMENTS[0])} for s in names]}


def judge(schema: str, given: Mapping[str, Any], kind: str) -> tuple[int, str, str]:
    """(status, text, finish_reason) of a judge; `kind` of sample says what goes wrong."""
    if schema == "StatementGeneratorOutput":
        return 200, json.dumps({"statements": STATEMENTS}), "stop"
    names = {"skips": given["statements"][:1], "renames": [given["statements"][0], "Ada disliked horses."]}
    text = json.dumps(verdicts(names.get(kind, given["statements"])))
    if kind == "cut":
        return 200, text[:-20], "length"
    return (503 if kind == "down" else 200), text, "stop"


class Endpoint:
    """A system that answers every question alike, and a judge of it. `schemas` keeps what the judge was bound to."""

    def __init__(self) -> None:
        self.schemas: list[tuple[str, dict[str, Any], str]] = []
        self.client: Client

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "response_format" not in body:
            return self._say("Ada wrote notes. She liked horses.", "stop")
        shape = body["response_format"]["json_schema"]
        kind = body["model"].removeprefix("judge-")
        status, text, finish_reason = judge(shape["name"], input_of(body["messages"][0]["content"]), kind)
        self.schemas.append((kind, shape["schema"], text))
        return self._say(text, finish_reason, status)

    def _say(self, text: str, finish_reason: str, status: int = 200) -> web.Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
        return web.json_response({"choices": [choice]}, status=status)

    async def chat(self, body: Mapping[str, Any], *, vote: int = 0) -> Result:
        return await self.client.complete(msgspec.json.encode(body), 5.0)

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Sequence[Sequence[float]]:
        raise Unjudged("not_measured", "no embedding model")


class Kept:
    """A log in memory."""

    existing: tuple[Record, ...] = ()

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)


@asynccontextmanager
async def serving() -> AsyncIterator[Endpoint]:
    endpoint, ticks = Endpoint(), itertools.count(start=0.0, step=0.01)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.__call__)
    async with (
        TestServer(app) as server,
        Client(str(server.make_url("/v1")), None, connections=4, clock=lambda: next(ticks)) as client,
    ):
        endpoint.client = client
        yield endpoint


async def run(endpoint: Endpoint, kind: str) -> Record:
    sample = Sample(id="s", input="Who was Ada?", contexts=[PASSAGE])
    data = Dataset(Path("d"), (sample,), {"s": sample_digest(sample)}, whole_digest({"s": sample_digest(sample)}))
    scorers = {"faithfulness": SCORERS["faithfulness"].model_validate({"model": f"judge-{kind}"})}
    log, ticks = Kept(), itertools.count(start=0.0, step=0.01)
    await Run(
        data,
        Request("faq@2", {}),
        scorers,
        endpoint.client,
        log,
        lambda: next(ticks),
        lambda seconds: tick(),
        random.Random(1),
        services=endpoint,
    ).execute()
    (record,) = log.records
    return record


async def test_a_judge_that_judges_everything_gives_a_score() -> None:
    async with serving() as endpoint:
        record = await run(endpoint, "well")
    assert (record.outcome, record.scores["faithfulness"].value) == ("scored", 0.5)
    for _, schema, text in endpoint.schemas:
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("skips", "support: 2 statements, but 1 verdicts"),
        ("renames", "1 of 2 statements were not judged word for word"),
        ("cut", "found finish_reason 'length'; raise `judge.max_tokens`"),
        ("down", "support: no verdict: server_error: 503"),
    ],
)
async def test_a_judge_that_does_not_leaves_the_sample_without_a_score_and_in_its_place(
    kind: str, expected: str
) -> None:
    async with serving() as endpoint:
        record = await run(endpoint, kind)
    assert (record.outcome, record.scores) == ("harness_error", {})
    assert record.failure is not None
    assert record.failure.kind == "judge_failed"
    assert expected in record.failure.message


@pytest.mark.parametrize("kind", ["skips", "renames"])
async def test_an_engine_that_enforces_the_schema_cannot_say_it(kind: str) -> None:
    async with serving() as endpoint:
        await run(endpoint, kind)
    _, schema, text = endpoint.schemas[-1]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), schema)
