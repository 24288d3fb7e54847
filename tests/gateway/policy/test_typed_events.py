"""Anthropic's Messages and OpenAI's Responses: every byte passes, and the count is the engine's where it has one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.usage import Usage
from gateway.policy.events import EventMeter, Malformed
from gateway.policy.typed_events import MessagesMeter, ResponsesMeter
from tests.engine import recordings


def _event(told: dict[str, Any]) -> bytes:
    return f"event: {told['type']}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n".encode()


def _delta(kind: str = "text_delta") -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, "text": '"message_stop"'}})


START = _event({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 11, "output_tokens": 0}}})
LAST = _event(
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 8},
    }
)
STOP = _event({"type": "message_stop"})
MESSAGES = [
    START,
    _delta("thinking_delta"),
    _delta("signature_delta"),
    _delta(),
    _delta("input_json_delta"),
    LAST,
    STOP,
]
MESSAGES_STREAM = b": ping\n\n".join(MESSAGES)
RESPONSES_STREAM = recordings.load("responses_stream").body


def _fed(meter: EventMeter, stream: bytes, cuts: list[int]) -> bytes:
    ends = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    return b"".join([meter.feed(stream[start:end]) for start, end in ends])


@settings(deadline=None)
@given(st.lists(st.integers(0, len(MESSAGES_STREAM)), max_size=9).map(sorted))
def test_messages_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    meter = MessagesMeter()
    assert _fed(meter, MESSAGES_STREAM, cuts) == MESSAGES_STREAM
    assert (meter.usage, meter.finished, meter.error) == (Usage(11, 5, 8), True, None)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(RESPONSES_STREAM)), max_size=9).map(sorted))
def test_responses_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    meter = ResponsesMeter()
    assert _fed(meter, RESPONSES_STREAM, cuts) == RESPONSES_STREAM
    assert (meter.usage, meter.finished, meter.error) == (Usage(6, 3, 0, 0), True, None)


def test_messages_that_break_off_count_each_delta_once() -> None:
    meter, seen = MessagesMeter(), []
    for event in MESSAGES:
        meter.feed(event)
        seen.append(meter.usage)
    assert seen == [Usage(11, output) for output in (0, 1, 1, 2, 3)] + [Usage(11, 5, 8)] * 2


def test_a_last_count_may_tell_the_output_alone() -> None:
    meter = MessagesMeter()
    meter.feed(START + _event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}}) + STOP)
    assert meter.usage == Usage(11, 4)


def test_a_start_that_nobody_has_counted_is_no_count() -> None:
    """LiteLLM makes it up, and tells what the provider counted at the end, if it did."""
    start = _event({"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}})
    meter = MessagesMeter()
    meter.feed(start + _delta() + _delta())
    assert meter.usage is None
    meter.feed(_event({"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 0}}))
    assert meter.usage is None
    meter.feed(_event({"type": "message_delta", "usage": {"input_tokens": 11, "output_tokens": 2}}))
    assert meter.usage == Usage(11, 2)


def test_deltas_without_a_start_count_nothing() -> None:
    meter = MessagesMeter()
    assert meter.feed(_delta()) == _delta()
    assert meter.usage is None


@pytest.mark.parametrize(
    ("meter", "told", "error"),
    [
        (
            MessagesMeter,
            {"error": {"type": "internal_error", "message": "m"}},
            {"type": "internal_error", "message": "m"},
        ),
        (ResponsesMeter, {"error": {"code": "c", "message": "m"}}, {"code": "c", "message": "m"}),
        (ResponsesMeter, {"code": "c", "message": "m"}, {"type": "error", "code": "c", "message": "m"}),
    ],
)
def test_an_error_event_ends_what_the_client_gets(
    meter: type[EventMeter], told: dict[str, Any], error: dict[str, Any]
) -> None:
    counting = meter()
    assert counting.feed(START + _event({"type": "error", **told}) + STOP) == START
    assert counting.feed(STOP) == b""
    assert (counting.error, counting.finished) == (error, False)


@pytest.mark.parametrize("code", [400, 500])
def test_an_error_that_the_engine_could_not_translate_keeps_its_code(code: int) -> None:
    # As vLLM 0.32 says it.
    message = (
        f"Field required [type=missing, input_value={{'error': {{'message': 'En...am': None, 'code': {code}}}}}, in"
    )
    meter = MessagesMeter()
    meter.feed(_event({"type": "error", "error": {"type": "internal_error", "message": message}}))
    assert meter.error == {"code": code, "type": "internal_error", "message": message}


def test_an_error_without_a_type_is_one() -> None:
    meter = ResponsesMeter()
    assert meter.feed(b'data: {"error":{"message":"m","code":500}}\n\n') == b""
    assert meter.error == {"message": "m", "code": 500}


def test_an_error_has_the_number_of_the_event_in_whose_place_it_comes() -> None:
    meter = ResponsesMeter()
    meter.feed(RESPONSES_STREAM[: RESPONSES_STREAM.index(b"event: response.completed")])
    meter.feed(b'data: {"error":{"message":"m","code":500}}\n\n' * 2)
    assert meter.events == 2


def test_a_response_that_breaks_off_has_no_count() -> None:
    meter = ResponsesMeter()
    meter.feed(RESPONSES_STREAM[: RESPONSES_STREAM.index(b"event: response.completed")])
    assert (meter.usage, meter.finished, meter.events) == (None, False, 2)


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_each_end_of_a_response_is_counted(end: str) -> None:
    meter = ResponsesMeter()
    usage = {"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}
    event = _event({"type": f"response.{end}", "response": {"error": {"code": "x"}, "usage": usage}})
    assert meter.feed(event) == event
    assert (meter.usage, meter.finished) == (Usage(7, 2, 4), True)


@pytest.mark.parametrize("meter", [MessagesMeter, ResponsesMeter])
@pytest.mark.parametrize("data", [b"{", b"[1]", b"[DONE]", b"\xff", b'{"type":' + b"[" * 100_000])
def test_what_is_not_an_event_is_malformed(meter: type[EventMeter], data: bytes) -> None:
    with pytest.raises(Malformed):
        meter().feed(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("after", [b"data: [DONE]\n\n", b"data: no JSON\n\n", b": bye\n\n"])
@pytest.mark.parametrize(("meter", "last"), [(MessagesMeter, "message_stop"), (ResponsesMeter, "response.completed")])
def test_what_comes_after_the_last_event_passes_unread(meter: type[EventMeter], last: str, after: bytes) -> None:
    for pieces in ([_event({"type": last}) + after], [_event({"type": last}), after]):
        counted = meter()
        assert b"".join(counted.feed(piece) for piece in pieces) == b"".join(pieces)
        assert (counted.finished, counted.error, counted.events) == (True, None, 1)
