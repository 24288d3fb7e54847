"""Each wire's meter and whole answers; the engine's name in a stream; prompts that are counted once."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.usage import Usage
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.events import Malformed
from gateway.policy.metering import Meter, StreamMeter, meter, read_answer
from gateway.policy.request import parse
from tests.engine import recordings

NAME = ',"system_fingerprint":"vllm-0.32.0-4a556b44"'
BYTES = b"application/octet-stream"


def _meter(path: str, **fields: Any) -> Meter:
    return meter(parse(json.dumps({"model": "faq", "stream": True, **fields}).encode(), ENDPOINTS[path]))


def _audio() -> Meter:
    form = (
        b'--X\r\nContent-Disposition: form-data; name="model"\r\n\r\nfaq\r\n'
        b'--X\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--X--'
    )
    return meter(parse(form, ENDPOINTS["/v1/audio/transcriptions"], b"multipart/form-data; boundary=X"))


def _chunk(index: int | None, output: int, *, prompt: int = 7, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if index is None else [{"index": index, "text": "a", "finish_reason": finish}]
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + output, "completion_tokens": output}
    told = {"choices": choices, "usage": usage, **more}
    return b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n"


def _bare(chunk: bytes, name: str = "") -> bytes:
    """The chunk as an engine sends it that was asked for no usage."""
    return chunk[: chunk.index(b',"usage"')] + name.encode() + b"}\n\n"


RECORDED = {
    "/v1/chat/completions": recordings.load("chat_stream_continuous_usage").body,
    "/v1/completions": recordings.load("completion_stream_usage").body,
    "/v1/responses": recordings.load("responses_stream").body,
}


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", RECORDED)
@settings(deadline=None)
@given(data=st.data())
def test_however_a_stream_is_cut_bytes_and_usage_are_the_same(path: str, ends: bytes, data: st.DataObject) -> None:
    stream = RECORDED[path].replace(b"\n", ends) + b": ping" + ends * 2
    whole, pieces = _meter(path), _meter(path)
    expected = whole.feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=9)))
    spans = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    assert b"".join([pieces.feed(stream[start:end]) for start, end in spans]) == expected
    assert (pieces.usage, pieces.finished, pieces.events) == (whole.usage, True, whole.events)
    assert whole.usage is not None
    assert expected.replace(ends, b"\n") == _meter(path).feed(RECORDED[path]) + b": ping\n\n"


def test_a_stream_without_usage_names_the_engine_as_if_nobody_had_asked() -> None:
    asked = _meter("/v1/chat/completions").feed(RECORDED["/v1/chat/completions"])
    # The recording that was asked for nothing has a token more; their last chunks are alike.
    alone = recordings.load("chat_stream_no_usage").body
    assert recordings.settled(asked).split(b"\n\n")[-3:] == recordings.settled(alone).split(b"\n\n")[-3:]


def test_a_last_chunk_waits_for_the_name_and_no_longer() -> None:
    counting, last = _meter("/v1/completions"), _chunk(0, 2, finish="stop")
    assert counting.feed(_chunk(0, 1)) == _bare(_chunk(0, 1))
    assert counting.feed(last) == b""
    assert counting.feed(_chunk(None, 2, system_fingerprint="f")) == _bare(last, ',"system_fingerprint":"f"')
    assert counting.feed(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "after", [_chunk(1, 1), b"data: [DONE]\n\n", _chunk(None, 2), _chunk(None, 2, system_fingerprint=None)]
)
def test_a_last_chunk_without_a_name_passes_with_the_next_event(after: bytes) -> None:
    counting, last = _meter("/v1/completions", n=2), _chunk(0, 2, finish="stop")
    counting.feed(last)
    assert counting.feed(after).startswith(_bare(last))


def test_a_last_chunk_passes_before_an_error() -> None:
    counting, last = _meter("/v1/completions"), _chunk(0, 2, finish="stop")
    assert counting.feed(last + b'data: {"error":{"message":"m"}}\n\n') == _bare(last)


def test_a_name_that_is_there_is_not_told_twice() -> None:
    counting = _meter("/v1/completions")
    last = _chunk(0, 2, finish="stop", system_fingerprint="own")
    out = counting.feed(last + _chunk(None, 2, system_fingerprint="f"))
    assert json.loads(out.removeprefix(b"data: ")) == {
        "choices": [{"index": 0, "text": "a", "finish_reason": "stop"}],
        "system_fingerprint": "own",
    }


def test_a_client_that_counts_gets_the_last_chunk_at_once() -> None:
    counting = _meter("/v1/completions", stream_options={"include_usage": True})
    assert counting.feed(_chunk(0, 2, finish="stop")) == _bare(_chunk(0, 2, finish="stop"))


def test_each_prompt_of_a_stream_that_breaks_off_is_counted_once() -> None:
    counting, seen = _meter("/v1/completions", prompt=["a", "b"], n=2), []
    for index, prompt, output in ((0, 7, 1), (1, 7, 1), (2, 5, 1), (3, 5, 4), (0, 7, 2)):
        counting.feed(_chunk(index, output, prompt=prompt))
        seen.append(counting.usage)
    assert seen == [Usage(7, 1), Usage(7, 2), Usage(12, 3), Usage(12, 7), Usage(12, 8)]
    counting.feed(_chunk(None, 9, prompt=12))
    assert counting.usage == Usage(12, 9)


def test_a_conversation_is_one_prompt() -> None:
    counting = _meter("/v1/chat/completions", n=3)
    counting.feed(b"".join(_chunk(index, 1) for index in range(3)))
    assert counting.usage == Usage(7, 3)


def test_a_transcript_is_counted_and_waits_for_nothing() -> None:
    counting = _audio()
    chunks = [
        {
            "choices": [{"delta": {"content": "a"}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 4, "completion_tokens": n},
        }
        for n, reason in ((1, None), (2, "stop"), (3, "stop"))
    ]
    for chunk in chunks:
        out = counting.feed(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")
        assert json.loads(out.removeprefix(b"data: ")) == {"choices": chunk["choices"]}
    assert counting.usage == Usage(4, 3)
    assert isinstance(counting, StreamMeter)


@pytest.mark.parametrize(
    ("path", "answer", "usage"),
    [
        ("/v1/messages", {"type": "message", "usage": {"input_tokens": 3, "output_tokens": 2}}, Usage(3, 2)),
        ("/v1/responses", {"object": "response", "usage": {"input_tokens": 3, "output_tokens": 2}}, Usage(3, 2)),
        (
            "/v1/responses",
            {"object": "response", "error": {"code": "x"}, "usage": {"input_tokens": 3, "output_tokens": 0}},
            Usage(3, 0),
        ),
        ("/v1/embeddings", {"object": "list", "usage": {"prompt_tokens": 3, "total_tokens": 3}}, Usage(3, 0)),
        ("/rerank", {"results": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}, Usage(3, 0)),
        ("/pooling", {"data": {}}, None),
        ("/v1/audio/transcriptions", {"text": "a", "usage": {"type": "duration", "seconds": 3}}, None),
        ("/v1/audio/translations", {"text": "a"}, None),
        ("/v1/messages/count_tokens", {"input_tokens": 11}, Usage(0, 0, 0)),
        ("/tokenize", {"count": 1, "tokens": [1]}, Usage(0, 0, 0)),
        ("/detokenize", {"prompt": "a"}, Usage(0, 0, 0)),
    ],
)
def test_a_whole_answer_is_counted_by_its_wire(path: str, answer: dict[str, Any], usage: Usage | None) -> None:
    assert read_answer(json.dumps(answer).encode(), ENDPOINTS[path]) == (usage, None)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_error_with_status_200_is_one_on_every_wire(path: str) -> None:
    body = b'{"type":"error","error":{"type":"BadRequestError","message":"m"}}'
    assert read_answer(body, ENDPOINTS[path]) == (None, {"type": "BadRequestError", "message": "m"})


@pytest.mark.parametrize(("name", "usage"), [("anthropic_messages", Usage(11, 5)), ("responses", Usage(6, 5, 0, 0))])
def test_recorded_answers(name: str, usage: Usage) -> None:
    recorded = recordings.load(name)
    headers = {key.encode(): value.encode() for key, value in recorded.headers}
    assert read_answer(recorded.body, ENDPOINTS[recorded.path], headers) == (usage, None)


def test_vectors_in_bytes_are_counted_by_a_header() -> None:
    told = json.dumps({"id": "a", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode()
    pooling = ENDPOINTS["/v1/embeddings"]
    assert read_answer(b"\x00\xff", pooling, {b"content-type": BYTES, b"metadata": told}) == (Usage(3, 0), None)
    assert read_answer(b"\x00\xff", pooling, {b"content-type": BYTES}) == (None, None)
    with pytest.raises(Malformed):
        read_answer(b"\x00\xff", pooling, {b"content-type": BYTES, b"metadata": b"{"})


def test_a_transcript_in_plain_text_passes_uncounted() -> None:
    headers = {b"content-type": b"text/plain; charset=utf-8"}
    assert read_answer(b"1\n00:00:00,000 --> \n", ENDPOINTS["/v1/audio/transcriptions"], headers) == (None, None)


def test_plain_text_is_an_answer_nowhere_else() -> None:
    for path in ("/v1/chat/completions", "/v1/messages", "/tokenize"):
        with pytest.raises(Malformed):
            read_answer(b"hello", ENDPOINTS[path], {b"content-type": b"text/plain"})
