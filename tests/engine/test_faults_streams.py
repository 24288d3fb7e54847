"""The faults act on every API that streams, not on chats alone."""

import asyncio
import json
from typing import Any

import pytest

from tests.engine import raw, recordings
from tests.engine.faults import Fault
from tests.engine.simulator import Engine

PATHS = ("/v1/messages", "/v1/responses", "/v1/audio/transcriptions", "/v1/audio/translations")
ENDS = {"/v1/messages": b"message_stop", "/v1/responses": b"response.completed"}


def _sent(path: str, stream: bool) -> tuple[bytes, dict[str, str]]:
    if "audio" in path:
        recorded = recordings.load("transcription_stream_usage" if stream else "transcription")
        return recorded.sent, recorded.sent_headers
    words = [{"role": "user", "content": "one two three"}]
    body: dict[str, Any] = {"stream": stream, "max_tokens": 8, "messages": words, "input": words}
    return json.dumps(body).encode(), {"content-type": "application/json"}


async def _ask(path: str, fault: Fault | None = None, stream: bool = True) -> raw.Answer:
    task: Any = "transcribe" if "audio" in path else "generate"
    async with Engine("whisper", task=task) as engine:
        engine.faults += [fault] if fault else []
        answer = await raw.post(engine.url, path, *_sent(path, stream))
        await engine.wait_for(lambda e: e.running == 0)
        assert not engine.faults
        return answer


@pytest.mark.parametrize("path", PATHS)
async def test_close_after_n_leaves_n_events(path: str) -> None:
    for after in range(4):
        answer = await _ask(path, Fault("close", after=after))
        assert (len(answer.events), answer.whole) == (after, False)


@pytest.mark.parametrize("path", PATHS)
async def test_close_in_a_plain_answer_cuts_its_body(path: str) -> None:
    answer = await _ask(path, Fault("close", after=0), stream=False)
    assert not answer.whole
    assert 0 < len(answer.body) < int(answer.header("content-length") or 0)


@pytest.mark.parametrize("path", PATHS)
async def test_stall_sends_nothing_more(path: str) -> None:
    async with Engine("whisper", task="transcribe" if "audio" in path else "generate") as engine:
        engine.faults.append(Fault("stall", after=2))
        async with raw.connect(engine.url) as client:
            await client.send("POST", path, *_sent(path, stream=True))
            await client.head()
            assert [bool(await client.chunk()) for _ in range(2)] == [True, True]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.02)
        await engine.wait_for(lambda e: e.running == 0 and e.aborted == 1)


@pytest.mark.parametrize("path", PATHS)
async def test_garbage_json_is_one_event(path: str) -> None:
    answer, well = await _ask(path, Fault("garbage_json", after=1)), await _ask(path)
    assert len(answer.events) == len(well.events)
    for at, event in enumerate(answer.events):
        data = event.partition(b"data: ")[2]
        if at == 1:
            with pytest.raises(json.JSONDecodeError):
                json.loads(data)
        elif b"[DONE]" not in data:
            json.loads(data)


@pytest.mark.parametrize("path", PATHS)
async def test_no_usage_leaves_usage_out(path: str) -> None:
    for stream in (True, False):
        answer = await _ask(path, Fault("no_usage"), stream)
        assert b"_tokens" not in answer.body.replace(b"max_output_tokens", b"")
        assert b'"seconds"' not in answer.body


@pytest.mark.parametrize("path", PATHS)
async def test_no_done_leaves_the_last_event_out(path: str) -> None:
    answer, well = await _ask(path, Fault("no_done")), await _ask(path)
    assert answer.whole
    assert len(answer.events) == len(well.events) - 1
    assert ENDS.get(path, b"[DONE]") in well.events[-1]


@pytest.mark.parametrize("path", PATHS)
async def test_ping_puts_a_comment_before_each_event(path: str) -> None:
    answer, well = await _ask(path, Fault("ping")), await _ask(path)
    assert answer.events[::2] == [b": ping\n\n"] * len(well.events)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("fault", [Fault("split", size=5), Fault("drip", size=3), Fault("coalesce", size=0)])
async def test_other_pieces_make_the_same_answer(path: str, fault: Fault) -> None:
    answer, well = await _ask(path, fault), await _ask(path)
    assert answer.whole
    assert len(answer.body) == len(well.body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_can_come_with_200_in_the_words_of_the_api(path: str, stream: bool) -> None:
    answer = await _ask(path, Fault("error_200_nested", message="no"), stream)
    assert answer.status == 200
    assert answer.json["error"]["message"] == "no"
    assert (answer.json.get("type") == "error") == (path == "/v1/messages")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a"}),
        ("/pooling", {"input": "a"}),
        ("/v1/score", {"text_1": "a", "text_2": "b"}),
        ("/v2/rerank", {"query": "a", "documents": ["b"]}),
    ],
)
async def test_pooling_endpoints_are_struck_too(path: str, body: dict[str, Any]) -> None:
    async with Engine("faq", runner="pooling") as engine:
        engine.faults += [Fault("refuse"), Fault("close", after=0), Fault("no_usage")]
        assert (await raw.post(engine.url, path, body)).status == 503
        assert not (await raw.post(engine.url, path, body)).whole
        without = (await raw.post(engine.url, path, body)).json
        assert "usage" not in without
        assert "usage" in (await raw.post(engine.url, path, body)).json
