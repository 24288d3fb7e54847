"""What a row says of where its time went and on whose behalf, for whoever divides the bill."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Deployment
from gateway.costs.rows import works
from gateway.settings.calendars import CalendarConfig, Regions
from tests.engine import raw, recordings
from tests.engine.simulator import Engine, Fault
from tests.gateway.servers import server
from tests.gateway.serving import Gateway, deployment, serving
from tests.gateway.test_data_plane_fallback import deployed as with_fallback

BODY = {"model": "faq", "messages": [{"role": "user", "content": "one two three"}]}
PATH = "/v1/chat/completions"


async def ask(gateway: Gateway, key: str, headers: Mapping[str, str] = {}, **fields: object) -> raw.Answer:
    """One request's answer."""
    sent = {"authorization": f"Bearer {key}", **headers}
    return await raw.post(gateway.url, PATH, json.dumps(BODY | fields).encode(), sent)


def configured(*urls: str, **changes: Any) -> Deployment:
    """A pool of these engines, and some changes of the configuration."""
    made = deployment({"main": urls})
    return replace(made, config=made.config.model_copy(update=changes))


async def test_a_row_says_when_its_replica_was_asked_and_no_more_than_is_known(tmp_path: Path) -> None:
    async with Engine("faq") as engine, serving(configured(engine.url), tmp_path) as (gateway, key, _):
        for stream in (False, True):
            await ask(gateway, key, stream=stream)
        for row in await gateway.rows(2):
            assert row.dispatched_s is not None
            assert row.first_byte_s is not None
            assert 0 <= row.dispatched_s <= row.first_byte_s <= row.duration_s
            assert (row.tries, row.region, row.tags) == (None, None, None)
            assert (row.engine_queue_s, row.engine_prefill_s) == (None, None)


async def test_an_attempt_that_failed_is_a_try_of_its_replica(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("faq") as two:
        one.faults.append(Fault("error", status=500))
        two.faults.append(Fault("error", status=500))
        async with serving(configured(one.url, two.url), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key)).status == 502, "both failed"
            (row,) = await gateway.rows(1)
            ((replica, begun, ended),) = json.loads(row.tries or "[]")
            assert {replica, row.replica} == {"main-0", "main-1"}, "the last one is the row's own"
            assert row.dispatched_s is not None
            assert 0 <= begun <= ended <= row.dispatched_s <= row.duration_s


async def test_the_answer_after_a_failure_has_the_failure_among_its_tries(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("backup") as two:
        one.faults.append(Fault("close", after=0))
        async with serving(with_fallback([one.url], [two.url]), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key)).status == 200
            (row,) = await gateway.rows(1)
            assert [each[0] for each in json.loads(row.tries or "[]")] == ["main-0"]
            assert (row.replica, row.release, row.outcome) == ("spare-0", "backup@7", "completed")


@pytest.mark.parametrize("fault", [Fault("error", status=503, times=0), Fault("error", status=429, times=0), None])
async def test_a_replica_that_shed_the_request_or_was_not_there_spent_nothing_on_it(
    fault: Fault | None, tmp_path: Path
) -> None:
    async with Engine("faq") as engine:
        if fault is None:
            await engine.stop()
        else:
            engine.faults.append(fault)
        async with serving(configured(engine.url), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key)).status in (429, 503)
            (row,) = await gateway.rows(1)
    assert (row.replica, row.dispatched_s, row.tries) == ("main-0", None, None)


async def test_of_a_fallback_that_fails_too_the_row_speaks_of_the_first_whose_time_ended_before(tmp_path: Path) -> None:
    async with Engine("faq") as one, Engine("backup") as two:
        for engine in (one, two):
            engine.faults.append(Fault("error", status=500, times=0))
        async with serving(with_fallback([one.url], [two.url]), tmp_path) as (gateway, key, _):
            assert (await ask(gateway, key)).status == 502
            (row,) = await gateway.rows(1)
    assert (row.replica, row.dispatched_s) == ("main-0", None)
    first, other = json.loads(row.tries or "[]")
    assert (first[0], other[0]) == ("main-0", "spare-0")
    assert 0 <= first[1] <= first[2] <= other[1] <= other[2] <= row.duration_s
    assert [(replica, work.overhead) for replica, work in works(row)] == [("main-0", True), ("spare-0", True)]


async def test_what_is_asked_for_several_choices_adds_up_to_what_the_engine_counts(tmp_path: Path) -> None:
    several: tuple[tuple[str, dict[str, Any]], ...] = (
        (PATH, BODY | {"n": 3}),
        (PATH, BODY | {"n": 2, "stream": True}),
        (PATH, BODY | {"n": 1}),
        ("/v1/completions", {"model": "faq", "prompt": ["one two", "three"], "n": 2, "max_tokens": 2}),
    )
    async with Engine("faq") as engine, serving(configured(engine.url), tmp_path) as (gateway, key, _):
        before = engine.prompt_tokens
        for path, body in several:
            sent = {"authorization": f"Bearer {key}"}
            assert (await raw.post(gateway.url, path, json.dumps(body).encode(), sent)).status == 200
        rows = sorted(await gateway.rows(len(several)), key=lambda each: each.request_id)
        assert [row.choices for row in rows] == [3, 2, None, 2]
        assert engine.prompt_tokens - before == sum((row.input_tokens or 0) * (row.choices or 1) for row in rows)


@pytest.mark.parametrize("name", ["chat_request_metrics", "chat_stream_request_metrics"])
async def test_what_the_engine_tells_of_its_time_is_in_the_row(name: str, tmp_path: Path) -> None:
    recording = recordings.load(name)
    kind = b"text/event-stream" if "stream" in name else b"application/json"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(recording.body))
        writer.write(head + recording.body)
        await reader.read()

    async with server(answer) as url, serving(configured(url), tmp_path) as (gateway, key, _):
        fields = json.loads(recording.sent)
        told = await ask(gateway, key, **{name: fields[name] for name in fields.keys() - BODY.keys()})
        (row,) = await gateway.rows(1)
    assert told.body == recording.body, "passed as it came"
    assert row.engine_queue_s is not None
    assert row.engine_prefill_s is not None
    assert 0 < row.engine_queue_s < row.engine_prefill_s < 0.1


async def test_tags_and_region_stand_in_the_row(tmp_path: Path) -> None:
    regions = Regions(default="SP", header="x-region", calendars={"SP": CalendarConfig(), "NY": CalendarConfig()})
    async with Engine("faq") as engine:
        deployed = configured(engine.url, regions=regions, tags={"project": "x-project"})
        async with serving(deployed, tmp_path) as (gateway, key, _):
            (record,) = (each for each in gateway.stores.keys.all() if each.scope == "serve")
            await ask(gateway, key, {"x-project": "beta", "x-region": "NY"})
            (row,) = await gateway.rows(1)
            assert (row.region, row.tags) == ("NY", '{"project":"beta"}')
            gateway.stores.keys.update(record.id, {"tags": '{"env":"prod","project":"alpha"}'})
            await asyncio.to_thread(gateway.app.state.refresh)
            await ask(gateway, key, {"x-project": "beta"})
            row = max(await gateway.rows(2), key=lambda each: each.request_id)
            assert (row.region, row.tags) == ("SP", '{"env":"prod","project":"alpha"}')


async def test_a_tag_that_cannot_be_one_is_the_clients_mistake_and_leaves_no_row(tmp_path: Path) -> None:
    async with Engine("faq") as engine:
        async with serving(configured(engine.url, tags={"project": "x-project"}), tmp_path) as (gateway, key, _):
            answer = await ask(gateway, key, {"x-project": "y" * 129})
            assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
            assert "'project'" in answer.json["error"]["message"]
            assert gateway.app.data_plane.spool.open_count == 0
        assert engine.received(PATH) == []
