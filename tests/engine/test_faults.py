"""Each fault does what its line in the table says, and only to the requests it is meant for."""

import asyncio
import json
from typing import Any

import httptools
import pytest

from tests.engine import faults, raw
from tests.engine.faults import KINDS, Fault
from tests.engine.simulator import Engine

PATH = "/v1/chat/completions"


def _body(stream: bool = False, **more: Any) -> dict[str, Any]:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": "faq", "messages": [{"role": "user", "content": "one two three"}], **options, **more}


async def _ask(fault: Fault, stream: bool = False) -> raw.Answer:
    async with Engine("faq") as engine:
        engine.faults.append(fault)
        answer = await raw.post(engine.url, PATH, _body(stream))
        await engine.wait_for(lambda e: e.running == 0)
        assert not engine.faults
        return answer


async def _read_on(client: raw.Client) -> None:
    while await client.chunk():
        pass


async def _well(stream: bool) -> raw.Answer:
    async with Engine("faq") as engine:
        return await raw.post(engine.url, PATH, _body(stream))


async def test_refuse_is_vllms_admission_error() -> None:
    answer = await _ask(Fault("refuse"))
    message = "The engine is currently busy and cannot accept new requests. "
    message += "Please try again later or on a different instance."
    error = {"message": message, "type": "Service Unavailable", "param": None, "code": 503}
    assert (answer.status, answer.json) == (503, {"error": error})
    assert answer.header("retry-after") is None


async def test_error_has_the_status_and_message_asked_for() -> None:
    answer = await _ask(Fault("error", status=507, message="no room"), stream=True)
    assert answer.status == 507
    assert answer.json["error"] == {"message": "no room", "type": "InternalServerError", "param": None, "code": 507}


async def test_redirect_names_a_location() -> None:
    answer = await _ask(Fault("redirect", message="http://127.0.0.1:1/"))
    assert (answer.status, answer.header("location")) == (307, "http://127.0.0.1:1/")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_can_come_with_200(stream: bool) -> None:
    flat = await _ask(Fault("error_200_flat", message="no"), stream)
    nested = await _ask(Fault("error_200_nested", message="no"), stream)
    inner = {"message": "no", "type": "BadRequestError", "param": None, "code": 400}
    assert (flat.status, flat.json) == (200, {"object": "error", **inner})
    assert (nested.status, nested.json) == (200, {"error": inner})


@pytest.mark.parametrize("kind", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
async def test_death_before_the_head_leaves_nothing(kind: Any, stream: bool) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)) as caught:
        await _ask(Fault(kind), stream)
    assert getattr(caught.value, "partial", b"") == b""


async def test_close_after_n_leaves_n_events() -> None:
    for after in range(4):
        answer = await _ask(Fault("close", after=after), stream=True)
        assert (len(answer.events), answer.whole) == (after, False)
        assert not answer.body.endswith(b"[DONE]\n\n")


async def test_reset_in_a_stream_is_a_reset() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.faults.append(Fault("reset", after=1))
        engine.hold()
        await client.send("POST", PATH, _body(stream=True))
        await client.head()
        engine.step()
        with pytest.raises(ConnectionResetError):
            await _read_on(client)


async def test_close_in_a_plain_answer_cuts_its_body() -> None:
    answer = await _ask(Fault("close", after=0))
    assert not answer.whole
    assert 0 < len(answer.body) < int(answer.header("content-length") or 0)


@pytest.mark.parametrize("after", [None, 0, 2])
async def test_stall_sends_nothing_more_and_ends_with_the_client(after: int | None) -> None:
    async with Engine("faq") as engine:
        engine.faults.append(Fault("stall", after=after))
        async with raw.connect(engine.url) as client:
            await client.send("POST", PATH, _body(stream=True))
            await engine.wait_for(lambda e: e.requests)
            if after is not None:
                await client.head()
            for _ in range(after or 0):
                assert await client.chunk()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.02)
            assert engine.running == (0 if after is None else 1)
        await engine.wait_for(lambda e: e.running == 0 and not e.connections)
        assert engine.finished == 0


async def test_half_close_ends_the_answer_and_reads_on() -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.faults.append(Fault("half_close", after=1))
        await client.send("POST", PATH, _body(stream=True))
        answer = await client.answer()
        assert (len(answer.events), answer.whole) == (1, False)
        assert engine.running == 1
        assert len(engine.connections) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_is_not_http(stream: bool) -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.faults.append(Fault("garbage"))
        await client.send("POST", PATH, _body(stream))
        with pytest.raises(httptools.HttpParserError):
            httptools.HttpResponseParser(None).feed_data(await client.reader.read())


async def test_garbage_json_is_a_body_or_one_event() -> None:
    plain = await _ask(Fault("garbage_json"))
    with pytest.raises(json.JSONDecodeError):
        plain.json  # noqa: B018 - reading it is the test
    streamed = await _ask(Fault("garbage_json", after=2), stream=True)
    for at, event in enumerate(streamed.events[:-1]):
        if at == 2:
            with pytest.raises(json.JSONDecodeError):
                json.loads(event.removeprefix(b"data: "))
        else:
            json.loads(event.removeprefix(b"data: "))


async def test_an_error_event_ends_the_stream_as_vllm_does() -> None:
    answer = await _ask(Fault("error_event", after=2), stream=True)
    assert len(answer.events) == 4
    error = (
        b'{"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}'
    )
    assert answer.events[2:] == [b"data: " + error + b"\n\n", b"data: [DONE]\n\n"]
    assert (await _ask(Fault("error_event"))).status == 500


@pytest.mark.parametrize("by", [10, -10])
async def test_wrong_length_is_off_by_that_much(by: int) -> None:
    answer = await _ask(Fault("wrong_length", by=by))
    well = await _well(stream=False)
    assert int(answer.header("content-length") or 0) - int(well.header("content-length") or 0) == by
    assert answer.whole == (by < 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_no_usage_leaves_usage_out(stream: bool) -> None:
    answer = await _ask(Fault("no_usage"), stream)
    assert answer.whole
    assert b'"usage"' not in answer.body
    assert b'"usage"' in (await _well(stream)).body


async def test_no_done_ends_well_without_it() -> None:
    answer = await _ask(Fault("no_done"), stream=True)
    assert answer.whole
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("stream", [True, False])
async def test_hangup_closes_after_a_whole_answer_that_promised_to_stay(stream: bool) -> None:
    async with Engine("faq") as engine, raw.connect(engine.url) as client:
        engine.faults.append(Fault("hangup"))
        await client.send("POST", PATH, _body(stream))
        answer = await client.answer()
        assert answer.whole
        assert answer.header("connection") is None
        assert await client.reader.read() == b""


async def test_ping_puts_a_comment_before_each_event() -> None:
    answer = await _ask(Fault("ping"), stream=True)
    assert answer.events[::2] == [b": ping\n\n"] * (len(answer.events) // 2)
    vllms = await _ask(Fault("ping", message=": keep-alive"), stream=True)
    assert vllms.events[0] == b": keep-alive\n\n"


@pytest.mark.parametrize("fault", [Fault("split"), Fault("split", size=7), Fault("drip"), Fault("drip", size=3)])
@pytest.mark.parametrize("stream", [True, False])
async def test_small_pieces_make_the_same_answer(fault: Fault, stream: bool) -> None:
    answer, well = await _ask(fault, stream), await _well(stream)
    assert answer.whole
    assert len(answer.body) == len(well.body)
    if stream and fault.kind == "split":
        assert max(map(len, answer.chunks)) == fault.size


async def test_coalesce_joins_events() -> None:
    events = len((await _well(stream=True)).events)
    whole = await _ask(Fault("coalesce", size=0), stream=True)
    pairs = await _ask(Fault("coalesce", size=2), stream=True)
    assert [len(whole.events), len(whole.chunks)] == [events, 1]
    assert [len(pairs.events), len(pairs.chunks)] == [events, (events + 1) // 2]


async def test_times_path_and_match_choose_the_requests() -> None:
    async with Engine("faq") as engine:
        engine.faults.append(Fault("refuse", times=2))
        engine.faults.append(Fault("error", path="/metrics"))
        engine.faults.append(Fault("error", times=0, match="poison"))
        statuses = [(await raw.post(engine.url, PATH, _body())).status for _ in range(3)]
        assert statuses == [503, 503, 200]
        pages = [(await raw.exchange(engine.url, "GET", path)).status for path in ("/health", "/metrics", "/metrics")]
        assert pages == [200, 500, 200]
        poisoned = [(await raw.post(engine.url, PATH, _body(user="poison"))).status for _ in range(2)]
        assert poisoned == [500, 500]
        assert (await raw.post(engine.url, PATH, _body())).status == 200


async def test_faults_can_be_set_and_cleared_over_http() -> None:
    async with Engine("faq") as engine:
        two = [{"kind": "refuse"}, {"kind": "close", "after": 1, "times": 0}]
        assert (await raw.post(engine.url, "/_fault", two)).json == {"faults": 2}
        assert list(engine.faults) == [Fault("refuse"), Fault("close", after=1, times=0)]
        assert (await raw.exchange(engine.url, "DELETE", "/_fault")).json == {"faults": 0}
        assert (await raw.post(engine.url, "/_fault", {"kind": "refuse", "tmies": 1})).status == 400
        assert (await raw.post(engine.url, "/_fault", {"kind": "explode"})).status == 400
        assert engine.requests == []


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'explode'"):
        faults.from_json({"kind": "explode"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_the_table(kind: str) -> None:
    assert f'"{kind}"' in (faults.__doc__ or "")
