"""vLLM's own times of a request (`--enable-per-request-metrics`), as a real one sends them: read, and passed as they
came, but for those in the chunk that nobody asked for."""

import json
from typing import Any

import pytest

from gateway.contracts.usage import EngineTimes
from gateway.policy.endpoints import ENDPOINTS
from gateway.policy.metering import StreamMeter, meter, read_answer
from gateway.policy.request import parse
from tests.engine import recordings, replay

WHOLE = {"chat_request_metrics": "/v1/chat/completions", "responses_request_metrics": "/v1/responses"}
STREAMS = {
    "chat_stream_request_metrics": "/v1/chat/completions",
    "completion_stream_request_metrics": "/v1/completions",
    "responses_stream_request_metrics": "/v1/responses",
}


def _expected(metrics: Any) -> EngineTimes:
    return EngineTimes(metrics["queue_time_ms"] / 1000, metrics["time_to_first_token_ms"] / 1000)


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_in_one_piece(name: str) -> None:
    body = recordings.load(name).body
    usage, error = read_answer(body, ENDPOINTS[WHOLE[name]])
    assert error is None
    assert usage is not None
    assert usage.times == _expected(json.loads(body)["metrics"])


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream(name: str) -> None:
    recording = recordings.load(name)
    counts = meter(parse(recording.sent, ENDPOINTS[STREAMS[name]]))
    assert counts.feed(recording.body) == recording.body, "it was asked for, and passes as it came"
    last = replay.events(recording.body)[-1]
    assert counts.usage is not None
    assert counts.usage.times == _expected(last.get("response", last)["metrics"])


def test_of_a_client_that_asked_for_no_usage_they_go_with_the_chunk_that_has_them() -> None:
    body = recordings.load("chat_stream_request_metrics").body
    counts = StreamMeter(wants_usage=False, wants_continuous_usage=False)
    assert b"metrics" not in counts.feed(body)
    assert counts.usage is not None
    assert counts.usage.times is not None


@pytest.mark.parametrize("metrics", ["null", "{}", "[]", '"x"', "3", '{"queue_time_ms":null}'])
def test_an_engine_that_tells_none_has_told_none(metrics: str) -> None:
    """Two choices are one: vLLM sends null there."""
    usage = '"usage":{"prompt_tokens":3,"completion_tokens":2}'
    told, _ = read_answer(f'{{"choices":[],{usage},"metrics":{metrics}}}'.encode())
    counts = StreamMeter(wants_usage=True, wants_continuous_usage=True)
    counts.feed(f'data: {{"choices":[],{usage},"metrics":{metrics}}}\n\n'.encode())
    for found in (told, counts.usage):
        assert found is not None
        assert (found.input_tokens, found.output_tokens, found.times) == (3, 2, None)
