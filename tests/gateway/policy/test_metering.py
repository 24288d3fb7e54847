"""The count is the engine's last one, the client gets what it asked for, and no other byte changes."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contracts.usage import MOST, Usage
from gateway.policy.events import MAX_EVENT_BYTES, Malformed
from gateway.policy.metering import StreamMeter, read_answer
from tests.engine import recordings

CONTINUOUS = recordings.load("chat_stream_continuous_usage").body
STREAMS = (
    "chat_stream_continuous_usage",
    "chat_stream_usage",
    "chat_stream_no_usage",
    "chat_stream_logprobs",
    "chat_tools_named_stream",
    "completion_stream_usage",
)
WANTS = {"nothing": (False, False), "the last": (True, False), "all": (True, True)}
USAGE = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}


def _meter(wants: str = "nothing") -> StreamMeter:
    usage, continuous = WANTS[wants]
    return StreamMeter(wants_usage=usage, wants_continuous_usage=continuous)


def _event(value: Any, **form: Any) -> bytes:
    return b"data: " + json.dumps(value, **{"separators": (",", ":"), **form}).encode() + b"\n\n"


def _choices(text: str) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": {"content": text}}]


def _without_usage(stream: bytes) -> bytes:
    """The stream for a client that asked for nothing, by another way: text patterns on whole recordings."""
    events = [event for event in stream.split(b"\n\n") if b'"choices":[]' not in event]
    found = re.search(rb'"choices":\[\].*(,"system_fingerprint":"[^"]*")\}', stream)
    if found:
        events[-3] = events[-3][:-1] + found[1] + b"}"
    return b"\n\n".join(re.sub(rb',"usage":\{[^{}]*\}', b"", event) for event in events)


@pytest.mark.parametrize("wants", WANTS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_at_any_byte_changes_nothing(name: str, wants: str) -> None:
    stream = recordings.load(name).body
    whole = _meter(wants)
    expected = whole.feed(stream)
    assert whole.finished
    for at in range(len(stream) + 1):
        meter = _meter(wants)
        assert meter.feed(stream[:at]) + meter.feed(stream[at:]) == expected
        assert (meter.usage, meter.finished, meter.error) == (whole.usage, True, None)


@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_give_the_same(name: str) -> None:
    stream = recordings.load(name).body
    meter = _meter()
    assert b"".join(meter.feed(stream[at : at + 1]) for at in range(len(stream))) == _without_usage(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_client_that_asked_for_nothing_gets_no_usage_and_every_other_byte(name: str) -> None:
    stream = recordings.load(name).body
    out = _meter().feed(stream)
    assert out == _without_usage(stream)
    assert b"usage" not in out
    assert b'"choices":[]' not in out
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_client_that_asked_for_the_last_count_gets_that_one_alone() -> None:
    events = _meter("the last").feed(CONTINUOUS).split(b"\n\n")
    assert [b'"usage"' in event for event in events] == [b'"choices":[]' in event for event in events]
    assert sum(b'"usage"' in event for event in events) == 1


def test_a_client_that_asked_for_everything_gets_every_byte() -> None:
    assert _meter("all").feed(CONTINUOUS) == CONTINUOUS


def test_usage_is_known_at_every_chunk() -> None:
    meter, seen = _meter(), []
    for event in CONTINUOUS.split(b"\n\n")[:-1]:
        meter.feed(event + b"\n\n")
        seen.append(meter.usage)
    assert seen[:3] == [Usage(11, 0), Usage(11, 1), Usage(11, 2)]
    assert seen[-1] == Usage(11, 3)


@pytest.mark.parametrize(
    "text",
    [
        '"usage":{"prompt_tokens":3}',
        '"usage":null',
        ',"usage":{',
        '"choices":[]',
        "data: [DONE]\n\n",
        '"error":{"a":1}',
    ],
)
def test_a_completion_may_talk_about_usage(text: str) -> None:
    meter = _meter()
    out = meter.feed(_event({"choices": _choices(text), "usage": USAGE}))
    assert out == _event({"choices": _choices(text)})
    assert (meter.usage, meter.finished, meter.error) == (Usage(3, 2), False, None)


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_any_text_survives(text: str, escaped: bool) -> None:
    form = {"ensure_ascii": escaped}
    assert _meter().feed(_event({"choices": _choices(text), "usage": USAGE}, **form)) == _event(
        {"choices": _choices(text)}, **form
    )


def test_only_the_chunks_own_usage_is_cut() -> None:
    inner = {"index": 0, "usage": USAGE}
    assert _meter().feed(_event({"choices": [inner], "usage": USAGE})) == _event({"choices": [inner]})


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_usage_is_cut_wherever_it_stands(place: int, separators: tuple[str, str]) -> None:
    members: list[tuple[str, Any]] = [("id", "a"), ("choices", _choices("b"))]
    expected = dict(members)
    members.insert(place, ("usage", USAGE))
    out = _meter().feed(_event(dict(members), separators=separators))
    assert json.loads(out.removeprefix(b"data: ")) == expected


def test_a_comment_on_top_of_an_event_hides_nothing() -> None:
    meter = _meter()
    out = meter.feed(b": ping\n" + _event({"choices": _choices("a"), "usage": {"prompt_tokens": 3}}))
    assert out == b": ping\n" + _event({"choices": _choices("a")})
    assert meter.usage == Usage(3, 0)


@pytest.mark.parametrize("comment", [b": ping\n\n", b":\n\n", b": keep-alive 1\n\n", b"\n\n"])
def test_comments_pass(comment: bytes) -> None:
    assert _meter().feed(comment + _event({"choices": _choices("a")})).startswith(comment)


def test_each_choice_counts_its_own_tokens_until_the_last_chunk_counts_them_all() -> None:
    meter, seen = _meter(), []
    for index, output in ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (None, 4)):
        choices = [] if index is None else [{"index": index, "delta": {"content": "a"}}]
        meter.feed(_event({"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": output}}))
        seen.append(meter.usage)
    assert seen == [Usage(7, count) for count in (0, 0, 1, 2, 3, 4)]


def test_reasoning_is_counted_choice_by_choice_too() -> None:
    meter = _meter()
    for index, output, thought in ((0, 3, 2), (1, 5, 4), (0, 6, 2)):
        details = {"completion_tokens_details": {"reasoning_tokens": thought}}
        usage = {"prompt_tokens": 7, "completion_tokens": output, **details}
        meter.feed(_event({"choices": [{"index": index, "delta": {}}], "usage": usage}))
    assert meter.usage == Usage(7, 11, None, 6)
    meter.feed(_event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 11}}))
    assert meter.usage == Usage(7, 11)


def test_usage_of_null_stays() -> None:
    event = _event({"choices": _choices("a"), "usage": None})
    assert _meter().feed(event) == event


def test_a_useless_count_does_not_replace_a_good_one() -> None:
    meter = _meter()
    meter.feed(_event({"choices": [], "usage": USAGE}))
    meter.feed(_event({"choices": [], "usage": {"prompt_tokens": "many"}}))
    assert meter.usage == Usage(3, 2)


@pytest.mark.parametrize("error", [{"message": "m"}, "text", [1]])
def test_an_error_event_ends_what_the_client_gets(error: Any) -> None:
    meter, event = _meter(), _event({"error": error}, separators=(", ", ": "))
    before = _event({"choices": _choices("a")})
    assert meter.feed(before + event + b"data: [DONE]\n\n") == before
    assert meter.feed(before) == b""
    assert meter.error == (error if isinstance(error, dict) else {"message": str(error)})
    assert not meter.finished


def test_an_error_of_null_is_none() -> None:
    meter = _meter()
    meter.feed(_event({"error": None, "choices": []}))
    assert meter.error is None


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \n\n"])
def test_done_is_noticed_and_passes(done: bytes) -> None:
    meter = _meter()
    assert meter.feed(done) == done
    assert meter.finished


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"",
        b"nothing",
        b"[1]",
        b'"text"',
        b"\xff",
        b'{"usage":{"prompt_tokens":1e999}}',
        b'{"usage":{"prompt_tokens":"\xff"}}',
        b'{"a":' + b"[" * 100_000,
    ],
    ids=["open", "empty", "words", "list", "string", "bytes", "number", "usage bytes", "depth"],
)
def test_what_is_not_a_chunk_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed):
        _meter().feed(b"data: " + payload + b"\n\n")


def test_an_event_without_end_is_bounded() -> None:
    meter, piece = _meter(), b"data: " + b"x" * (MAX_EVENT_BYTES // 4)
    assert [meter.feed(piece) for _ in range(3)] == [b""] * 3
    with pytest.raises(Malformed, match=str(MAX_EVENT_BYTES)):
        meter.feed(piece)


def test_a_fingerprint_moves_into_an_event_of_several_lines() -> None:
    ended = b'data: {"choices":\ndata: [{"finish_reason":"stop"}]}\n\n'
    last = _event({"choices": [], "usage": USAGE, "system_fingerprint": "f"})
    assert _meter().feed(ended + last) == ended.replace(b"]}", b'],"system_fingerprint":"f"}')


def test_a_whole_answer_is_counted() -> None:
    for name in ("chat", "completion", "completion_batch", "chat_tools_auto", "chat_n2_stop_seed"):
        body = recordings.load(name).body
        told = json.loads(body)["usage"]
        usage, error = read_answer(body)
        assert usage == Usage(told["prompt_tokens"], told["completion_tokens"], None)
        assert error is None


def test_an_answer_without_usage_is_unmetered() -> None:
    assert read_answer(b'{"choices":[]}') == (None, None)


@pytest.mark.parametrize("count", [2**31, 2**63 - 1, 2**63, 10**40])
def test_a_count_that_the_ledger_cannot_hold_is_none(count: int) -> None:
    usage, _ = read_answer(json.dumps({"usage": {**USAGE, "prompt_tokens": count}}).encode())
    assert usage is None


def test_choices_whose_sum_the_ledger_cannot_hold_count_as_far_as_it_can() -> None:
    meter = _meter()
    for index, (prompt, output) in enumerate([(3, 2), (3, MOST)]):
        told = {"prompt_tokens": prompt, "completion_tokens": output}
        meter.feed(_event({"choices": [{"index": index}], "usage": told}))
    assert meter.usage == Usage(3, 2)


def test_an_error_may_come_with_status_200() -> None:
    flat = b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}'
    nested = b'{"error":{"message":"too long","code":400}}'
    assert read_answer(flat) == (None, {"message": "too long", "code": 400})
    assert read_answer(nested) == (None, {"message": "too long", "code": 400})
    assert read_answer(b'{"error":"too long"}') == (None, {"message": "too long"})


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"null", b"\xff", b'{"usage":"\xff"}', b'{"a":' + b"[" * 100_000],
    ids=["empty", "list", "null", "bytes", "usage bytes", "depth"],
)
def test_an_answer_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_answer(body)
